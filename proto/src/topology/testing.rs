//! Identities and records for tests.

use crate::crypto::identity::Identity;
use crate::ids::{PeerId, Version};
use crate::time::Instant;
use crate::topology::bodies::{IdentityBody, Neighbour, encode_links};
use crate::topology::lsdb::Lsdb;
use crate::topology::record::SignedRecord;
use crate::wire::topic::Topic;

/// Returns identity number `n`.
pub(crate) fn identity(n: u64) -> Identity {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let mut dh = seed;
    dh[31] = 1;
    Identity::from_seeds(seed, dh)
}

/// Returns a body with keys and a name only.
pub(crate) fn body_of(identity: &Identity) -> IdentityBody {
    IdentityBody::new(identity, identity.id().derived_name(), "host".into())
}

/// Returns an identity record with this version; `nickname` distinguishes records of one version.
pub(crate) fn record(identity: &Identity, epoch: u64, seq: u64, nickname: &str) -> SignedRecord {
    let mut body = body_of(identity);
    body.nickname = nickname.into();
    introduction(&body, Version { epoch, seq }, identity)
}

/// Signs an identity record with this body.
pub(crate) fn introduction(
    body: &IdentityBody,
    version: Version,
    identity: &Identity,
) -> SignedRecord {
    SignedRecord::sign(Topic::IDENTITY, version, &body.encode(), identity).unwrap()
}

/// Returns a record of `identity` about `topic` with this version; `text` distinguishes records of one version.
pub(crate) fn about(
    identity: &Identity,
    topic: Topic,
    (epoch, seq): (u64, u64),
    text: &str,
) -> SignedRecord {
    let body = if topic == Topic::LINKS {
        Vec::new()
    } else {
        text.into()
    };
    SignedRecord::sign(topic, Version { epoch, seq }, &body, identity).unwrap()
}

/// Returns a links record of `identity` with an established link to each of `peers`.
pub(crate) fn linked(identity: &Identity, peers: impl IntoIterator<Item = PeerId>) -> SignedRecord {
    let links: Vec<Neighbour> = peers.into_iter().map(neighbour).collect();
    linked_by(identity, &links)
}

/// Returns a links record of `identity` with these links.
pub(crate) fn linked_by(identity: &Identity, links: &[Neighbour]) -> SignedRecord {
    let version = Version { epoch: 1, seq: 1 };
    SignedRecord::sign(Topic::LINKS, version, &encode_links(links), identity).unwrap()
}

/// Merges the identity of `identity` and a record of these links.
pub(crate) fn insert_linked(
    lsdb: &mut Lsdb,
    identity: &Identity,
    peers: impl IntoIterator<Item = PeerId>,
) {
    lsdb.insert(record(identity, 1, 1, "host"), Instant::ZERO);
    lsdb.insert(linked(identity, peers), Instant::ZERO);
}

/// Returns an established link to `peer`.
pub(crate) fn neighbour(peer: PeerId) -> Neighbour {
    Neighbour {
        peer: peer.prefix(),
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    }
}
