//! The two routers of the examples; all secrets and "random" bytes are constants.

use std::sync::Arc;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::{Mac, Version};
use mesh_proto::network::NetworkId;
use mesh_proto::topology::bodies::{
    Attached, IdentityBody, Neighbour, encode_attached, encode_links,
};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::topic::Topic;

/// Source of constant "random" bytes.
pub(crate) struct Always(pub(crate) u8);

impl Entropy for Always {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

/// Router of the examples.
pub(crate) struct Router {
    pub(crate) identity: Arc<Identity>,
    /// Introduction of the router.
    pub(crate) record: SignedRecord,
    pub(crate) entropy: Always,
}

/// Returns router A, with seeds 01…, 02…, and random bytes 11….
pub(crate) fn a() -> Router {
    let identity = Identity::from_seeds([1; 32], [2; 32]);
    let version = Version { epoch: 3, seq: 300 };
    router(identity, version, ("host1", "192.0.2.1:6783"), 0x11)
}

/// Returns router B, with seeds 03…, 04…, and random bytes 22….
pub(crate) fn b() -> Router {
    let identity = Identity::from_seeds([3; 32], [4; 32]);
    let version = Version { epoch: 1, seq: 1 };
    router(identity, version, ("host2", "192.0.2.2:6783"), 0x22)
}

/// Returns A's record about its link to B.
pub(crate) fn links_of_a() -> SignedRecord {
    let link = Neighbour {
        peer: b().identity.id().prefix(),
        outbound: true,
        established: true,
        cost: 20,
        address: Some("198.51.100.2:7000".parse().unwrap()),
    };
    said_by_a(Topic::LINKS, 301, &encode_links(&[link]))
}

/// Returns A's record about its container.
pub(crate) fn attached_of_a() -> SignedRecord {
    said_by_a(Topic::ATTACHED, 2, &encode_attached(&[web()]))
}

/// Returns the body of a record about A's container and another one in a network.
pub(crate) fn attached_in_a_network() -> Vec<u8> {
    let db = Attached {
        network: NetworkId([9; 16]),
        mac: Mac([0x02, 0x6d, 10, 40, 0, 2]),
        addr: "10.40.0.2/16".parse().unwrap(),
        container: "db".into(),
        moves: 0,
    };
    encode_attached(&[db, web()])
}

fn web() -> Attached {
    Attached {
        network: NetworkId::DEFAULT,
        mac: Mac([0x02, 0x6d, 10, 2, 1, 1]),
        addr: "10.2.1.1/24".parse().unwrap(),
        container: "web".into(),
        moves: 0,
    }
}

fn said_by_a(topic: Topic, seq: u64, body: &[u8]) -> SignedRecord {
    let version = Version { epoch: 3, seq };
    SignedRecord::sign(topic, version, body, &a().identity).unwrap()
}

/// Returns the mesh secret of the examples: a key file with 32 bytes 05.
pub(crate) fn secret() -> MeshSecret {
    MeshSecret::from_key_bytes([5; 32])
}

fn router(
    identity: Identity,
    version: Version,
    (nickname, endpoint): (&str, &str),
    random: u8,
) -> Router {
    let mut body = IdentityBody::new(&identity, identity.id().derived_name(), nickname.into());
    body.endpoints = vec![endpoint.parse().unwrap()];
    let record = SignedRecord::sign(Topic::IDENTITY, version, &body.encode(), &identity).unwrap();
    Router {
        identity: Arc::new(identity),
        record,
        entropy: Always(random),
    }
}
