//! Messages to one router arrive there and nowhere else; what is forged, lost or too much is counted and harms nobody.

use super::*;
use crate::topology::unicast::SignedUnicast;

/// Each linked to the next only.
fn chain(n: u8) -> Net {
    let mut net = Net::new((1..=n).map(without_discovery).collect());
    for k in 1..usize::from(n) {
        net.connect(k - 1, k);
    }
    net.run(5 * SECOND);
    net
}

fn say(net: &mut Net, from: usize, to: usize, body: &[u8]) {
    let (now, to) = (net.now, net.nodes[to].control.me());
    let control = &mut net.nodes[from].control;
    control
        .send_unicast(to, Topic::ADDRESSES, body, now)
        .unwrap();
    net.run(SECOND);
}

fn count(net: &Net, n: usize, name: &str) -> u64 {
    let report = net.nodes[n].control.report(net.now);
    report.counters[&format!("router messages {name}")]
}

/// Node 1 hands node 0 this.
fn hand(net: &mut Net, hops: u8, bytes: Vec<u8>) {
    let (now, conn) = (net.now, net.conn(0, 1));
    let message = LinkMessage::Unicast { hops, bytes };
    net.nodes[0].control.handle_message(conn, message, now);
    net.run(SECOND);
}

fn signed(net: &Net, by: usize, to: usize, topic: Topic) -> SignedUnicast {
    let to = net.nodes[to].control.me();
    let identity = &net.nodes[by].control.parts.config.identity;
    SignedUnicast::sign(topic, to, b"x", identity).unwrap()
}

#[test]
fn it_arrives_over_others_and_they_are_not_told() {
    let mut net = chain(4);
    say(&mut net, 0, 3, b"one");
    say(&mut net, 3, 0, &vec![7; 100_000]);
    say(&mut net, 1, 2, b"next");
    let me = |n: usize| net.nodes[n].control.me();
    let about = Topic::ADDRESSES;
    assert_eq!(net.nodes[3].told, [(me(0), about, b"one".to_vec())]);
    assert_eq!(net.nodes[0].told, [(me(3), about, vec![7; 100_000])]);
    assert_eq!(net.nodes[2].told, [(me(1), about, b"next".to_vec())]);
    assert_eq!(net.nodes[1].told, []);
    assert_eq!(
        (count(&net, 1, "passed on"), count(&net, 2, "passed on")),
        (2, 2)
    );
    assert_eq!((count(&net, 0, "sent"), count(&net, 0, "received")), (1, 1));
}

#[test]
fn to_nobody_and_about_the_control_planes_own_topics_nothing_is_sent() {
    let mut net = chain(2);
    let (now, to) = (net.now, net.nodes[1].control.me());
    let control = &mut net.nodes[0].control;
    let refused = control.send_unicast(to, Topic::LINKS, b"x", now);
    assert_eq!(refused, Err(RecordError::BuiltIn(Topic::LINKS)));
    let longer = vec![0; limits::MAX_RECORD];
    let refused = control.send_unicast(to, Topic::ADDRESSES, &longer, now);
    assert!(matches!(refused, Err(RecordError::TooLong(_))));
    control
        .send_unicast(PeerId([7; 16]), Topic::ADDRESSES, b"x", now)
        .unwrap();
    assert_eq!((count(&net, 0, "sent"), count(&net, 0, "dropped")), (0, 1));
}

#[test]
fn what_is_forged_or_from_a_stranger_is_refused() {
    let mut net = chain(3);
    let good = signed(&net, 2, 0, Topic::ADDRESSES);
    let mut changed = good.bytes().to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    hand(&mut net, 9, changed);
    let stranger = Identity::from_seeds([7; 32], [8; 32]);
    let me = net.nodes[0].control.me();
    let strange = SignedUnicast::sign(Topic::ADDRESSES, me, b"x", &stranger).unwrap();
    hand(&mut net, 9, strange.into_bytes());
    let built_in = signed(&net, 2, 0, Topic::LINKS);
    hand(&mut net, 9, built_in.into_bytes());
    let mine = signed(&net, 0, 0, Topic::ADDRESSES);
    hand(&mut net, 9, mine.into_bytes());
    hand(&mut net, 9, b"nonsense".to_vec());
    assert_eq!(count(&net, 0, "refused"), 5);
    assert_eq!(net.nodes[0].told, []);
    hand(&mut net, 9, good.into_bytes());
    assert_eq!(net.nodes[0].told.len(), 1);
}

#[test]
fn hops_end_and_nothing_goes_back_where_it_came_from() {
    let mut net = chain(3);
    let good = signed(&net, 2, 0, Topic::ADDRESSES).into_bytes();
    hand(&mut net, 0, good.clone());
    assert_eq!((net.nodes[0].told.len(), count(&net, 0, "dropped")), (0, 1));
    hand(&mut net, 1, good);
    assert_eq!(net.nodes[0].told.len(), 1);
    // For node 2, which is behind node 1, that it comes from.
    let back = signed(&net, 1, 2, Topic::ADDRESSES).into_bytes();
    hand(&mut net, 9, back);
    assert_eq!((net.nodes[2].told.len(), count(&net, 0, "dropped")), (0, 2));
    // Used up on its way.
    let (now, conn) = (net.now, net.conn(1, 0));
    let bytes = signed(&net, 0, 2, Topic::ADDRESSES).into_bytes();
    let message = LinkMessage::Unicast { hops: 1, bytes };
    net.nodes[1].control.handle_message(conn, message, now);
    net.run(SECOND);
    assert_eq!((net.nodes[2].told.len(), count(&net, 1, "dropped")), (0, 1));
}

#[test]
fn one_link_brings_no_more_than_its_share() {
    let mut net = chain(2);
    let (now, conn) = (net.now, net.conn(0, 1));
    let bytes = signed(&net, 1, 0, Topic::ADDRESSES).into_bytes();
    for _ in 0..limits::UNICAST_BURST + 50 {
        let bytes = bytes.clone();
        let message = LinkMessage::Unicast { hops: 1, bytes };
        net.nodes[0].control.handle_message(conn, message, now);
    }
    assert_eq!(count(&net, 0, "received"), limits::UNICAST_BURST);
    assert_eq!(count(&net, 0, "dropped"), 50);
    net.run(SECOND);
    assert_eq!(net.established(0), 1);
}
