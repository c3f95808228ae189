//! Identities and records for tests.

use crate::crypto::identity::Identity;
use crate::ids::{PeerId, Version};
use crate::topology::record::{Neighbour, RecordBody, SignedRecord};

/// The identity number `n`.
pub(crate) fn identity(n: u64) -> Identity {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let mut dh = seed;
    dh[31] = 1;
    Identity::from_seeds(seed, dh)
}

/// A body with keys and a name, and nothing else.
pub(crate) fn body_of(identity: &Identity) -> RecordBody {
    RecordBody {
        version: Version { epoch: 1, seq: 1 },
        name: identity.id().derived_name(),
        nickname: "host".into(),
        sign_key: identity.sign_key(),
        dh_key: identity.dh_key(),
        endpoints: Vec::new(),
        neighbours: Vec::new(),
        attached: Vec::new(),
        features: 0,
        extensions: Vec::new(),
    }
}

/// A record of `identity` with this version; `nickname` tells records of one version apart.
pub(crate) fn record(identity: &Identity, epoch: u64, seq: u64, nickname: &str) -> SignedRecord {
    let mut body = body_of(identity);
    body.version = Version { epoch, seq };
    body.nickname = nickname.into();
    SignedRecord::sign(&body, identity).unwrap()
}

/// A record of `identity` that claims an established link to each of `peers`.
pub(crate) fn linked(identity: &Identity, peers: impl IntoIterator<Item = PeerId>) -> SignedRecord {
    let mut body = body_of(identity);
    body.neighbours = peers.into_iter().map(neighbour).collect();
    SignedRecord::sign(&body, identity).unwrap()
}

/// An established link to `peer`.
pub(crate) fn neighbour(peer: PeerId) -> Neighbour {
    Neighbour {
        peer,
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    }
}
