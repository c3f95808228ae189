//! Attackers, strangers and damaged datagrams have no effect.

use core::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn replays_of_every_message_have_no_effect() {
    let mut net = established();
    net.renew(1);
    net.run(SECOND);
    let tape = net.tape.clone();
    assert_eq!(tape.len(), 4);
    let keys = [net.current(0).unwrap(), net.current(1).unwrap()];
    for _ in 0..2 {
        for (to, from, bytes) in &tape {
            let refused = net.deliver(*to, *from, bytes.clone()).unwrap_err();
            assert!(
                matches!(refused, Refused::Replayed | Refused::UnknownIndex),
                "{refused}"
            );
            // Reflected to its sender, it is addressed to another router.
            assert_eq!(net.deliver(*from, *to, bytes.clone()), Err(Refused::BadMac));
        }
    }
    net.run(SECOND);
    assert_eq!(net.tape.len(), 4, "no answer to a replay");
    for (node, before) in keys.iter().enumerate() {
        assert_eq!(net.current(node).unwrap().local(), before.local());
    }
}

#[test]
fn an_init_from_before_we_forgot_the_peer_stays_a_replay() {
    let mut net = established();
    let peer = net.nodes[0].id();
    net.nodes[1].sessions.forget(peer);
    assert_eq!(
        net.nodes[1].sessions.poll_output(),
        Some(SessionOutput::Changed(peer))
    );
    assert_eq!(net.nodes[1].sessions.receiving().count(), 0);
    assert_eq!(net.nodes[1].sessions.index_count(), 0);
    let (to, from, init) = net.tape[0].clone();
    assert_eq!(net.deliver(to, from, init), Err(Refused::Replayed));
}

#[test]
fn every_truncation_and_flipped_bit_is_refused() {
    let tape = established().tape;
    for (at, (node, _, message)) in tape.iter().enumerate() {
        // The same seed gives the same messages: this one is on its way, and its answer has not been made yet.
        let mut net = Net::new(1, FAIR);
        net.want(0);
        net.run(Duration::from_millis(if at == 0 { 5 } else { 15 }));
        assert_eq!(net.tape[at].2, *message);
        mangle(&mut net, *node, message);
        net.run(2 * SECOND);
        assert_talk(&mut net);
    }
}

/// Delivers to `node` all truncations of `message`, and all messages that differ from it in one bit. The mac2 of an
/// Init is left out: it is not checked without load.
fn mangle(net: &mut Net, node: usize, message: &[u8]) {
    let covered = if message.len() == INIT_LEN {
        INIT_LEN - 16
    } else {
        message.len()
    };
    for len in 0..message.len() {
        let cut = message[..len].to_vec();
        refused(net, node, &cut);
    }
    for bit in 0..8 * covered {
        let mut bad = message.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(net, node, &bad);
        // With a valid mac1, the Noise message fails to authenticate.
        let head = covered - 16;
        bad.truncate(head);
        let key = net.nodes[node].identity.dh_key();
        message::append_mac1(&mut bad, &key);
        bad.extend_from_slice(&message[covered..]);
        let header = bit / 8 < 16;
        if bit / 8 < head && !(header && message.len() == RESPONSE_LEN) {
            refused(net, node, &bad);
        }
    }
}

fn refused(net: &mut Net, node: usize, bytes: &[u8]) {
    let book = net.book();
    let via = Via::Relay(PeerId([9; 16]));
    net.now += Duration::from_millis(20); // slowly, so that no load limit interferes
    let (now, sessions) = (net.now, &mut net.nodes[node].sessions);
    let result = sessions.handle_datagram(bytes, via, &book, now, &mut net.entropy);
    assert!(result.is_err(), "{bytes:?}");
    assert_eq!(sessions.poll_output(), None);
}

#[test]
fn forged_responses_cost_few_key_agreements() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    net.run(Duration::from_millis(15));
    let response = net.tape[1].2.clone();
    let mut forged = response[..RESPONSE_LEN - 16].to_vec();
    forged[60] ^= 1;
    let key = net.nodes[0].identity.dh_key();
    message::append_mac1(&mut forged, &key);
    for n in 0..20 {
        let expected = if n < limits::RESPONSE_ATTEMPTS {
            Refused::Unauthentic
        } else {
            Refused::RateLimited
        };
        assert_eq!(net.deliver(0, 1, forged.clone()), Err(expected));
    }
    // The next attempt has a new count of failures.
    net.run(SECOND);
    assert_talk(&mut net);
}

