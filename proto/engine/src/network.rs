//! Docker networks with our driver, and names for them.

use mesh_host::docker::user_networks::NewUserNetwork;
use mesh_proto::network::NetworkId;

/// Name of the Docker network driver, and of the first network with it.
pub const DRIVER: &str = "mesh";
/// Name of the driver of Swarm's networks: that of the managed plugin, with its tag. Without a tag it would hide [`DRIVER`].
pub const SWARM_DRIVER: &str = "mesh:swarm";
/// Prefixes for names of our networks, in order of preference: the first one that no other driver's network uses.
pub const BASES: [&str; 4] = [DRIVER, "mesh-net", "mesh-own", "mesh-docker"];

/// A Docker network with our driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNetwork {
    /// Full id.
    pub id: String,
    /// Name; networks of other drivers may have the same one.
    pub name: String,
    /// True if the router created it, false if a user did.
    pub made_by_us: bool,
}

/// A Docker network with our driver, as Docker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNetwork {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// All else.
    pub new: NewUserNetwork,
    /// The network of the mesh that the router made it for.
    pub mirrors: Option<NetworkId>,
}

/// A network of Swarm before any node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NascentNetwork {
    /// Name.
    pub name: String,
    /// True if it leads nowhere else.
    pub internal: bool,
}

/// Endpoint of a container on a Docker network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEndpoint {
    /// Endpoint id, as Docker passes it to the driver.
    pub endpoint: String,
    /// Full container id.
    pub container: String,
    /// Container name.
    pub name: String,
}

/// Returns true for `base` itself and for `base-<number>`: `mesh`, `mesh-1`, …, each also with the name of a network of the
/// mesh behind it: `mesh.web`, `mesh-1.web`, ….
fn is_of(base: &str, name: &str) -> bool {
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let (ours, is_named) = match name.split_once('.') {
        Some((ours, network)) => (ours, !network.is_empty()),
        None => (name, true),
    };
    let rest = ours.strip_prefix(base).filter(|_| is_named);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
}

/// Returns true if the router could have chosen this network name.
pub fn may_be_ours(name: &str) -> bool {
    BASES.iter().any(|base| is_of(base, name))
}

/// Returns the name for a network that is created again, with the current prefix.
pub fn renamed(name: &str, base: &str) -> String {
    let old = BASES.iter().find(|old| is_of(old, name));
    let number = old.and_then(|old| name.strip_prefix(old));
    number.map_or_else(|| name.to_owned(), |number| format!("{base}{number}"))
}

/// Returns the first prefix that no network in `others` uses; `None` if all are used.
pub fn free_base(others: &[&str]) -> Option<&'static str> {
    let is_free = |base: &&str| !others.iter().any(|name| is_of(base, name));
    BASES.iter().copied().find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_beside_other_peoples() {
        for (others, base) in [
            (
                &["bridge", "meshed", "mesh-", "mesh-x", "my-mesh"][..],
                Some("mesh"),
            ),
            (&["mesh"], Some("mesh-net")),
            (&["mesh-1"], Some("mesh-net")),
            (&["mesh.web"], Some("mesh-net")),
            (&["mesh.", "mesh-x.web", "web.mesh"], Some("mesh")),
            (&["mesh-12", "mesh-net"], Some("mesh-own")),
            (&["mesh", "mesh-net-3", "mesh-own", "mesh-docker"], None),
        ] {
            assert_eq!(free_base(others), base, "{others:?}");
        }
    }

    #[test]
    fn a_network_that_is_made_again_keeps_its_number() {
        for (name, base, want) in [
            ("mesh", "mesh", "mesh"),
            ("mesh-1", "mesh", "mesh-1"),
            ("mesh", "mesh-net", "mesh-net"),
            ("mesh-12", "mesh-net", "mesh-net-12"),
            ("mesh-net-3", "mesh", "mesh-3"),
            ("shop", "mesh-net", "shop"),
            ("mesh-1.web", "mesh-net", "mesh-net-1.web"),
            ("mesh.web", "mesh", "mesh.web"),
        ] {
            assert_eq!(renamed(name, base), want, "{name} on {base}");
        }
    }
}
