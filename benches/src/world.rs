//! Records and link-state databases of any size.

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::record::{Neighbour, RecordBody, SignedRecord};

/// Links of each router, about.
const DEGREE: usize = 8;

/// The identity of router `n`.
pub fn identity(n: usize) -> Identity {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let mut dh = seed;
    dh[31] = 1;
    Identity::from_seeds(seed, dh)
}

/// What a router with these neighbours says of itself.
pub fn record(identity: &Identity, neighbours: &[PeerId]) -> RecordBody {
    let neighbour = |peer: &PeerId| Neighbour {
        peer: *peer,
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    };
    RecordBody {
        version: Version { epoch: 1, seq: 1 },
        name: identity.id().derived_name(),
        nickname: "host".to_owned(),
        sign_key: identity.sign_key(),
        dh_key: identity.dh_key(),
        endpoints: vec![([10, 0, 0, 1], 6783).into()],
        neighbours: neighbours.iter().map(neighbour).collect(),
        attached: Vec::new(),
        features: 0,
        extensions: Vec::new(),
    }
}

/// The records of `n` routers that form a ring with chords; and one of them.
///
/// # Panics
/// When `n` is 0.
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
        let signed = SignedRecord::sign(&record(identity, &linked), identity);
        lsdb.insert(signed.expect("a small record can be signed"), Instant::ZERO);
    }
    (lsdb, ids[0])
}
