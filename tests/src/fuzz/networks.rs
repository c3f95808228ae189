//! All inputs about networks from outside. The first byte selects the decoder.

use core::num::NonZeroU16;

use mesh_networks::{
    NetworkDefinition, NetworkMembership, NetworkName, NetworkRemoval, NetworkSubnet,
    NetworkVersion, Networks, NetworksOutput, NetworksStatement, NewNetwork, UserLabel,
};
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    MAX_NETWORK_NAME, MAX_NETWORK_SUBNETS, MAX_NETWORKS, MAX_NETWORKS_STATEMENT,
    MAX_STATED_NETWORKS, MAX_STATED_TOMBSTONES, MAX_TOMBSTONES, MAX_USED_NETWORKS,
};
use mesh_proto::network::NetworkId;

use super::fixture::START;

const ME: PeerId = PeerId([1; 16]);
const OTHER: PeerId = PeerId([2; 16]);

/// No input panics; what is accepted is within its bounds, and survives encoding.
pub(super) fn target(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => check_statement(data),
        1 => check_content(data),
        _ => check_text(&String::from_utf8_lossy(data)),
    }
}

fn empty() -> Networks {
    Networks::new(ME, b"mesh", &mut SeededEntropy::new(1))
}

/// Returns a router that created a network, joined it, and removed another one.
fn router() -> Networks {
    let mut networks = empty();
    let mut dice = SeededEntropy::new(2);
    for (name, stays) in [("web", true), ("old", false)] {
        let new = NewNetwork {
            name: name.to_owned(),
            ipv4: true,
            ipv6: true,
            ..NewNetwork::default()
        };
        let created = networks.create(&new, 1_000, &mut dice, START);
        let id = created.expect("a new network").id;
        match stays {
            true => {
                networks.join(id, START).expect("a label");
            }
            false => {
                networks.remove(name, false, START).expect("nobody uses it");
            }
        }
    }
    networks
}

fn drain(networks: &mut Networks) -> Vec<NetworksOutput> {
    core::iter::from_fn(|| networks.poll_output()).collect()
}

fn check_statement(bytes: &[u8]) {
    let read = NetworksStatement::decode(bytes);
    if let Ok(statement) = &read {
        assert!(bytes.len() <= MAX_NETWORKS_STATEMENT);
        assert!(statement.definitions.len() <= MAX_STATED_NETWORKS);
        assert!(statement.removals.len() <= MAX_STATED_TOMBSTONES);
        assert!(statement.memberships.len() <= MAX_USED_NETWORKS);
        assert!(statement.definitions.iter().all(|d| d.check().is_ok()));
        let again = NetworksStatement::decode(&statement.encode());
        assert_eq!(again.as_ref(), Ok(statement));
    }
    let mut networks = router();
    drain(&mut networks);
    networks.set_reachable(OTHER, true, START);
    let taken = networks.handle_statement(OTHER, bytes, START);
    assert_eq!(taken.is_ok(), read.is_ok() || bytes.is_empty());
    for output in drain(&mut networks) {
        if let NetworksOutput::State(own) = output {
            assert!(NetworksStatement::decode(&own).is_ok());
        }
    }
    let known = networks.report();
    // Once more, it changes nothing.
    let _ = networks.handle_statement(OTHER, bytes, START);
    assert!(drain(&mut networks).is_empty());
    assert_eq!(networks.report(), known);
    for statement in read.iter() {
        let gone = &statement.removals;
        assert!(gone.iter().all(|r| networks.get(&r.network).is_none()));
        for membership in &statement.memberships {
            let members = networks.members(&membership.network);
            let label = |router| members.iter().find(|m| m.router == router).map(|m| m.label);
            assert_eq!(label(OTHER), Some(membership.label));
        }
    }
    let content = networks.content(START);
    empty()
        .restore(&content, START)
        .expect("what is stored is read");
    networks.forget(&OTHER, START);
    assert!(
        known
            .iter()
            .all(|row| networks.get(&row.definition.id).is_some())
    );
}

fn check_content(bytes: &[u8]) {
    let mut networks = empty();
    if networks.restore(bytes, START).is_err() {
        return;
    }
    let figures = networks.figures();
    assert!(figures.known <= MAX_NETWORKS && figures.removed <= MAX_TOMBSTONES);
    let content = networks.content(START);
    let mut again = empty();
    assert_eq!(again.restore(&content, START), Ok(()));
    assert_eq!(again.report(), networks.report());
    assert_eq!(again.content(START), content);
}

/// Checks a line of words: the name, and then subnets, gateways and ranges.
fn check_text(text: &str) {
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let parsed = NetworkName::parse(name);
    if let Ok(parsed) = &parsed {
        assert!(parsed.as_str() == name && (1..=MAX_NETWORK_NAME).contains(&name.len()));
    }
    let subnets: Vec<_> = words.clone().filter_map(|w| w.parse().ok()).collect();
    let gateways: Vec<_> = words.clone().filter_map(|w| w.parse().ok()).collect();
    let ranges: Vec<_> = words
        .filter_map(|w| w.strip_prefix('r')?.parse().ok())
        .collect();
    let arranged = NetworkSubnet::arrange(&subnets, &gateways, &ranges);
    let new = NewNetwork {
        name: name.to_owned(),
        subnets: arranged.clone().unwrap_or_default(),
        ipv4: true,
        ..NewNetwork::default()
    };
    let mut networks = empty();
    let created = networks.create(&new, 1, &mut SeededEntropy::new(3), START);
    assert_eq!(created.is_ok(), parsed.is_ok());
    match (arranged, created) {
        (Ok(arranged), _) => assert!(arranged.len() <= MAX_NETWORK_SUBNETS),
        (Err(error), _) => assert!(!error.to_string().contains('\n')),
    }
    if let Err(error) = networks.remove(name, false, START) {
        assert!(!error.to_string().contains('\n'));
    }
}

/// Returns a statement with each member, the content of a file, and a line of words.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let version = NetworkVersion {
        counter: 1,
        author: OTHER,
    };
    let definition = |n: u8, subnets: &[&str]| NetworkDefinition {
        id: NetworkId([n; 16]),
        version,
        stamp: 1_000,
        name: NetworkName::parse("web").expect("a name"),
        subnets: subnets
            .iter()
            .map(|net| NetworkSubnet::new(net.parse().expect("a subnet")))
            .collect(),
        internal: n == 1,
        mtu: (n == 1).then_some(1_400),
        labels: Vec::new(),
        extension: vec![n],
    };
    let mut first = definition(1, &["10.1.0.0/16", "fd00::/64"]);
    first.subnets[0].gateway = Some([10, 1, 0, 1].into());
    first.subnets[0].ip_range = "10.1.8.0/24".parse().ok();
    first.labels = vec![UserLabel {
        key: "k".to_owned(),
        value: "v".to_owned(),
    }];
    let statement = NetworksStatement {
        definitions: vec![first, definition(2, &["10.1.0.0/16"])],
        removals: vec![NetworkRemoval {
            network: NetworkId([3; 16]),
            version,
            age: 1,
        }],
        memberships: vec![NetworkMembership {
            network: NetworkId([1; 16]),
            label: NonZeroU16::MIN,
            extension: vec![7],
        }],
        extension: vec![9],
    };
    vec![
        [&[0], &statement.encode()[..]].concat(),
        [&[1], &router().content(START)[..]].concat(),
        b"\x02web 10.1.0.0/16 10.1.0.1 r10.1.8.0/24 fd00::/64 fd00::1".to_vec(),
        Vec::new(),
    ]
}
