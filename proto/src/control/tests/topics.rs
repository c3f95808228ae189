//! What others say through the control plane reaches everybody, and nobody who does not know it changes it.

use super::*;

const NEWS: Topic = Topic::NAMES;

fn strange() -> Topic {
    Topic::new(limits::MAX_TOPICS).unwrap()
}

/// Three in a row: what the first says passes the second.
fn chain() -> Net {
    let mut net = Net::new([1, 2, 3].map(without_discovery).into());
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(4 * SECOND);
    net
}

fn say(net: &mut Net, n: usize, topic: Topic, body: &[u8]) {
    let now = net.now;
    net.nodes[n]
        .control
        .announce(topic, body.to_vec(), now)
        .unwrap();
}

fn heard(net: &Net, n: usize, by: usize, topic: Topic) -> Option<(Vec<u8>, bool)> {
    let by = net.nodes[by].control.me();
    let said = net.nodes[n].control.announcement(by, topic)?;
    Some((said.body.to_vec(), said.reachable))
}

#[test]
fn what_one_says_all_hear_and_are_told_of() {
    let mut net = chain();
    say(&mut net, 0, NEWS, b"one");
    say(&mut net, 0, strange(), b"later version");
    net.run(SECOND);
    for n in 0..3 {
        assert_eq!(heard(&net, n, 0, NEWS), Some((b"one".to_vec(), true)));
        assert_eq!(heard(&net, n, 0, strange()).unwrap().0, b"later version");
        assert_eq!(net.nodes[n].control.announcements(NEWS).count(), 1);
        let key = RecordKey::new(net.nodes[0].control.me(), NEWS);
        assert!(net.nodes[n].said.contains(&key));
    }
    say(&mut net, 0, NEWS, b"two");
    net.run(2 * SECOND);
    assert_eq!(heard(&net, 2, 0, NEWS), Some((b"two".to_vec(), true)));
    say(&mut net, 0, NEWS, b"");
    net.run(2 * SECOND);
    assert_eq!(heard(&net, 2, 0, NEWS), Some((Vec::new(), true)));
    let digests: Vec<_> = net.nodes.iter().map(|n| n.control.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn the_control_planes_own_topics_are_its_own() {
    let mut net = chain();
    let now = net.now;
    for topic in [Topic::IDENTITY, Topic::LINKS, Topic::ATTACHED] {
        let refused = net.nodes[0].control.announce(topic, vec![1], now);
        assert_eq!(refused, Err(RecordError::BuiltIn(topic)));
    }
}

#[test]
fn what_is_said_before_its_origin_is_known_is_asked_for_again() {
    let mut net = chain();
    let stranger = Identity::from_seeds([7; 32], [8; 32]);
    let version = Version { epoch: 1, seq: 1 };
    let body = crate::topology::testing::body_of(&stranger).encode();
    let identity = SignedRecord::sign(Topic::IDENTITY, version, &body, &stranger).unwrap();
    let news = SignedRecord::sign(NEWS, version, b"news", &stranger).unwrap();
    tell(&mut net, &news);
    assert_eq!(net.nodes[0].control.announcements(NEWS).count(), 0);
    // Node 1 knows both, and is asked for them.
    let (now, conn) = (net.now, net.conn(1, 2));
    let records = [&identity, &news].map(|r| r.bytes().to_vec()).to_vec();
    net.nodes[1]
        .control
        .handle_message(conn, LinkMessage::Records(records), now);
    net.nodes[1].control.parts.gossip.clear_queues();
    tell(&mut net, &news);
    net.run(SECOND);
    let said = net.nodes[0]
        .control
        .announcement(stranger.id(), NEWS)
        .unwrap();
    assert_eq!((said.body, said.reachable), (&b"news"[..], false));
}

#[test]
fn a_restart_takes_back_what_was_said() {
    let mut net = chain();
    say(&mut net, 0, NEWS, b"one");
    net.run(SECOND);
    assert!(heard(&net, 2, 0, NEWS).is_some());
    for n in 0..3 {
        net.nodes[n].said.clear();
    }
    let later = record_of_another_run(&net, 0, Version { epoch: 5, seq: 1 });
    let (now, conn) = (net.now, net.conn(2, 1));
    let message = LinkMessage::Records(vec![later.bytes().to_vec()]);
    net.nodes[2].control.handle_message(conn, message, now);
    assert_eq!(heard(&net, 2, 0, NEWS), None);
    // The comparison of digests brings it to the router itself, which goes on with a higher epoch and says it again.
    net.run(8 * SECOND);
    let said = &net.nodes[2].said;
    assert!(said.len() >= 2, "void, and said again: {said:?}");
    assert_eq!(heard(&net, 2, 0, NEWS), Some((b"one".to_vec(), true)));
}
