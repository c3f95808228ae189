//! Reasons for which there is no address, or not yet; in words for operators.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::slices::Slicing;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_ADDRESS_SPACES;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// Makes a router's name for people, one that commands take.
pub type Namer<'a> = &'a dyn Fn(&PeerId) -> String;

/// The reason there is no address. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRefusal {
    /// The subnet or address is not in the range.
    OutsideRange(IpNet, IpNet),
    /// The subnet has fewer than two addresses for hosts.
    TooSmall(IpNet),
    /// It is no address for a host.
    NotAHost(IpAddr),
    /// The id of the container has more than [`mesh_proto::limits::MAX_CONTAINER_ID`] bytes.
    LongId,
    /// There are more than [`mesh_proto::limits::MAX_LOCAL_LEASES`] addresses or [`mesh_proto::limits::MAX_IPAM_REQUESTS`] requests.
    Limit,
    /// This router is leaving.
    Leaving,
    /// A container of this router has it.
    InUse(IpAddr, String),
    /// A container of another router has it.
    InUseOn(IpAddr, String, PeerId),
    /// A container of another router has it; only that router knows which.
    InUseBy(IpAddr, PeerId),
    /// Every address of the subnet is taken.
    Exhausted(IpNet),
    /// The owner of its slice cannot be reached.
    OwnerUnreachable(IpAddr, PeerId),
    /// Its slice is claimed by two routers.
    Contested(IpAddr, PeerId),
    /// The time given is over.
    Timeout(Wait),
    /// The request was cancelled, or its container was released.
    Cancelled,
    /// The network stands against it.
    Network(NetworkRefusal),
}

/// The reason there is no address in a network besides `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkRefusal {
    /// The network is not known here.
    Unknown(NetworkId),
    /// The network has no subnet.
    NoSubnet(NetworkId),
    /// The subnet or address is in none of the network's subnets, which these are.
    Outside(IpNet, Vec<IpNet>),
    /// This router takes part in the allocation of [`mesh_proto::limits::MAX_ADDRESS_SPACES`] subnets.
    TooMany,
    /// The network was removed while the request waited.
    Removed(NetworkId),
}

/// The thing that a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The smallest router of a mesh without a map is to take the range.
    Bootstrap(PeerId),
    /// The routers that the operator named; after this moment the request goes on alone.
    Others(Instant),
    /// The answer of an owner.
    Owner(PeerId),
    /// The agreement of all reachable routers to what this one takes over.
    Agreement,
    /// The concession of another router that claims the slice too.
    Contest(PeerId),
    /// Nobody reachable has space; so many owners cannot be reached, of which this is one.
    Space(usize, Option<PeerId>),
}

impl AddressRefusal {
    /// Puts addresses in the place of the numbers that a state machine gave.
    pub(crate) fn outward(self, slicing: &Slicing) -> Self {
        let address = |addr: IpAddr| match addr {
            IpAddr::V4(number) => slicing.address(number),
            IpAddr::V6(_) => addr,
        };
        let subnet = |net: IpNet| match net {
            IpNet::V4(numbers) => slicing.net_of(numbers),
            IpNet::V6(_) => net,
        };
        match self {
            Self::OutsideRange(net, range) => Self::OutsideRange(subnet(net), subnet(range)),
            Self::TooSmall(net) => Self::TooSmall(subnet(net)),
            Self::NotAHost(addr) => Self::NotAHost(address(addr)),
            Self::InUse(addr, container) => Self::InUse(address(addr), container),
            Self::InUseOn(addr, container, peer) => Self::InUseOn(address(addr), container, peer),
            Self::InUseBy(addr, peer) => Self::InUseBy(address(addr), peer),
            Self::Exhausted(net) => Self::Exhausted(subnet(net)),
            Self::OwnerUnreachable(addr, peer) => Self::OwnerUnreachable(address(addr), peer),
            Self::Contested(addr, peer) => Self::Contested(address(addr), peer),
            Self::LongId
            | Self::Limit
            | Self::Leaving
            | Self::Timeout(_)
            | Self::Cancelled
            | Self::Network(_) => self,
        }
    }

