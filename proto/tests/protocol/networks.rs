//! Statement about networks.

use core::num::NonZeroU16;

use mesh_networks::{
    NetworkDefinition, NetworkMembership, NetworkName, NetworkRemoval, NetworkSubnet,
    NetworkVersion, NetworksStatement, UserLabel,
};
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
            extension: Vec::new(),
        }],
        extension: Vec::new(),
    };
    let bytes = statement.encode();
    assert_eq!(NetworksStatement::decode(&bytes), Ok(statement));
    Vectors::from([("networks of A", bytes)])
}
