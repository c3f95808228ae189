//! The address space of a network, as its definition gives it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use mesh_proto::ids::PeerId;
use mesh_proto::network::{NetworkId, leased_part};

/// Any IPv4 subnet of a network, as the subnet of a query.
pub const ANY_SUBNET: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
/// Any IPv6 subnet.
pub const ANY_SUBNET6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// One subnet of one network: addresses that are allocated apart from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId {
    /// The network; never `default`.
    pub network: NetworkId,
    /// The subnet.
    pub subnet: IpNet,
}

/// The subnets of a network besides `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The network.
    pub network: NetworkId,
    /// The router that created it: all space is its own at first.
    pub founder: PeerId,
    /// The subnets, none of which overlap.
    pub subnets: Vec<SubnetPlan>,
}

/// One subnet of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetPlan {
    /// The subnet: IPv4 of 8 to 30 bits, IPv6 of at most 126.
    pub subnet: IpNet,
    /// The part of it of which addresses are allocated; others may be claimed.
    pub range: IpNet,
    /// The address of the gateway, which may be claimed, and is not allocated.
    pub gateway: Option<IpAddr>,
}

impl SubnetPlan {
    /// Returns the part of which addresses are allocated that have numbers; none if the range is beyond them.
    fn leased_range(&self) -> Option<IpNet> {
        let leased = leased_part(self.subnet);
        match (self.range.contains(&leased), leased.contains(&self.range)) {
            (true, _) => Some(leased),
            (false, true) => Some(self.range),
            (false, false) => None,
        }
    }
}

impl NetworkPlan {
    /// Returns the spaces, with the part of each, from which a request for any address of `asked` is served.
    pub(crate) fn parts(&self, asked: IpNet) -> Vec<(SpaceId, IpNet)> {
        let part = |plan: &SubnetPlan| {
            let range = plan.leased_range()?;
            let part = match asked.contains(&range) {
                true => range,
                false => Some(asked).filter(|asked| leased_part(plan.subnet).contains(asked))?,
            };
            Some((self.space(plan.subnet), part))
        };
        self.subnets.iter().filter_map(part).collect()
    }

    /// Returns the space of an address that may be leased.
    pub(crate) fn space_of(&self, addr: IpAddr) -> Option<SpaceId> {
        let mut subnets = self.subnets.iter();
        let plan = subnets.find(|plan| leased_part(plan.subnet).contains(&addr))?;
        Some(self.space(plan.subnet))
    }

    /// Returns the subnet of a space.
    pub(crate) fn get(&self, space: &SpaceId) -> Option<&SubnetPlan> {
        self.subnets.iter().find(|plan| plan.subnet == space.subnet)
    }

    /// Returns all subnets.
    pub(crate) fn all(&self) -> Vec<IpNet> {
        self.subnets.iter().map(|plan| plan.subnet).collect()
    }

    /// Returns the parts of all subnets of which addresses are leased.
    pub(crate) fn leased(&self) -> Vec<IpNet> {
        let subnets = self.subnets.iter();
        subnets.map(|plan| leased_part(plan.subnet)).collect()
    }

    fn space(&self, subnet: IpNet) -> SpaceId {
        let network = self.network;
        SpaceId { network, subnet }
    }
}
