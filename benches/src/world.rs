//! Records and link-state databases of any size.

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::{IdentityBody, Neighbour, encode_links};
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::topic::Topic;

/// Approximate number of links per router.
const DEGREE: usize = 8;

/// Returns the identity of router `n`.
pub fn identity(n: usize) -> Identity {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let mut dh = seed;
    dh[31] = 1;
    Identity::from_seeds(seed, dh)
}

/// Returns the encoded identity record of a router.
fn who(identity: &Identity) -> Vec<u8> {
    let name = identity.id().derived_name();
    let mut body = IdentityBody::new(identity, name, "host".to_owned());
    body.endpoints = vec![([10, 0, 0, 1], 6783).into()];
    body.encode()
}

/// Returns the encoded links record of a router with these neighbours.
pub fn links(neighbours: &[PeerId]) -> Vec<u8> {
    let neighbour = |peer: &PeerId| Neighbour {
        peer: peer.prefix(),
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    };
    let neighbours: Vec<Neighbour> = neighbours.iter().map(neighbour).collect();
    encode_links(&neighbours)
}

/// Returns the first record of a router for a topic.
///
/// # Panics
/// If the body is invalid for the topic.
pub fn record(identity: &Identity, topic: Topic, body: &[u8]) -> SignedRecord {
    let version = Version { epoch: 1, seq: 1 };
    SignedRecord::sign(topic, version, body, identity).expect("a small record can be signed")
}

/// Returns the records of `n` routers that form a ring with chords, and the id of one of them.
///
/// # Panics
/// If `n` is 0.
pub fn lsdb(n: usize) -> (Lsdb, PeerId) {
    let identities: Vec<Identity> = (0..n).map(identity).collect();
    let ids: Vec<PeerId> = identities.iter().map(Identity::id).collect();
    let mut lsdb = Lsdb::default();
    for (i, identity) in identities.iter().enumerate() {
        let strides = (0..DEGREE / 2).map(|k| (n / 8).max(1) * k + 1);
        let mut linked: Vec<PeerId> = strides
            .flat_map(|stride| [ids[(i + stride) % n], ids[(i + n - stride % n) % n]])
            .filter(|peer| *peer != ids[i])
            .collect();
        linked.sort_unstable();
        linked.dedup();
        let said = [
            (Topic::IDENTITY, who(identity)),
            (Topic::LINKS, links(&linked)),
        ];
        for (topic, body) in said {
            lsdb.insert(record(identity, topic, &body), Instant::ZERO);
        }
    }
    (lsdb, ids[0])
}
