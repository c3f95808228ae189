//! Statement about networks.

use core::num::NonZeroU16;

use mesh_networks::{
    AnnouncedKey, KeyAnnouncement, KeyMessage, KeyReply, KeyRequest, NetworkDefinition,
    NetworkMembership, NetworkName, NetworkRemoval, NetworkSubnet, NetworkVersion,
    NetworksStatement, UserLabel,
};
use mesh_proto::crypto::dh::DhSecret;
use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::network::NetworkId;

use crate::{Vectors, routers};

pub(crate) fn statement() -> Vectors {
    let (a, b) = (routers::a().identity.id(), routers::b().identity.id());
    let id = NetworkId([0x17; 16]);
    let web = NetworkDefinition {
        id,
        version: NetworkVersion {
            counter: 1,
            author: a,
        },
        stamp: 1_000,
        name: NetworkName::parse("web").unwrap(),
        subnets: vec![NetworkSubnet {
            net: "10.40.0.0/16".parse().unwrap(),
            gateway: Some("10.40.0.1".parse().unwrap()),
            ip_range: Some("10.40.8.0/24".parse().unwrap()),
        }],
        internal: false,
        mtu: None,
        labels: vec![UserLabel {
            key: "k".to_owned(),
            value: "v".to_owned(),
        }],
        extension: Vec::new(),
    };
    let statement = NetworksStatement {
        definitions: vec![web],
        removals: vec![NetworkRemoval {
            network: NetworkId([0x18; 16]),
            version: NetworkVersion {
                counter: 2,
                author: b,
            },
            age: 1,
        }],
        memberships: vec![NetworkMembership {
            network: id,
            label: NonZeroU16::new(300).unwrap(),
            is_idle: false,
            extension: Vec::new(),
        }],
        extension: Vec::new(),
    };
    let bytes = statement.encode();
    assert_eq!(NetworksStatement::decode(&bytes), Ok(statement));
    Vectors::from([("networks of A", bytes)])
}

pub(crate) fn keys() -> Vectors {
    let (a, b) = (routers::a().identity.id(), routers::b().identity.id());
    let network = NetworkId([9; 16]);
    let keys = [NetworkKey::new([10; 32]), NetworkKey::new([11; 32])];
    let [first, second] = [0, 1].map(|n| AnnouncedKey {
        print: keys[n].print(&network),
        stale: n == 0,
        next: n == 1,
    });
    let announcement = KeyAnnouncement {
        keys: vec![first, second],
    };
    let (asker, giver) = (
        DhSecret::from_bytes([0x31; 32]),
        DhSecret::from_bytes([0x32; 32]),
    );
    let (asker_public, giver_public) = (asker.public(), giver.public());
    let request = KeyMessage::Request(KeyRequest {
        network,
        public: asker_public,
        wanted: vec![second.print],
    });
    let transfer = KeyTransfer {
        network: &network,
        asker: &a,
        giver: &b,
        asker_public: &asker_public,
        giver_public: &giver_public,
    };
    let given = core::iter::once((&keys[1], false));
    let sealed = transfer.seal(&giver, given).unwrap();
    let opened = transfer.open(&asker, &sealed).unwrap();
    assert_eq!(opened[0].key.id(), keys[1].id());
    let reply = KeyMessage::Reply(KeyReply {
        network,
        asker_public,
        giver_public,
        sealed,
    });
    Vectors::from([
        ("keys announced by A", announcement.encode()),
        ("request for a key, A to B", request.encode()),
        ("reply with a key, B to A", reply.encode()),
    ])
}
