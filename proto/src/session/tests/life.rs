//! Sessions over time: rekeying, restarts, packet loss.

use core::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn rekeying_under_traffic_loses_nothing() {
    for talker in 0..2 {
        // Slow enough that frames are in flight whenever keys change, in any order.
        let weather = Weather {
            delay: Duration::from_millis(250),
            jitter: Duration::from_millis(200),
            duplicates: 10,
            ..FAIR
        };
        let mut net = Net::new(5, weather);
        net.want(0);
        net.run(3 * SECOND);
        let before = net.nodes[1 - talker].received.len();
        let first = net.current(talker).unwrap().local();
        let mut sent = 0;
        for _ in 0..400 * 5 {
            assert!(net.send(talker, b"frame"));
            sent += 1;
            net.run(Duration::from_millis(200));
        }
        net.run(SECOND);
        assert_eq!(net.nodes[1 - talker].received.len() - before, sent);
        assert_eq!(net.nodes[1 - talker].unopened, 0);
        assert_ne!(net.current(talker).unwrap().local(), first);
        let counters = net.nodes.iter().map(|n| n.sessions.counters());
        let completed: u64 = counters.map(|c| c.completed).sum();
        // In 400 s: one at the start, then every 120 s or 165 s, or sooner if the roles change.
        assert!((3..=5).contains(&completed), "{completed} by {talker}");
    }
}

#[test]
fn keys_are_replaced_after_a_number_of_messages() {
    let small = TransportLimits {
        rekey_after_messages: 20,
        reject_after_messages: 1_000,
        ..testing::usual()
    };
    let mut net = Net::with_limits(5, FAIR, small);
    net.want(0);
    net.run(SECOND);
    let first = net.current(0).unwrap().local();
    for _ in 0..60 {
        assert!(net.send(0, b"frame"));
        net.run(Duration::from_millis(100));
    }
    assert_ne!(net.current(0).unwrap().local(), first);
    assert_eq!(net.nodes[1].received.len(), 60);
}

#[test]
fn keys_used_too_often_are_dropped_and_replaced_on_demand() {
    let small = TransportLimits {
        rekey_after_messages: 5,
        reject_after_messages: 10,
        ..testing::usual()
    };
    let mut net = Net::with_limits(5, FAIR, small);
    net.want(0);
    net.run(SECOND);
    while net.send(0, b"frame") {}
    net.want(0);
    net.run(SECOND);
    assert_talk(&mut net);
}

#[test]
fn unused_keys_die_and_leave_nothing_behind() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    net.run(limits::REJECT_AFTER - SECOND);
    assert!(net.current(0).is_some());
    assert_eq!(net.tape.len(), 2, "unused keys are not replaced");
    net.run(2 * SECOND);
    for node in &net.nodes {
        assert_eq!(node.sessions.statuses().count(), 0);
        assert_eq!(node.sessions.receiving().count(), 0);
        assert_eq!(node.sessions.index_count(), 0);
        assert_eq!(node.sessions.next_deadline(), None);
    }
}

#[test]
fn a_wanted_session_lives_on_without_frames() {
    let mut net = Net::new(1, FAIR);
    for _ in 0..600 {
        net.want(0);
        net.want(1);
        net.run(SECOND);
        assert!(net.tape.len() < 3 || net.current(0).is_some());
    }
    assert_eq!(net.nodes[0].sessions.counters().completed, 5);
    assert_talk(&mut net);
}

#[test]
fn a_restarted_peer_is_found_by_silence() {
    for restarted in 0..2 {
        let mut net = established();
        let identity = net.nodes[restarted].identity.clone();
        net.nodes[restarted].sessions = Sessions::new(identity, 2, testing::PSK, Suites::AES_FIRST);
        let other = 1 - restarted;
        let mut seconds = 0;
        while net.current(restarted).is_none() {
            net.send(other, b"hello?");
            net.run(SECOND);
            seconds += 1;
            assert!(seconds <= 16, "not noticed");
        }
        assert!(seconds >= 10, "one lost frame is no silence");
        assert_talk(&mut net);
    }
}

#[test]
fn a_restarted_peer_recovers_by_its_own_handshake() {
    for restarted in 0..2 {
        let mut net = established();
        let old = net.tape.clone();
        let identity = net.nodes[restarted].identity.clone();
        net.nodes[restarted].sessions = Sessions::new(identity, 2, testing::PSK, Suites::AES_FIRST);
        net.want(restarted);
        net.run(SECOND);
        assert_talk(&mut net);
        for (to, from, bytes) in old {
            if to != restarted {
                assert!(net.deliver(to, from, bytes).is_err());
            }
        }
        assert_talk(&mut net);
    }
}

