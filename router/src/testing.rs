//! Parts that several unit tests of the router need.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_proto::control::{Config, Control};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::Forwarder;
use mesh_proto::ids::PeerName;
use mesh_proto::topology::record::Ed25519;

use crate::clock::{Clock, OsEntropy};

/// Returns the control plane of a router that knows no other.
pub(crate) fn control(clock: Clock) -> Control {
    let config = Config {
        identity: Arc::new(Identity::from_seeds([1; 32], [2; 32])),
        secret: Arc::new(MeshSecret::open()),
        epoch: 1,
        name: PeerName([2; 6]),
        nickname: "host1".into(),
        port: 6783,
        endpoints: Vec::new(),
        discovery: false,
        mtu: 1376,
        suites: Suites::AES_FIRST,
        stored_neighbours: Vec::new(),
        forgotten: Vec::new(),
        pins: BTreeMap::new(),
    };
    let forwarder = Arc::new(Forwarder::new(&mut OsEntropy));
    let (verifier, entropy) = (Arc::new(Ed25519), Box::new(OsEntropy));
    Control::new(config, forwarder, verifier, entropy, clock.now()).unwrap()
}
