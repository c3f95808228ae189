//! The two routers of the examples: every secret and every "random" byte is a constant.

use std::sync::Arc;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::{Mac, Version};
use mesh_proto::topology::record::{Attached, Neighbour, RecordBody, SignedRecord};

/// Random bytes that are all the same.
pub(crate) struct Always(pub(crate) u8);

impl Entropy for Always {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

/// One router of the examples.
pub(crate) struct Router {
    pub(crate) identity: Arc<Identity>,
    pub(crate) record: SignedRecord,
    pub(crate) entropy: Always,
}

/// Seeds 01…, 02…; random bytes 11….
pub(crate) fn a() -> Router {
    let identity = Identity::from_seeds([1; 32], [2; 32]);
    let mut body = body(&identity, "host1", "192.0.2.1:6783");
    body.version = Version { epoch: 3, seq: 300 };
    body.neighbours.push(Neighbour {
        peer: b().identity.id(),
        outbound: true,
        established: true,
        cost: 1,
        address: Some("192.0.2.2:6783".parse().unwrap()),
    });
    body.attached.push(Attached {
        mac: Mac([0x02, 0x6d, 10, 2, 1, 1]),
        addr: "10.2.1.1/24".parse().unwrap(),
        container: "web".into(),
    });
    router(identity, &body, 0x11)
}

/// Seeds 03…, 04…; random bytes 22….
pub(crate) fn b() -> Router {
    let identity = Identity::from_seeds([3; 32], [4; 32]);
    let body = body(&identity, "host2", "192.0.2.2:6783");
    router(identity, &body, 0x22)
}

/// The secret of the mesh of the examples: a key file of 32 bytes 05.
pub(crate) fn secret() -> MeshSecret {
    MeshSecret::from_key_bytes([5; 32])
}

fn router(identity: Identity, body: &RecordBody, random: u8) -> Router {
    let record = SignedRecord::sign(body, &identity).unwrap();
    Router {
        identity: Arc::new(identity),
        record,
        entropy: Always(random),
    }
}

fn body(identity: &Identity, nickname: &str, endpoint: &str) -> RecordBody {
    RecordBody {
        version: Version { epoch: 1, seq: 1 },
        name: identity.id().derived_name(),
        nickname: nickname.into(),
        sign_key: identity.sign_key(),
        dh_key: identity.dh_key(),
        endpoints: vec![endpoint.parse().unwrap()],
        neighbours: Vec::new(),
        attached: Vec::new(),
        features: 0,
        extensions: Vec::new(),
    }
}
