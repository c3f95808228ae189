//! All inputs about networks from outside. The first byte selects the decoder.

use core::num::NonZeroU16;

use mesh_networks::{
    AnnouncedKey, KeyAnnouncement, KeyMessage, KeyReply, KeyRequest, NetworkDefinition,
    NetworkMembership, NetworkName, NetworkRemoval, NetworkSubnet, NetworkVersion, Networks,
    NetworksOutput, NetworksStatement, NewNetwork, UserLabel,
};
use mesh_proto::crypto::dh::DhSecret;
use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::entropy::{Entropy, SeededEntropy};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    MAX_NETWORK_EXTENSION, MAX_NETWORK_KEYS, MAX_NETWORK_NAME, MAX_NETWORK_SUBNETS, MAX_NETWORKS,
    MAX_NETWORKS_STATEMENT, MAX_STATED_NETWORKS, MAX_STATED_TOMBSTONES, MAX_TOMBSTONES,
    MAX_USED_NETWORKS,
};
use mesh_proto::network::NetworkId;

use super::fixture::START;

const ME: PeerId = PeerId([1; 16]);
const OTHER: PeerId = PeerId([2; 16]);
const VERSION: NetworkVersion = NetworkVersion {
    counter: 1,
    author: OTHER,
};

/// No input panics; what is accepted is within its bounds, and survives encoding.
pub(super) fn target(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => check_statement(data),
        1 => check_content(data),
        3 => check_key_message(data),
        4 => check_announcement(data),
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

/// Returns a member of network 1, with another member within reach that announces `extension`.
fn member(extension: &[u8]) -> (Networks, SeededEntropy) {
    let mut networks = empty();
    let mut dice = SeededEntropy::new(4);
    let statement = NetworksStatement {
        definitions: vec![first_definition()],
        memberships: vec![NetworkMembership {
            network: NetworkId([1; 16]),
            label: NonZeroU16::MIN,
            is_idle: false,
            extension: extension.to_vec(),
        }],
        ..NetworksStatement::default()
    };
    networks.set_reachable(OTHER, true, START);
    let taken = networks.handle_statement(OTHER, &statement.encode(), START);
    assert_eq!(taken, Ok(()), "an extension never spoils a statement");
    networks
        .join(NetworkId([1; 16]), START)
        .expect("a known network");
    networks.handle_time(&mut dice, START);
    (networks, dice)
}

/// A message about keys brings no key that was not asked for, and is answered by one message at most.
fn check_key_message(bytes: &[u8]) {
    let read = KeyMessage::decode(bytes);
    if let Ok(message) = &read {
        assert_eq!(KeyMessage::decode(&message.encode()).as_ref(), Ok(message));
    }
    let announced = KeyAnnouncement {
        keys: vec![announced(7)],
    };
    let (mut networks, mut dice) = member(&announced.encode());
    let asked = drain(&mut networks);
    let requests = asked.iter();
    let requests = requests.filter(|o| matches!(o, NetworksOutput::Send { .. }));
    assert_eq!(requests.count(), 1);
    networks.handle_message(OTHER, bytes, &mut dice, START);
    assert!(drain(&mut networks).is_empty(), "there is no key yet");
    assert!(networks.keys(&NetworkId([1; 16])).sealing().is_none());
    assert_eq!(networks.figures().refused_messages, 1);
    // Once there is a key of its own, it is given to members, sealed.
    let mut now = START;
    while networks.keys(&NetworkId([1; 16])).sealing().is_none() {
        now = now.max(networks.next_deadline());
        networks.handle_time(&mut dice, now);
    }
    drain(&mut networks);
    networks.handle_message(OTHER, bytes, &mut dice, now);
    assert!(drain(&mut networks).len() <= 1);
}

/// An announcement has at most so many keys, and is followed by one request at most.
fn check_announcement(bytes: &[u8]) {
    let read = KeyAnnouncement::read(bytes);
    assert!(read.keys.len() <= MAX_NETWORK_KEYS);
    assert_eq!(KeyAnnouncement::read(&read.encode()), read);
    if bytes.len() > MAX_NETWORK_EXTENSION {
        return;
    }
    let (mut networks, _) = member(bytes);
    let outputs = drain(&mut networks);
    let sent = outputs.iter().filter_map(|output| match output {
        NetworksOutput::Send { to, body } => Some((*to, KeyMessage::decode(body))),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    let is_lacking = !read.keys.is_empty();
    assert_eq!(sent.len(), usize::from(is_lacking));
    for (to, message) in sent {
        let Ok(KeyMessage::Request(request)) = message else {
            panic!("a request for keys");
        };
        let is_said = |print| read.keys.iter().any(|key| key.print == print);
        assert!(to == OTHER && request.wanted.iter().all(|print| is_said(*print)));
    }
}

fn announced(key: u8) -> AnnouncedKey {
    AnnouncedKey {
        print: NetworkKey::new([key; 32]).print(&NetworkId([1; 16])),
        stale: false,
        next: false,
    }
}

/// Returns a request for keys and a reply to one.
fn key_messages() -> [KeyMessage; 2] {
    let network = NetworkId([1; 16]);
    let (asker, giver) = (
        DhSecret::from_bytes(SeededEntropy::new(5).key()),
        DhSecret::from_bytes(SeededEntropy::new(6).key()),
    );
    let (asker_public, giver_public) = (asker.public(), giver.public());
    let transfer = KeyTransfer {
        network: &network,
        asker: &ME,
        giver: &OTHER,
        asker_public: &asker_public,
        giver_public: &giver_public,
    };
    let key = NetworkKey::new([7; 32]);
    let sealed = transfer.seal(&giver, core::iter::once((&key, true)));
    let request = KeyMessage::Request(KeyRequest {
        network,
        public: asker_public,
        wanted: vec![announced(7).print, announced(8).print],
    });
    let reply = KeyMessage::Reply(KeyReply {
        network,
        asker_public,
        giver_public,
        sealed: sealed.expect("good public keys"),
    });
    [request, reply]
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

fn definition(n: u8, subnets: &[&str]) -> NetworkDefinition {
    NetworkDefinition {
        id: NetworkId([n; 16]),
        version: VERSION,
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
    }
}

/// Returns a definition with each member.
fn first_definition() -> NetworkDefinition {
    let mut first = definition(1, &["10.1.0.0/16", "fd00::/64"]);
    first.subnets[0].gateway = Some([10, 1, 0, 1].into());
    first.subnets[0].ip_range = "10.1.8.0/24".parse().ok();
    first.labels = vec![UserLabel {
        key: "k".to_owned(),
        value: "v".to_owned(),
    }];
    first
}

/// Returns a statement with each member, the content of a file, and a line of words.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let statement = NetworksStatement {
        definitions: vec![first_definition(), definition(2, &["10.1.0.0/16"])],
        removals: vec![NetworkRemoval {
            network: NetworkId([3; 16]),
            version: VERSION,
            age: 1,
        }],
        memberships: vec![NetworkMembership {
            network: NetworkId([1; 16]),
            label: NonZeroU16::MIN,
            is_idle: false,
            extension: vec![7],
        }],
        extension: vec![9],
    };
    let [request, reply] = key_messages();
    let mut announcement = KeyAnnouncement {
        keys: vec![announced(7), announced(8)],
    };
    announcement.keys[0].stale = true;
    announcement.keys[1].next = true;
    vec![
        [&[0], &statement.encode()[..]].concat(),
        [&[1], &router().content(START)[..]].concat(),
        b"\x02web 10.1.0.0/16 10.1.0.1 r10.1.8.0/24 fd00::/64 fd00::1".to_vec(),
        Vec::new(),
        [&[3], &request.encode()[..]].concat(),
        [&[3], &reply.encode()[..]].concat(),
        [&[4], &announcement.encode()[..]].concat(),
    ]
}