#[test]
fn keys_of_the_new_epoch_stay_when_its_record_arrives() {
    for (restarted, begins) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut net = established();
        let other = 1 - restarted;
        let (peer, id) = (
            net.nodes[restarted].id(),
            net.nodes[restarted].identity.clone(),
        );
        net.nodes[restarted].sessions = Sessions::new(id, 2, testing::PSK, Suites::AES_FIRST);
        net.renew(begins);
        net.run(SECOND);
        // The newer keys, and those of the previous run; both are kept until the peer is known to have restarted.
        assert_eq!(net.nodes[other].sessions.receiving().count(), 2);
        net.nodes[other].sessions.forget_before(peer, 2);
        assert_eq!(net.nodes[other].sessions.receiving().count(), 1);
        assert_eq!(net.current(other).unwrap().epoch(), 2);
        assert_talk(&mut net);
        net.nodes[other].sessions.forget_before(peer, 3);
        assert_eq!(net.nodes[other].sessions.receiving().count(), 0);
        assert_eq!(net.nodes[other].sessions.index_count(), 0);
    }
}

#[test]
fn silence_of_dropped_keys_is_ignored() {
    let mut net = established();
    let id = net.nodes[0].identity.clone();
    net.nodes[0].sessions = Sessions::new(id, 2, testing::PSK, Suites::AES_FIRST);
    for _ in 0..6 {
        net.send(1, b"hello?");
        net.run(SECOND);
    }
    // The Response is in flight when the record arrives.
    net.renew(0);
    net.run(Duration::from_millis(15));
    let peer = net.nodes[0].id();
    net.nodes[1].sessions.forget_before(peer, 2);
    assert!(net.current(1).is_none() && net.nodes[1].sessions.receiving().count() == 1);
    let other = net.nodes[1].id();
    net.nodes[0].sessions.forget(other);
    net.run(20 * SECOND);
}

#[test]
fn a_raised_epoch_drops_earlier_keys() {
    let mut net = established();
    net.nodes[0].sessions.raise_epoch(1);
    assert!(net.current(0).is_some(), "no higher than before");
    net.nodes[0].sessions.raise_epoch(7);
    assert!(net.current(0).is_none());
    let peer = net.nodes[0].id();
    net.nodes[1].sessions.forget_before(peer, 7);
    net.want(1);
    net.run(SECOND);
    assert_eq!(net.current(1).unwrap().epoch(), 7);
    assert_talk(&mut net);
}

#[test]
fn one_way_traffic_is_no_silence() {
    let mut net = established();
    for _ in 0..60 {
        net.send(0, b"frame");
        net.run(SECOND);
    }
    assert_eq!(net.tape.len(), 2);
}

#[test]
fn an_idle_session_sends_nothing() {
    let mut net = established();
    let sent = |net: &Net| net.current(0).unwrap().stats().sent_datagrams;
    net.run(10 * SECOND);
    let before = sent(&net);
    net.run(60 * SECOND);
    assert_eq!(sent(&net), before);
}

#[test]
fn a_changed_key_restarts_the_handshake() {
    let mut net = Net::new(1, FAIR);
    let (peer, key) = net.other(0);
    let old = DhSecret::from_bytes([99; 32]).public();
    let sessions = &mut net.nodes[0].sessions;
    sessions.want(peer, old, net.now, &mut net.entropy);
    sessions.want(peer, key, net.now, &mut net.entropy);
    assert_eq!(sessions.counters().inits, 2);
    assert_eq!(sessions.index_count(), 1);
    net.want(0);
    net.run(SECOND);
    assert_talk(&mut net);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn both_sides_agree_under_any_faults(
        seed: u64,
        loss in 0u64..40,
        duplicates in 0u64..40,
        delay in 0u64..400,
        jitter in 0u64..400,
        events in proptest::collection::vec((0u64..3_000, 0usize..2, 0u8..8), 1..25),
    ) {
        let weather = Weather {
            loss,
            duplicates,
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
        };
        let mut net = Net::new(seed, weather);
        let mut epoch = 1;
        for (wait, node, what) in events {
            match what {
                0 => net.renew(node),
                1 => {
                    epoch += 1;
                    let identity = net.nodes[node].identity.clone();
                    net.nodes[node].sessions = Sessions::new(identity, epoch, testing::PSK, Suites::AES_FIRST);
                }
                2 | 3 => net.want(node),
                _ => drop(net.send(node, b"frame")),
            }
            net.run(Duration::from_millis(wait));
        }
        // The network is good again: both talk once the silence is detected.
        net.weather = FAIR;
        for _ in 0..25 {
            for node in 0..2 {
                net.want(node);
                net.send(node, b"frame");
            }
            net.run(SECOND);
        }
        assert_talk(&mut net);
        for node in &net.nodes {
            prop_assert!(node.sessions.index_count() <= 2 + 2 * limits::KEPT_ATTEMPTS);
            prop_assert!(node.sessions.receiving().count() <= 2 + limits::KEPT_ATTEMPTS);
        }
    }
}
