//! Docker networks for the addresses of one container: a container can be on each network once only.

use ipnet::IpNet;

use crate::docker::endpoint::DeferredAddress;

/// One connection of a container that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedNetwork {
    /// Name of the network.
    pub name: String,
    /// The address, by its index.
    pub address: usize,
    /// The part of the address that Docker is not told.
    pub deferred: DeferredAddress,
}

/// Returns the network of each address, in a network of the mesh with this name unless that is `default`. Where Docker goes
/// by the names of networks, addresses without their subnets get the first names.
pub fn plan(
    addresses: &[IpNet],
    by_name: bool,
    base: &str,
    mesh_network: Option<&str>,
) -> Vec<PlannedNetwork> {
    let deferred = |k: usize| match addresses[k] {
        _ if !is_in_other_subnet(addresses, k) => DeferredAddress::No,
        // Of an IPv6 address there is a route even without its subnet.
        IpNet::V4(_) if by_name => DeferredAddress::Subnet,
        _ => DeferredAddress::Whole,
    };
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_by_key(|k| deferred(*k) != DeferredAddress::Subnet);
    let mut names: Vec<String> = order
        .iter()
        .map(|k| network_name(base, *k, mesh_network))
        .collect();
    names.sort();
    let pairs = names.into_iter().zip(order);
    pairs
        .map(|(name, k)| PlannedNetwork {
            name,
            address: k,
            deferred: deferred(k),
        })
        .collect()
}

/// Returns whether another address brings a route that covers this one. Of several in one subnet, that is so for all but
/// the first of those with the widest.
fn is_in_other_subnet(addresses: &[IpNet], k: usize) -> bool {
    let address = addresses[k];
    addresses.iter().enumerate().any(|(other, subnet)| {
        (subnet.prefix_len(), other) < (address.prefix_len(), k) && subnet.contains(&address.addr())
    })
}

/// Returns the name of the Docker network of the k-th address of a container: `mesh-1`, or `mesh-1.web` in the network
/// `web`. Docker answers names within one of its networks, so those of two networks of the mesh have none in common.
fn network_name(base: &str, k: usize, mesh_network: Option<&str>) -> String {
    let behind = mesh_network.map_or_else(String::new, |name| format!(".{name}"));
    match k {
        0 => format!("{base}{behind}"),
        k => format!("{base}-{k}{behind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.2.1.2` for an address that Docker is to set without its subnet, `-` for one that it is not to set.
    fn shown(addresses: &[&str], by_name: bool) -> Vec<String> {
        let addresses: Vec<IpNet> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let all = plan(&addresses, by_name, "mesh", None).into_iter();
        all.map(|planned| {
            let (name, address) = (planned.name, addresses[planned.address]);
            match planned.deferred {
                DeferredAddress::No => format!("{name} {address}"),
                DeferredAddress::Subnet => format!("{name} {}", address.addr()),
                DeferredAddress::Whole => format!("{name} -"),
            }
        })
        .collect()
    }

    #[test]
    fn addresses_of_one_subnet_come_before_its_route() {
        for (addresses, expected) in [
            (vec!["10.2.1.1/24"], vec!["mesh 10.2.1.1/24"]),
            (
                vec!["10.2.1.1/24", "10.3.1.1/24"],
                vec!["mesh 10.2.1.1/24", "mesh-1 10.3.1.1/24"],
            ),
            (
                vec!["10.2.1.1/24", "10.2.1.2/24", "10.3.1.1/24", "10.3.1.2/24"],
                vec![
                    "mesh 10.2.1.2",
                    "mesh-1 10.3.1.2",
                    "mesh-2 10.2.1.1/24",
                    "mesh-3 10.3.1.1/24",
                ],
            ),
            // The widest subnet has the route, wherever it stands.
            (
                vec!["10.2.1.1/24", "10.2.2.1/16", "10.2.1.2/24"],
                vec!["mesh 10.2.1.1", "mesh-1 10.2.1.2", "mesh-2 10.2.2.1/16"],
            ),
            (
                vec!["fd00::1/64", "fd00::2/64"],
                vec!["mesh fd00::1/64", "mesh-1 -"],
            ),
        ] {
            assert_eq!(shown(&addresses, true), expected);
        }
        let addresses = ["10.2.1.1/24", "10.2.1.2/24"];
        assert_eq!(shown(&addresses, false), ["mesh 10.2.1.1/24", "mesh-1 -"]);
    }

    #[test]
    fn a_network_of_the_mesh_has_networks_of_its_own() {
        let addresses: Vec<IpNet> = ["10.40.0.1/16", "10.40.0.2/16"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        let names = |by_name| -> Vec<(String, usize)> {
            let all = plan(&addresses, by_name, "mesh", Some("web")).into_iter();
            all.map(|planned| (planned.name, planned.address)).collect()
        };
        let (first, second) = ("mesh-1.web".to_owned(), "mesh.web".to_owned());
        assert_eq!(names(true), [(first.clone(), 1), (second.clone(), 0)]);
        assert_eq!(names(false), [(first, 0), (second, 1)]);
    }

    #[test]
    fn names_are_in_dockers_order() {
        let mut addresses: Vec<String> = (1..=12).map(|n| format!("10.{n}.0.1/16")).collect();
        addresses.push("10.1.0.2/16".into());
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let shown = shown(&addresses, true);
        assert!(
            shown.is_sorted_by_key(|line| line.split(' ').next()),
            "{shown:?}"
        );
        assert_eq!(shown[0], "mesh 10.1.0.2");
        assert_eq!(shown.len(), 13);
    }
}