#[test]
fn strangers_and_other_secrets_get_silence() {
    let mut net = Net::new(1, FAIR);
    let (peer, key) = net.other(0);
    let mut stranger = Node::new(9, 1, testing::usual());
    stranger.sessions.want(peer, key, net.now, &mut net.entropy);
    let initiator = net.nodes[0].id();
    let mut outsider = Sessions::new(net.nodes[0].identity.clone(), 1, [8; 32], Suites::AES_FIRST);
    outsider.want(peer, key, net.now, &mut net.entropy);
    for (sessions, reason) in [
        (&mut stranger.sessions, Refused::UnknownPeer),
        // The pre-shared key is mixed in with the Response, so it is the initiator that detects the mismatch.
        (&mut outsider, Refused::Unauthentic),
    ] {
        let Some(SessionOutput::Send { bytes, .. }) = sessions.poll_output() else {
            panic!("no Init")
        };
        let book = net.book();
        let via = Via::Direct(Net::address(0));
        let us = &mut net.nodes[1].sessions;
        let result = us.handle_datagram(&bytes, via, &book, net.now, &mut net.entropy);
        if reason == Refused::UnknownPeer {
            assert_eq!(result, Err(reason));
            assert_eq!(us.poll_output(), None);
            continue;
        }
        assert_eq!(result, Ok(()));
        us.poll_output();
        let Some(SessionOutput::Send { bytes, .. }) = us.poll_output() else {
            panic!("no Response")
        };
        let result = sessions.handle_datagram(&bytes, via, &book, net.now, &mut net.entropy);
        assert_eq!(result, Err(reason));
        assert_eq!(sessions.current(peer).map(|t| t.local()), None);
        assert!(us.current(initiator).is_none(), "never confirmed");
    }
}

#[test]
fn a_peer_with_an_unusable_key_is_harmless() {
    let mut net = Net::new(1, FAIR);
    let sessions = &mut net.nodes[0].sessions;
    sessions.want(PeerId([9; 16]), [0; 32], net.now, &mut net.entropy);
    assert_eq!(sessions.poll_output(), None);
    assert_eq!(
        sessions.refusals().collect::<Vec<_>>(),
        [(Refused::BadKey, 1)]
    );
    assert_eq!(
        (sessions.statuses().count(), sessions.index_count()),
        (0, 0)
    );
}

#[test]
fn announcing_the_key_of_another_router_is_useless() {
    let mut net = Net::new(1, FAIR);
    let thief = Node::new(9, 1, testing::usual()).id();
    let (victim, key) = (net.nodes[0].id(), net.nodes[0].identity.dh_key());
    // The thief's record has the victim's key; the victim's handshakes are still attributed to the victim.
    net.want(0);
    let (_, _, init) = net.tape[0].clone();
    let mut book = net.book();
    book.0.insert(thief, key);
    let via = Via::Direct(Net::address(0));
    let us = &mut net.nodes[1].sessions;
    let taken = us.handle_datagram(&init, via, &book, net.now, &mut net.entropy);
    assert_eq!(taken, Ok(()));
    let sessions: Vec<PeerId> = us.receiving().map(|(_, t)| t.peer()).collect();
    assert_eq!(sessions, [victim]);
    // A handshake with the thief that reaches the victim, because of its key, gets no answer.
    us.want(thief, key, net.now, &mut net.entropy);
    let to_thief = |us: &mut Sessions| loop {
        match us.poll_output() {
            Some(SessionOutput::Send { peer, bytes, .. }) if peer == thief => return bytes,
            Some(_) => {}
            None => panic!("no Init"),
        }
    };
    let init = to_thief(us);
    assert_eq!(net.deliver(0, 1, init), Err(Refused::Unauthentic));
}

#[test]
fn an_old_epoch_is_refused_whatever_its_counter() {
    let mut net = established();
    let identity = net.nodes[0].identity.clone();
    net.nodes[0].sessions = Sessions::new(identity, 0, testing::PSK, Suites::AES_FIRST);
    net.want(0);
    net.run(SECOND);
    assert!(net.nodes[1].refused(Refused::Replayed) >= 1);
    assert!(net.current(0).is_none());
    // A router with an outdated epoch can still be reached, even while it repeats its Inits.
    net.run(8 * SECOND);
    net.renew(1);
    net.run(SECOND);
    assert_talk(&mut net);
}

