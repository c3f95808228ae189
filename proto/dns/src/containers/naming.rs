//! Names and exposed ports of a container, from its engine.

use std::collections::{BTreeMap, BTreeSet};

use mesh_engine::container::{EngineContainer, is_part_of_id};
use mesh_names::{Domain, MeshName, NameError, Port, ServiceProtocol};

/// Names of services, by port and transport like `80/tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(BTreeMap<String, String>);

/// Names and ports of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerNaming {
    /// Container name; it may have changed since the attachment was announced.
    pub name: String,
    /// Host name and aliases that are valid names.
    pub names: Vec<MeshName>,
    /// Ids of the networks of the engine on which each alias was given.
    pub aliased: BTreeMap<MeshName, BTreeSet<String>>,
    /// True if the first of `names` is the host name.
    pub has_hostname: bool,
    /// Errors of those that are not.
    pub unusable: Vec<NameError>,
    /// Exposed ports.
    pub ports: Vec<Port>,
    /// The full answer of the engine.
    pub container: EngineContainer,
    /// Number of the answer; later answers have higher numbers.
    pub heard: u64,
}

impl ContainerNaming {
    /// Returns the names and ports of a container, as its engine describes it.
    pub fn of(container: &EngineContainer, domain: &Domain, services: &Services) -> Self {
        // Engines add the start of the container's id as an alias; it is not a name in the mesh.
        let is_own = |name: &&String| !name.is_empty() && !is_part_of_id(name, &container.id);
        let hostname = [&container.hostname].into_iter().filter(is_own);
        // A host name in another domain is not a name in the mesh.
        let hostname = hostname.map(|name| MeshName::parse(name, domain));
        let hostname = hostname.filter(|name| !matches!(name, Err(NameError::Outside { .. })));
        let aliases = container.aliases.iter().filter(is_own);
        let aliases = aliases.map(|name| MeshName::given(name, domain));
        let (mut names, mut unusable) = (Vec::new(), Vec::new());
        let hostname = hostname.collect::<Vec<_>>();
        let has_hostname = matches!(hostname.first(), Some(Ok(_)));
        for name in hostname.into_iter().chain(aliases) {
            match name {
                Ok(name) if names.contains(&name) => {}
                Ok(name) => names.push(name),
                Err(error) if unusable.contains(&error) => {}
                Err(error) => unusable.push(error),
            }
        }
        Self {
            name: container.name.clone(),
            aliased: aliased(container, domain, names.first().filter(|_| has_hostname)),
            names,
            has_hostname,
            unusable,
            ports: container
                .exposed
                .iter()
                .filter_map(|p| services.port(p))
                .collect(),
            container: container.clone(),
            heard: 0,
        }
    }
}

/// Returns the ids of the networks on which each alias was given; the host name is known in all networks.
fn aliased(
    container: &EngineContainer,
    domain: &Domain,
    hostname: Option<&MeshName>,
) -> BTreeMap<MeshName, BTreeSet<String>> {
    let mut aliased: BTreeMap<MeshName, BTreeSet<String>> = BTreeMap::new();
    for connection in &container.networks {
        for alias in &connection.aliases {
            if let Ok(name) = MeshName::given(alias, domain)
                && Some(&name) != hostname
            {
                let networks = aliased.entry(name).or_default();
                networks.insert(connection.network_id.clone());
            }
        }
    }
    aliased
}

impl Services {
    /// Parses lines like `http 80/tcp www # WorldWideWeb`, as in `/etc/services`.
    pub fn parse(text: &str) -> Self {
        let mut known = BTreeMap::new();
        for line in text.lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            if let (Some(name), Some(port)) = (words.next(), words.next()) {
                known
                    .entry(port.to_owned())
                    .or_insert_with(|| name.to_ascii_lowercase());
            }
        }
        Self(known)
    }

    /// Parses a port like `80/tcp`.
    fn port(&self, text: &str) -> Option<Port> {
        let (number, transport) = text.split_once('/')?;
        Some(Port {
            number: number.parse().ok()?,
            transport: match transport {
                "tcp" => ServiceProtocol::Tcp,
                "udp" => ServiceProtocol::Udp,
                "sctp" => ServiceProtocol::Sctp,
                _ => return None,
            },
            service: self.0.get(text).cloned().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hostname: &str, aliases: &[&str], exposed: &[&str]) -> (Vec<String>, Vec<u16>) {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let container = EngineContainer {
            id: "0123456789abcdef".into(),
            hostname: hostname.into(),
            aliases: owned(aliases),
            exposed: owned(exposed),
            ..EngineContainer::default()
        };
        let details = ContainerNaming::of(
            &container,
            &Domain::parse("mesh.local").unwrap(),
            &Services::default(),
        );
        let names = details.names.iter().map(ToString::to_string).collect();
        (names, details.ports.iter().map(|p| p.number).collect())
    }

    #[test]
    fn names_are_those_that_people_gave() {
        for (hostname, aliases, names) in [
            ("www", &["shop", "0123456789ab"][..], &["www", "shop"][..]),
            ("WWW.mesh.local", &["a.b"], &["www", "a.b"]),
            ("www", &["shop.mesh.local", "WWW", "Shop"], &["www", "shop"]),
            ("www.example.org", &["a b", ""], &[]),
            ("0123456789ab", &[], &[]),
            // These happen to be prefixes of the id.
            ("0", &["012345"], &["0", "012345"]),
        ] {
            assert_eq!(of(hostname, aliases, &[]).0, names, "{hostname}");
        }
    }

    #[test]
    fn the_host_name_comes_first_and_what_cannot_be_a_name_is_told() {
        let container = EngineContainer {
            id: "0123456789abcdef".into(),
            hostname: "www".into(),
            aliases: vec!["a..b".into(), "x".repeat(70), "a..b".into(), "aaa".into()],
            ..EngineContainer::default()
        };
        let details = ContainerNaming::of(
            &container,
            &Domain::parse("mesh.local").unwrap(),
            &Services::default(),
        );
        let names: Vec<String> = details.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["www", "aaa"]);
        assert!(details.has_hostname);
        assert_eq!(details.unusable.len(), 2, "{:?}", details.unusable);
    }

    #[test]
    fn ports_are_read_as_engines_write_them() {
        let exposed = ["80/tcp", "53/udp", "x/tcp", "80", "1/icmp"];
        assert_eq!(of("", &[], &exposed).1, [80, 53]);
    }

    #[test]
    fn services_have_the_name_that_comes_first() {
        let text = "# all\nhttp\t\t80/tcp\t\twww # Web\nDomain 53/udp\nwww-x 80/tcp\nbad\n";
        let Services(known) = Services::parse(text);
        assert_eq!(known.len(), 2);
        assert_eq!(known["80/tcp"], "http");
        assert_eq!(known["53/udp"], "domain");
    }
}
