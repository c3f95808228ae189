//! Networks of Docker's Swarm, whose managers give out addresses themselves.
//!
//! The managers agree on the addresses of tasks among themselves (Raft), and must be able to do so in a part of the mesh
//! that is cut off. So the subnet of such a network is split once and for all: one part belongs to Swarm, the other to the
//! allocator of the mesh. Labels of the definition say so, which routers of all versions pass on.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::subnet::NetworkSubnet;
use super::{NetworkDefinition, UserLabel};

/// Label with the id that Swarm gave the network.
const SWARM_NETWORK: &str = "io.mesh.swarm-network";
/// Label with the part of the subnet of which Swarm gives addresses.
const SWARM_RANGE: &str = "io.mesh.swarm-range";
/// Longest prefix of a subnet that is split: a smaller one is left to Swarm alone.
const MAX_SPLIT_PREFIX: u8 = 28;

/// Parts of the IPv4 subnet of a network of Swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmSplit {
    /// Part of which Swarm gives addresses.
    pub swarm: Ipv4Net,
    /// Part of which the mesh gives addresses; without one, none.
    pub mesh: Option<Ipv4Net>,
}

impl SwarmSplit {
    /// Splits a subnet. Swarm has `range` (`--ip-range`), or the lower half; the mesh has the half that Swarm does not
    /// touch.
    pub fn of(subnet: Ipv4Net, range: Option<Ipv4Net>) -> Self {
        let halves = subnet.subnets(subnet.prefix_len() + 1).ok();
        let halves = halves.filter(|_| subnet.prefix_len() <= MAX_SPLIT_PREFIX);
        let halves: Vec<Ipv4Net> = halves.into_iter().flatten().collect();
        let swarm = range.or(halves.first().copied()).unwrap_or(subnet);
        let is_apart = |half: &Ipv4Net| !half.contains(&swarm) && !swarm.contains(half);
        Self {
            swarm,
            mesh: halves.into_iter().rev().find(is_apart),
        }
    }

    /// Returns a subnet of which Swarm gives all addresses, as with Docker's own IPAM.
    pub fn whole(subnet: Ipv4Net) -> Self {
        Self {
            swarm: subnet,
            mesh: None,
        }
    }

    /// Returns the labels of a network with the id `network` of Swarm.
    pub fn labels(&self, network: &str) -> [UserLabel; 2] {
        let label = |key: &str, value: String| UserLabel {
            key: key.to_owned(),
            value,
        };
        [
            label(SWARM_NETWORK, network.to_owned()),
            label(SWARM_RANGE, self.swarm.to_string()),
        ]
    }
}

impl NetworkDefinition {
    /// Returns the id of the network in Swarm, if it is one of Swarm.
    pub fn swarm_network(&self) -> Option<&str> {
        self.label(SWARM_NETWORK)
    }

    /// Returns the part of its subnet of which Swarm gives addresses.
    pub fn swarm_range(&self) -> Option<Ipv4Net> {
        self.label(SWARM_RANGE)?.parse().ok()
    }

    /// Returns true if Swarm alone gives out this address.
    pub fn is_swarms(&self, address: IpAddr) -> bool {
        let range = self.swarm_range().map(IpNet::V4);
        range.is_some_and(|range| range.contains(&address))
    }

    /// Returns the part of one of its subnets of which the mesh gives addresses; none if Swarm gives them all.
    pub fn allocated_range(&self, subnet: &NetworkSubnet) -> Option<IpNet> {
        let range = subnet.ip_range.unwrap_or(subnet.net);
        match self.swarm_range().map(IpNet::V4) {
            Some(swarm) if swarm.contains(&range) || range.contains(&swarm) => None,
            _ => Some(range),
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        let label = self.labels.iter().find(|label| label.key == key)?;
        Some(&label.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn swarm_and_the_mesh_never_give_the_same_address() {
        for (subnet, range, swarm, mesh) in [
            ("10.50.0.0/16", None, "10.50.0.0/17", Some("10.50.128.0/17")),
            (
                "10.50.0.0/16",
                Some("10.50.9.0/24"),
                "10.50.9.0/24",
                Some("10.50.128.0/17"),
            ),
            (
                "10.50.0.0/16",
                Some("10.50.200.0/24"),
                "10.50.200.0/24",
                Some("10.50.0.0/17"),
            ),
            ("10.50.0.0/16", Some("10.50.0.0/16"), "10.50.0.0/16", None),
            ("10.50.0.0/29", None, "10.50.0.0/29", None),
        ] {
            let split = SwarmSplit::of(net(subnet), range.map(net));
            let want = SwarmSplit {
                swarm: net(swarm),
                mesh: mesh.map(net),
            };
            assert_eq!(split, want, "{subnet} {range:?}");
        }
    }
}
