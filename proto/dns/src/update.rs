//! Updates of the names that a DNS server answers, and its view of all names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_names::{MeshName, Names, StatedNames, StatementError, ZoneEntry};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::network::NetworkId;

/// An update of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameUpdate {
    /// Names that this router announces, with its local settings.
    Own(OwnNames),
    /// Announcement of another router.
    Announced {
        /// Router that announces.
        origin: PeerId,
        /// Version of the announcement.
        version: Version,
        /// Encoded announcement; empty if withdrawn.
        body: Vec<u8>,
    },
    /// Reachability of another router: true if reachable.
    Reachable(PeerId, bool),
    /// Another router was removed, with all its names.
    Forgotten(PeerId),
    /// There is no router to wait for.
    Settled,
}

/// Names of this router's own host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames {
    /// Entries that it announces.
    pub entries: StatedNames,
    /// Names removed by the operator: they are not forwarded upstream either.
    pub denied: BTreeSet<(NetworkId, MeshName)>,
    /// Addresses of its containers, named or not.
    pub addresses: BTreeSet<(NetworkId, IpAddr)>,
}

/// Everything that is known of names.
#[derive(Debug)]
pub struct KnownNames {
    /// All answered entries with their networks, in ascending order of networks, by name.
    pub held: Vec<(NetworkId, ZoneEntry)>,
    /// Number of names hidden because their router is unreachable.
    pub hidden: usize,
    /// Number of rejected announcements.
    pub refused: u64,
}

impl NameUpdate {
    /// Applies the update.
    ///
    /// # Errors
    /// The announcement cannot be read; the earlier names of its router are removed.
    pub fn apply(self, names: &mut Names) -> Result<(), StatementError> {
        match self {
            Self::Own(own) => {
                names.set_own(own.entries);
                names.deny(own.denied);
                names.set_here(own.addresses);
            }
            Self::Announced {
                origin,
                version,
                body,
            } => return names.handle_statement(origin, version, &body).map(drop),
            Self::Reachable(origin, is_reachable) => {
                names.set_reachable(origin, is_reachable);
            }
            Self::Forgotten(origin) => {
                names.forget(&origin);
            }
            Self::Settled => names.settle(),
        }
        Ok(())
    }
}

/// Returns everything that is known.
pub fn known(names: &Names) -> KnownNames {
    let zone = names.zone();
    KnownNames {
        held: zone.iter().map(|(n, held)| (n, held.clone())).collect(),
        hidden: zone.hidden(),
        refused: names.refused(),
    }
}

/// Returns the addresses of a name in a network, sorted, each once.
pub fn addresses_of(names: &Names, network: &NetworkId, name: &MeshName) -> Vec<IpAddr> {
    let held = names.zone().network(network).holders(name.as_str()).iter();
    let found: BTreeSet<IpAddr> = held
        .flat_map(|h| h.entry.addresses.iter().copied())
        .collect();
    found.into_iter().collect()
}

/// Returns the names of an address in a network, in order.
pub fn names_of(names: &Names, network: &NetworkId, ip: IpAddr) -> Vec<MeshName> {
    let found = names.zone().network(network).names_of(ip);
    found.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use mesh_names::{Container, Domain, LocalNames};
    use mesh_proto::time::Instant;

    use super::*;

    const DEFAULT: NetworkId = NetworkId::DEFAULT;

    fn local(name: &str, address: &str) -> LocalNames {
        let domain = Domain::parse("mesh.local").unwrap();
        let mut local = LocalNames::default();
        local.set_containers(vec![Container {
            id: "0123".into(),
            network: DEFAULT,
            names: vec![MeshName::given(name, &domain).unwrap()],
            addresses: vec![address.parse().unwrap()],
            ports: Vec::new(),
        }]);
        local
    }

    #[test]
    fn names_of_this_and_of_other_routers_are_found() {
        let mut names = Names::new(PeerId([1; 16]), Instant::ZERO);
        let (here, there) = (local("web", "10.2.1.1"), local("db", "10.2.1.2"));
        let own = OwnNames {
            entries: here.entries().clone(),
            denied: here.denied(),
            addresses: here.addresses(),
        };
        let origin = PeerId([2; 16]);
        let version = Version { epoch: 1, seq: 1 };
        let body = there.statement().to_vec();
        let news = [
            NameUpdate::Settled,
            NameUpdate::Own(own),
            NameUpdate::Announced {
                origin,
                version,
                body,
            },
            NameUpdate::Reachable(origin, true),
        ];
        news.into_iter()
            .try_for_each(|update| update.apply(&mut names))
            .unwrap();
        let held = known(&names).held;
        assert_eq!(held.len(), 2);
        let db = &held
            .iter()
            .find(|(_, h)| h.origin == origin)
            .unwrap()
            .1
            .entry
            .name;
        assert_eq!(
            addresses_of(&names, &DEFAULT, db),
            ["10.2.1.2".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            names_of(&names, &DEFAULT, [10, 2, 1, 2].into()),
            std::slice::from_ref(db)
        );
        let other = NetworkId([7; 16]);
        assert!(addresses_of(&names, &other, db).is_empty());
        assert!(names_of(&names, &other, [10, 2, 1, 2].into()).is_empty());
        NameUpdate::Reachable(origin, false)
            .apply(&mut names)
            .unwrap();
        assert_eq!(known(&names).hidden, 1);
        NameUpdate::Forgotten(origin).apply(&mut names).unwrap();
        assert_eq!((known(&names).held.len(), known(&names).hidden), (1, 0));
        let rubbish = NameUpdate::Announced {
            origin,
            version,
            body: vec![7; 3],
        };
        assert!(rubbish.apply(&mut names).is_err());
    }
}
