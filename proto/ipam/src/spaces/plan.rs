//! The address space of a network, as its definition gives it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

/// The request for an address of any subnet of a network.
pub const ANY_SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

/// One subnet of one network: addresses that are allocated apart from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpaceId {
    /// The network; never `default`.
    pub network: NetworkId,
    /// The subnet.
    pub subnet: Ipv4Net,
}

/// The IPv4 subnets of a network besides `default`.
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
    /// The subnet, of 8 to 30 bits.
    pub subnet: Ipv4Net,
    /// The part of it of which addresses are allocated; others may be claimed.
    pub range: Ipv4Net,
    /// The address of the gateway, which may be claimed, and is not allocated.
    pub gateway: Option<Ipv4Addr>,
}

impl NetworkPlan {
    /// Returns the spaces, with the part of each, from which a request for any address of `asked` is served.
    pub(crate) fn parts(&self, asked: Ipv4Net) -> Vec<(SpaceId, Ipv4Net)> {
        let part = |plan: &SubnetPlan| {
            let part = match asked.contains(&plan.range) {
                true => plan.range,
                false => Some(asked).filter(|asked| plan.subnet.contains(asked))?,
            };
            Some((self.space(plan.subnet), part))
        };
        self.subnets.iter().filter_map(part).collect()
    }

    /// Returns the space of an address.
    pub(crate) fn space_of(&self, addr: Ipv4Addr) -> Option<SpaceId> {
        let mut subnets = self.subnets.iter();
        let plan = subnets.find(|plan| plan.subnet.contains(&addr))?;
        Some(self.space(plan.subnet))
    }

    /// Returns the subnet of a space.
    pub(crate) fn get(&self, space: &SpaceId) -> Option<&SubnetPlan> {
        self.subnets.iter().find(|plan| plan.subnet == space.subnet)
    }

    /// Returns all subnets.
    pub(crate) fn all(&self) -> Vec<Ipv4Net> {
        self.subnets.iter().map(|plan| plan.subnet).collect()
    }

    fn space(&self, subnet: Ipv4Net) -> SpaceId {
        let network = self.network;
        SpaceId { network, subnet }
    }
}
