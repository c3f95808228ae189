//! What a member says, however wrong or often, is counted and costs bounded memory.

use core::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::crypto::identity::BadSignature;

#[test]
fn garbage_from_a_member_is_counted_and_changes_nothing() {
    let mut net = linked_pair();
    let (now, conn) = (net.now, net.conn(0, 1));
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let mut forged = control
        .parts
        .gossip
        .lsdb()
        .get(RecordKey::new(peer, Topic::IDENTITY))
        .unwrap()
        .bytes()
        .to_vec();
    forged[0] ^= 1;
    control.handle_message(
        conn,
        LinkMessage::Records(vec![vec![1, 2, 3], forged, Vec::new()]),
        now,
    );
    control.handle_message(conn, LinkMessage::Unknown(99), now);
    control.handle_message(
        conn,
        LinkMessage::Request(vec![RecordKey::new(PeerId([9; 16]), Topic::LINKS); 100]),
        now,
    );
    control.handle_message(conn, LinkMessage::Digest([0; 16]), now);
    assert!(control.parts.gossip.counters().refused >= 2);
    assert_eq!(control.parts.gossip.counters().unknown, 1);
    net.run(5 * SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

#[test]
fn a_neighbour_that_asks_and_does_not_read_costs_bounded_memory() {
    let mut net = linked_pair();
    let (now, conn) = (net.now, net.conn(0, 1));
    let control = &mut net.nodes[0].control;
    let mut queued = 0;
    for n in 0..20_000u64 {
        control.handle_message(conn, LinkMessage::Ping { nonce: n }, now);
        control.handle_message(conn, LinkMessage::Digest([0; 16]), now);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        control.handle_message(
            conn,
            LinkMessage::Request(vec![RecordKey::new(PeerId(id), Topic::LINKS)]),
            now,
        );
        control.parts.links.drain(conn);
        control.parts.drain_links(now);
        while let Some(output) = control.poll_output() {
            if let Output::Send { bytes, .. } = output {
                queued += bytes.len();
            }
        }
    }
    assert!(queued <= 2 * limits::MAX_GOSSIP_QUEUE, "{queued}");
    assert!(control.parts.gossip.longest_queue() <= 4);
}

#[test]
fn a_reason_cannot_write_on_the_terminal() {
    let mut net = linked_pair();
    let (now, conn) = (net.now, net.conn(0, 1));
    let control = &mut net.nodes[0].control;
    let reason = "\u{1b}]0;owned\u{7}\n2026 INFO all is well".to_owned();
    control.handle_message(conn, LinkMessage::Bye { reason }, now);
    net.run(Duration::from_millis(1));
    let notes = &net.nodes[0].notes;
    assert!(notes.iter().any(|n| n.contains("owned")), "{notes:?}");
    assert!(!notes.iter().any(|n| n.chars().any(char::is_control)));
}

#[test]
fn a_flood_of_valid_records_is_put_off_and_the_last_one_wins() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.connect(1, 0);
    net.connect(1, 2);
    net.run(6 * SECOND);
    // Node 1 tells of node 2 faster than anybody may publish; the forgeries among it use up nothing.
    let epoch = net.nodes[2].control.parts.gossip.own_epoch();
    let mut forged = record_of_another_run(&net, 2, Version { epoch, seq: 9_000 })
        .bytes()
        .to_vec();
    forged[0] ^= 1;
    let (now, conn) = (net.now, net.conn(0, 1));
    let flood: Vec<Vec<u8>> = (0..200)
        .map(|n| {
            record_of_another_run(
                &net,
                2,
                Version {
                    epoch,
                    seq: 1_000 + n,
                },
            )
        })
        .map(|record| record.bytes().to_vec())
        .collect();
    let control = &mut net.nodes[0].control;
    let before = *control.parts.gossip.counters();
    control.handle_message(conn, LinkMessage::Records(vec![forged; 50]), now);
    assert_eq!(control.parts.gossip.counters().refused, before.refused + 50);
    control.handle_message(conn, LinkMessage::Records(flood), now);
    let taken = control.parts.gossip.counters().accepted - before.accepted;
    assert!((2..=limits::RECORD_BURST).contains(&taken), "{taken}");
    assert_eq!(control.parts.gossip.counters().put_off, 200 - taken);
    // Node 2 overtakes what was said of it, and that arrives.
    net.run(12 * SECOND);
    let digests: Vec<_> = net.nodes.iter().map(|n| n.control.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

/// Counts how often it is asked.
#[derive(Default)]
struct Counting(AtomicU64);

impl Verifier for Counting {
    fn verify(&self, record: &SignedRecord, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ed25519.verify(record, sign_key)
    }
}

#[test]
fn forgeries_cost_their_link_our_attention_and_nobody_else() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.connect(1, 0);
    net.connect(2, 0);
    net.run(6 * SECOND);
    let version = |seq| Version { epoch: 1, seq };
    let forgery = |n: u8| {
        let mut bytes = record_of_another_run(&net, 2, version(9_000))
            .bytes()
            .to_vec();
        bytes[0] ^= n;
        bytes
    };
    let flood: Vec<Vec<u8>> = (1..=255).map(forgery).collect();
    let news = |seq| {
        vec![
            record_of_another_run(&net, 2, version(seq))
                .bytes()
                .to_vec(),
        ]
    };
    let (first, second) = (news(1_000), news(1_001));
    let (now, liar, honest) = (net.now, net.conn(0, 1), net.conn(0, 2));
    let counting = Arc::new(Counting::default());
    let control = &mut net.nodes[0].control;
    control.parts.gossip.set_verifier(counting.clone());
    let before = *control.parts.gossip.counters();
    control.handle_message(liar, LinkMessage::Records(flood), now);
    assert_eq!(counting.0.load(Ordering::Relaxed), limits::FORGERY_BURST);
    let counters = *control.parts.gossip.counters();
    assert_eq!(counters.refused - before.refused, limits::FORGERY_BURST);
    assert_eq!(counters.unverified, 255 - limits::FORGERY_BURST);
    // Even the truth is not looked at when it comes from there; from elsewhere it is.
    control.handle_message(liar, LinkMessage::Records(first.clone()), now);
    assert_eq!(control.parts.gossip.counters().accepted, before.accepted);
    control.handle_message(honest, LinkMessage::Records(first), now);
    assert_eq!(
        control.parts.gossip.counters().accepted,
        before.accepted + 1
    );
    let later = now + SECOND;
    control.handle_message(liar, LinkMessage::Records(second), later);
    assert_eq!(
        control.parts.gossip.counters().accepted,
        before.accepted + 2
    );
    assert_eq!((net.established(0), net.established(1)), (2, 2));
}

#[test]
fn of_two_records_of_one_version_all_end_with_the_same() {
    let stranger = Identity::from_seeds([7; 32], [8; 32]);
    let version = Version { epoch: 1, seq: 1 };
    let body = crate::topology::testing::body_of(&stranger).encode();
    let identity = SignedRecord::sign(Topic::IDENTITY, version, &body, &stranger).unwrap();
    let fork = |text: &[u8]| SignedRecord::sign(Topic::NAMES, version, text, &stranger).unwrap();
    let forks = [fork(b"one"), fork(b"other")];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut net = linked_pair();
        let now = net.now;
        for (n, news) in [(0, &forks[first]), (1, &forks[second])] {
            for record in [&identity, news] {
                net.nodes[n]
                    .control
                    .parts
                    .gossip
                    .take(record.clone(), None, now);
            }
        }
        // One of them says nothing before it is told.
        net.nodes[0].control.parts.gossip.clear_queues();
        net.run(SECOND);
        let held = |n: usize| {
            net.nodes[n]
                .control
                .parts
                .gossip
                .lsdb()
                .get(forks[0].key())
                .cloned()
        };
        assert_eq!(held(0), held(1), "{first}");
        assert!(held(0).is_some());
    }
}