    /// Returns whether a container has the address that was requested.
    pub fn is_in_use(&self) -> bool {
        matches!(
            self,
            Self::InUse(..) | Self::InUseOn(..) | Self::InUseBy(..)
        )
    }

    /// Returns one line, with what to do; routers as `name` calls them.
    pub fn text(&self, name: Namer<'_>) -> String {
        match self {
            Self::OutsideRange(net, range) => format!(
                "{net} is not in the range of addresses, {range}; take a subnet of it, or launch with another --ipalloc-range"
            ),
            Self::TooSmall(net) => {
                format!("{net} is too small a subnet to allocate from; the smallest is a /30")
            }
            Self::NotAHost(addr) => {
                format!("{addr} is the network's own address or its last one; pick another")
            }
            Self::LongId => "the container's id is too long".to_owned(),
            Self::Limit => {
                "this router holds as many addresses, or has as many requests, as it can; remove some containers"
                    .to_owned()
            }
            Self::Leaving => {
                "this router is handing its space over; it allocates nothing any more".to_owned()
            }
            Self::InUse(addr, container) => {
                format!("{addr} is already used by container {container} on this host")
            }
            Self::InUseOn(addr, container, peer) => format!(
                "{addr} is already used by container {container} on {}",
                name(peer)
            ),
            Self::InUseBy(addr, peer) => {
                format!("{addr} is already used by a container on {}", name(peer))
            }
            Self::Exhausted(net) => format!(
                "no address of {net} is free on any router; take another subnet (net:…), or remove containers that hold some"
            ),
            Self::OwnerUnreachable(addr, peer) => {
                let peer = name(peer);
                format!(
                    "{addr} is in the space of {peer}, which cannot be reached; if it is gone for good: mesh rmpeer {peer}"
                )
            }
            Self::Contested(addr, peer) => {
                let peer = name(peer);
                format!(
                    "{addr} is in space that {peer} claims too; wait until both are connected, or if that one is gone for good: mesh rmpeer {peer}"
                )
            }
            Self::Timeout(why) => format!("no address in time: {}", why.text(name)),
            Self::Cancelled => "the request was cancelled".to_owned(),
            Self::Network(why) => why.to_string(),
        }
    }
}

impl fmt::Display for NetworkRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(network) => write!(
                f,
                "the network {network} is not known on this host; `mesh network ls` lists those that are"
            ),
            Self::NoSubnet(network) => write!(
                f,
                "the network {network} has no subnet to allocate from; give an address, or create one with --subnet"
            ),
            Self::Outside(net, subnets) => write!(
                f,
                "{net} is in none of the network's subnets; take one of {}",
                listed(subnets)
            ),
            Self::TooMany => write!(
                f,
                "this router allocates in {MAX_ADDRESS_SPACES} subnets already; remove networks that are not needed: mesh network rm"
            ),
            Self::Removed(network) => {
                write!(f, "the network {network} was removed; take another one")
            }
        }
    }
}

fn listed(subnets: &[IpNet]) -> String {
    let texts: Vec<String> = subnets.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

impl Wait {
    /// Returns the thing that is waited for, in words that stand alone; routers as `name` calls them.
    pub fn text(&self, name: Namer<'_>) -> String {
        match self {
            Self::Bootstrap(peer) => {
                format!("{} is to take the range of addresses", name(peer))
            }
            Self::Others(_) => "none of the routers named at launch answers yet".to_owned(),
            Self::Owner(peer) => {
                format!("{}, which has free space, does not answer", name(peer))
            }
            Self::Agreement => "other routers have to agree to a take-over".to_owned(),
            Self::Contest(peer) => {
                let peer = name(peer);
                format!("{peer} claims the space too; if it is gone for good: mesh rmpeer {peer}")
            }
            Self::Space(n, Some(peer)) => format!(
                "no reachable router has free space, {n} cannot be reached; if they are gone for good: mesh rmpeer {}",
                name(peer)
            ),
            Self::Space(_, None) => "no router has free space".to_owned(),
        }
    }
}

impl fmt::Display for AddressRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&PeerId::to_string))
    }
}

impl core::error::Error for AddressRefusal {}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&PeerId::to_string))
    }
}
