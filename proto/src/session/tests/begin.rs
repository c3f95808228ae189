//! Beginning of sessions: messages, order and timing.

use core::time::Duration;

use super::*;

#[test]
fn one_handshake_gives_both_sides_keys() {
    for node in 0..2 {
        let mut net = Net::new(1, FAIR);
        net.want(node);
        assert!(net.current(node).is_none());
        net.run(Duration::from_millis(15));
        assert!(net.current(1 - node).is_none(), "not confirmed yet");
        net.run(Duration::from_millis(6));
        assert!(net.current(node).is_some());
        net.run(Duration::from_millis(10));
        let (a, b) = (net.current(0).unwrap(), net.current(1).unwrap());
        assert_eq!((a.local(), a.remote()), (b.remote(), b.local()));
        assert_eq!(net.tape.len(), 2);
        assert_talk(&mut net);
        net.run(5 * SECOND);
        assert!(a.is_confirmed() && b.is_confirmed());
        assert_eq!(net.tape.len(), 2);
    }
}

#[test]
fn lengths_are_as_documented() {
    let net = established();
    let lengths: Vec<usize> = net.tape.iter().map(|(_, _, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [INIT_LEN, RESPONSE_LEN]);
    assert_eq!((INIT_LEN, RESPONSE_LEN, COOKIE_LEN), (180, 93, 88));
}

#[test]
fn wanting_again_does_nothing() {
    let mut net = Net::new(1, FAIR);
    for _ in 0..5 {
        net.want(0);
    }
    net.run(SECOND);
    for _ in 0..5 {
        net.want(0);
        net.want(1);
    }
    net.run(SECOND);
    assert_eq!(net.tape.len(), 2);
    let me = net.nodes[0].id();
    let key = net.nodes[0].identity.dh_key();
    net.nodes[0]
        .sessions
        .want(me, key, net.now, &mut net.entropy);
    assert_eq!(
        net.nodes[0].sessions.poll_output(),
        None,
        "not with ourselves"
    );
}

#[test]
fn frames_wait_for_the_confirmation_not_for_a_second_handshake() {
    let mut net = Net::new(1, FAIR);
    net.want(1);
    net.run(Duration::from_millis(11));
    net.want(0);
    net.run(2 * SECOND);
    assert_eq!(
        net.tape.len(),
        2,
        "node 0 saw that keys were about to be confirmed"
    );
    assert_talk(&mut net);
}

#[test]
fn simultaneous_begin_gives_the_lower_id_precedence() {
    let mut net = Net::new(3, FAIR);
    net.want(0);
    net.want(1);
    net.run(SECOND);
    assert_eq!(net.nodes[0].refused(Refused::Yielded), 1);
    assert!(net.current(0).unwrap().is_initiator());
    assert!(!net.current(1).unwrap().is_initiator());
    assert_eq!(net.tape.len(), 3);
    assert_talk(&mut net);
}

#[test]
fn an_unanswered_handshake_is_repeated_and_given_up() {
    let deaf = Weather { loss: 100, ..FAIR };
    let mut net = Net::new(1, deaf);
    net.want(0);
    net.run(Duration::from_millis(9_200));
    // At 0, 0.25, 0.75, 1.75, 3.75 and 8.75 s, with jitter.
    assert_eq!(net.tape.len(), 6);
    net.run(90 * SECOND);
    let sessions = &net.nodes[0].sessions;
    assert_eq!(sessions.counters().given_up, 1);
    assert_eq!(sessions.next_deadline(), None);
    assert_eq!(sessions.statuses().count(), 0);
    assert_eq!(sessions.index_count(), 0);
    net.weather = FAIR;
    net.want(0);
    net.run(SECOND);
    assert_talk(&mut net);
}

#[test]
fn a_long_path_delays_a_handshake_by_its_round_trip_only() {
    for (delay, begins_both) in [(400, false), (700, false), (900, false), (700, true)] {
        let delay = Duration::from_millis(delay);
        let mut net = Net::new(1, Weather { delay, ..FAIR });
        net.want(0);
        if begins_both {
            net.want(1);
        }
        net.run(2 * delay + Duration::from_millis(1));
        assert!(net.current(0).is_some(), "{delay:?}");
        net.run(delay);
        assert!(net.current(1).is_some(), "{delay:?}");
        // The later attempts and their answers are dropped or have no effect.
        net.run(10 * SECOND);
        assert_eq!(net.nodes[0].sessions.statuses().count(), 1);
        assert_talk(&mut net);
    }
}

#[test]
fn kept_attempts_and_answers_are_bounded() {
    let mut net = Net::new(1, Weather { loss: 100, ..FAIR });
    net.want(0);
    net.run(60 * SECOND);
    let inits = net.tape.clone();
    assert!(inits.len() > 2 * limits::KEPT_ATTEMPTS);
    assert_eq!(net.nodes[0].sessions.index_count(), limits::KEPT_ATTEMPTS);
    for (to, from, init) in inits {
        assert_eq!(net.deliver(to, from, init), Ok(()));
    }
    assert_eq!(
        net.nodes[1].sessions.receiving().count(),
        limits::KEPT_ATTEMPTS
    );
    assert_eq!(net.nodes[1].sessions.index_count(), limits::KEPT_ATTEMPTS);
}

#[test]
fn every_init_differs() {
    let mut net = Net::new(1, Weather { loss: 100, ..FAIR });
    net.want(0);
    net.run(9 * SECOND);
    for field in [4..8, 8..16, 16..48, 48..96, 96..148, 148..164] {
        let mut seen: Vec<&[u8]> = net.tape.iter().map(|(_, _, b)| &b[field.clone()]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), net.tape.len(), "{field:?}");
    }
}

#[test]
fn lost_confirmations_are_repeated() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    net.run(Duration::from_millis(15));
    net.weather.loss = 100; // the Response is on its way, all Probes are lost
    net.run(SECOND);
    assert!(net.current(0).is_some() && net.current(1).is_none());
    net.weather.loss = 0;
    net.run(SECOND);
    assert!(net.current(1).is_some());
    assert_eq!(net.tape.len(), 2);
    assert_talk(&mut net);
}

#[test]
fn the_deadline_has_a_purpose() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    let why = |net: &Net, node: usize| net.nodes[node].sessions.next_deadline().unwrap().1;
    assert_eq!(why(&net, 0), "session handshake retry");
    net.run(Duration::from_millis(25));
    assert_eq!(why(&net, 0), "session key confirmation");
    net.run(SECOND);
    assert_eq!(why(&net, 0), "session upkeep");
}