#[test]
fn the_table_is_bounded_and_the_idle_make_room() {
    let mut entropy = SeededEntropy::new(1);
    let mut node = Node::new(1, 1, testing::usual());
    let key = DhSecret::from_bytes([3; 32]).public();
    let id = |n: u32| {
        let mut id = [0xee; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    };
    let count = u32::try_from(limits::MAX_SESSIONS).unwrap() + 10;
    for n in 0..count {
        let now = Instant::from_nanos(u64::from(n));
        // This tests the table only, without 4,096 key agreements.
        assert!(node.sessions.enter(id(n), key, now));
    }
    assert_eq!(node.sessions.statuses().count(), limits::MAX_SESSIONS);
    assert_eq!(node.sessions.counters().evicted, 10);
    let first = node.sessions.statuses().next().map(|s| s.peer);
    assert_eq!(first, Some(id(10)));
    node.sessions.want(
        id(count),
        key,
        Instant::from_nanos(u64::from(count)),
        &mut entropy,
    );
    assert_eq!(node.sessions.statuses().count(), limits::MAX_SESSIONS);
}

#[test]
fn under_load_a_handshake_succeeds_with_a_cookie() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    net.run(Duration::from_millis(5));
    let init = net.tape[0].2.clone();
    let load = |net: &mut Net| {
        let mut bad = init.clone();
        bad[INIT_LEN - 6] ^= 1; // mac1 is still valid: it counts, but is answered by a Cookie at most
        for _ in 0..=limits::HANDSHAKE_LOAD {
            let book = net.book();
            let via = Via::Relay(PeerId([9; 16]));
            let sessions = &mut net.nodes[1].sessions;
            let _ = sessions.handle_datagram(&bad, via, &book, net.now, &mut net.entropy);
            while sessions.poll_output().is_some() {}
        }
    };
    // The load delivered the Init through a relay; forget the session, but not the counter.
    load(&mut net);
    let peer = net.nodes[0].id();
    net.nodes[1].sessions.forget(peer);
    for _ in 0..20 {
        net.run(Duration::from_millis(100));
        load(&mut net);
    }
    let challenges = net.nodes[1].sessions.counters().challenges;
    assert!(challenges >= 1);
    let shown = net
        .tape
        .iter()
        .filter(|(to, _, b)| *to == 1 && b[INIT_LEN - 16..] != [0; 16]);
    assert!(shown.count() >= 1, "an Init with mac2");
    assert_talk(&mut net);
    assert_eq!(net.nodes[0].refused(Refused::BadCookie), 0);
}

#[test]
fn a_cookie_is_taken_once_and_only_for_an_init_that_waits() {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    let (_, from, init) = net.tape[0].clone();
    assert_eq!(from, 0);
    let (index, mac1) = match message::parse(&init) {
        Ok(message::Message::Init(init)) => (init.header.receiver, init.mac1()),
        other => panic!("{other:?}"),
    };
    let key = net.nodes[1].identity.dh_key();
    let cookie = zeroize::Zeroizing::new([5; 32]);
    let make = |index, mac1: [u8; 16], key| {
        message::cookie_message(index, &mac1, &cookie, key, &mut SeededEntropy::new(8)).unwrap()
    };
    let good = make(index, mac1, &key);
    let forged = [
        (make(index, [0; 16], &key), Refused::BadCookie),
        (make(index, mac1, &[1; 32]), Refused::BadCookie),
        (
            make(crate::ids::SessionIndex(1), mac1, &key),
            Refused::UnknownIndex,
        ),
    ];
    for (bytes, reason) in forged {
        assert_eq!(net.deliver(0, 1, bytes), Err(reason));
    }
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // Hop limit and counter of the header are not used in a Cookie.
        if !(8..16).contains(&(bit / 8)) && bit / 8 != 1 {
            refused(&mut net, 0, &bad);
        }
    }
    assert_eq!(net.deliver(0, 1, good.clone()), Ok(()));
    assert_eq!(net.deliver(0, 1, good), Err(Refused::BadCookie));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..8, len in 0usize..4) {
        let mut net = Net::new(1, FAIR);
        let mut bytes = bytes;
        if let Some(len) = [INIT_LEN, RESPONSE_LEN, COOKIE_LEN].get(len) {
            bytes.resize(*len, 0);
        }
        if let Some(first) = bytes.first_mut() {
            *first = 0x10 | kind;
        }
        refused(&mut net, 0, &bytes);
    }
}
