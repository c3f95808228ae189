use core::time::Duration;

use super::*;

const START: Instant = Instant::from_nanos(5);
const ALICE: PeerId = PeerId([1; 16]);
const BOB: PeerId = PeerId([2; 16]);

fn pair_with(limits: TransportLimits) -> (Transport, Transport) {
    pair_of(Suite::ChaCha20Poly1305, limits)
}

fn pair_of(suite: Suite, limits: TransportLimits) -> (Transport, Transport) {
    let keys = |send, recv| TransportKeys {
        suite,
        send: [send; 32],
        recv: [recv; 32],
    };
    let ends = |peer, local, remote| Ends {
        peer,
        epoch: 1,
        local: SessionIndex(local),
        remote: SessionIndex(remote),
    };
    (
        Transport::with_limits(ends(BOB, 10, 20), keys(3, 4), true, START, limits),
        Transport::with_limits(ends(ALICE, 20, 10), keys(4, 3), false, START, limits),
    )
}

fn usual() -> TransportLimits {
    TransportLimits::for_suite(Suite::ChaCha20Poly1305)
}

fn pair() -> (Transport, Transport) {
    pair_with(usual())
}

fn sealed(from: &Transport, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    from.seal(Kind::Data, 3, b"clear", body, START, &mut out)
        .unwrap();
    out
}

#[test]
fn sealed_datagrams_are_opened_by_the_other_side() {
    for suite in Suite::ALL {
        let (alice, bob) = pair_of(suite, TransportLimits::for_suite(suite));
        assert_eq!((alice.suite(), bob.suite()), (suite, suite));
        seals_and_opens(&alice, &bob);
    }
}

fn seals_and_opens(alice: &Transport, bob: &Transport) {
    let mut datagram = sealed(alice, b"a frame");
    assert_eq!(datagram.len(), HEADER_LEN + 5 + 7 + TAG_LEN);
    assert!(!datagram.windows(7).any(|w| w == b"a frame"));
    let opened = bob.open(&mut datagram, 5, START).unwrap();
    assert_eq!(
        (opened.clear, &*opened.body),
        (&b"clear"[..], &b"a frame"[..])
    );
    assert_eq!(
        (opened.header.kind, opened.header.hop_limit),
        (Kind::Data, 3)
    );
    assert_eq!(
        (opened.header.receiver, opened.header.counter),
        (SessionIndex(20), 0)
    );
    assert!(opened.newest && opened.first);
}

#[test]
fn building_in_place_appends_the_same_bytes() {
    let (alice, _) = pair();
    let (again, _) = pair();
    let mut out = b"before".to_vec();
    let draft = alice.begin(Kind::Data, 3, &mut out);
    out.extend_from_slice(b"clear");
    out.extend_from_slice(b"a frame");
    assert_eq!(draft.len(&out), HEADER_LEN + 12);
    alice.finish(draft, 5, START, &mut out).unwrap();
    assert_eq!(out, [b"before", &sealed(&again, b"a frame")[..]].concat());
}

#[test]
fn counters_of_a_key_are_all_different() {
    let (alice, _) = pair();
    let counters: Vec<u64> = (0..100)
        .map(|_| Header::parse(&sealed(&alice, b"")).unwrap().counter)
        .collect();
    assert_eq!(counters, (0..100).collect::<Vec<_>>());
}

#[test]
fn keys_of_one_suite_open_nothing_of_the_other() {
    let (alice, _) = pair();
    let (_, bob) = pair_of(Suite::Aes256Gcm, usual());
    let mut datagram = sealed(&alice, b"a frame");
    let refused = bob.open(&mut datagram, 5, START);
    assert_eq!(refused.unwrap_err(), OpenError::Forged);
}

#[test]
fn aes_gcm_keys_are_used_less_often() {
    let (aes, chacha) = (TransportLimits::for_suite(Suite::Aes256Gcm), usual());
    assert!(aes.reject_after_messages < chacha.reject_after_messages);
    for limits in [aes, chacha] {
        // Datagrams sealed while a handshake is pending must fit between the two limits.
        assert!(limits.rekey_after_messages * 4 <= limits.reject_after_messages);
    }
    // Fewer than 2^24.5 (RFC 8446 section 5.5); squared, to stay with integers.
    assert!(u128::from(aes.reject_after_messages).pow(2) < 1 << 49);
}

#[test]
fn replayed_and_reflected_datagrams_are_refused() {
    let (alice, bob) = pair();
    let datagram = sealed(&alice, b"x");
    bob.open(&mut datagram.clone(), 5, START).unwrap();
    assert_eq!(
        bob.open(&mut datagram.clone(), 5, START).unwrap_err(),
        OpenError::Replayed
    );
    assert_eq!(
        alice.open(&mut datagram.clone(), 5, START).unwrap_err(),
        OpenError::WrongIndex
    );
    let mut reflected = datagram;
    reflected[4..8].copy_from_slice(&10u32.to_be_bytes());
    assert_eq!(
        alice.open(&mut reflected, 5, START).unwrap_err(),
        OpenError::Forged
    );
    assert_eq!(bob.stats().replayed, 1);
    assert_eq!(bob.stats().received_datagrams, 1);
    assert_eq!(alice.stats().forged, 1);
}

#[test]
fn every_flipped_bit_is_refused_and_moves_nothing() {
    let (alice, bob) = pair();
    let datagram = sealed(&alice, b"some frame");
    for at in 0..datagram.len() {
        for bit in 0..8 {
            let mut bad = datagram.clone();
            bad[at] ^= 1 << bit;
            assert!(bob.open(&mut bad, 5, START).is_err(), "{at}.{bit}");
        }
    }
    assert!(!bob.is_confirmed());
    assert_eq!(bob.stats().last_received, None);
    assert!(bob.open(&mut datagram.clone(), 5, START).is_ok());
}

#[test]
fn every_truncation_is_refused() {
    let (alice, bob) = pair();
    let datagram = sealed(&alice, b"some frame");
    for len in 0..datagram.len() {
        assert!(
            bob.open(&mut datagram[..len].to_vec(), 5, START).is_err(),
            "{len}"
        );
    }
    for clear_len in [0, 4, 6, datagram.len(), usize::MAX] {
        assert!(
            bob.open(&mut datagram.clone(), clear_len, START).is_err(),
            "{clear_len}"
        );
    }
    assert!(bob.open(&mut datagram.clone(), 5, START).is_ok());
}

#[test]
fn newest_and_first_follow_the_order_of_arrival() {
    let (alice, bob) = pair();
    let mut datagrams: Vec<Vec<u8>> = (0..3).map(|_| sealed(&alice, b"")).collect();
    let mut open = |i: usize| {
        let opened = bob.open(&mut datagrams[i], 5, START).unwrap();
        (opened.newest, opened.first)
    };
    assert_eq!(open(1), (true, true));
    assert_eq!(open(0), (false, false));
    assert_eq!(open(2), (true, false));
}

#[test]
fn a_key_is_used_up_after_so_many_datagrams() {
    let (alice, bob) = pair_with(TransportLimits {
        rekey_after_messages: 10,
        reject_after_messages: 20,
        ..usual()
    });
    let mut out = Vec::new();
    for n in 0..20 {
        assert_eq!(alice.wants_rekey(START), n >= 10);
        assert!(!alice.is_dead(START));
        out.clear();
        alice
            .seal(Kind::Data, 1, b"", b"x", START, &mut out)
            .unwrap();
        bob.open(&mut out, 0, START).unwrap();
    }
    out.clear();
    out.push(9);
    for _ in 0..3 {
        let refused = alice.seal(Kind::Data, 1, b"", b"x", START, &mut out);
        assert_eq!((refused, &out[..]), (Err(DeadKey::Exhausted), &[9][..]));
    }
    assert!(alice.is_dead(START));
    assert_eq!(alice.stats().sent_datagrams, 20);
}

#[test]
fn a_counter_beyond_the_limit_is_not_opened() {
    let (alice, _) = pair();
    let (_, strict) = pair_with(TransportLimits {
        reject_after_messages: 2,
        ..usual()
    });
    let mut datagrams: Vec<Vec<u8>> = (0..3).map(|_| sealed(&alice, b"")).collect();
    assert_eq!(
        strict.open(&mut datagrams[2], 5, START).unwrap_err(),
        OpenError::DeadKey(DeadKey::Exhausted)
    );
}

#[test]
fn a_key_expires() {
    let (alice, bob) = pair();
    let datagram = sealed(&alice, b"x");
    let last = START + limits::REJECT_AFTER - Duration::from_nanos(1);
    let late = START + limits::REJECT_AFTER;
    let mut out = Vec::new();
    assert!(alice.seal(Kind::Data, 1, b"", b"", last, &mut out).is_ok());
    out.clear();
    assert_eq!(
        alice.seal(Kind::Data, 1, b"", b"", late, &mut out),
        Err(DeadKey::Expired)
    );
    assert!(out.is_empty());
    assert_eq!(
        bob.open(&mut datagram.clone(), 5, late).unwrap_err(),
        OpenError::DeadKey(DeadKey::Expired)
    );
    assert!(bob.open(&mut datagram.clone(), 5, last).is_ok());
    assert!(bob.is_dead(late) && !bob.is_dead(last));
}

#[test]
fn the_initiator_rekeys_first() {
    let (alice, bob) = pair();
    let at = |s| START + Duration::from_secs(s);
    assert_eq!(
        (alice.wants_rekey(at(119)), alice.wants_rekey(at(120))),
        (false, true)
    );
    assert_eq!(
        (bob.wants_rekey(at(164)), bob.wants_rekey(at(165))),
        (false, true)
    );
}

#[test]
fn a_key_dies_of_forgeries() {
    let (alice, bob) = pair_with(TransportLimits {
        max_forgeries: 100,
        ..usual()
    });
    let good = sealed(&alice, b"x");
    let mut bad = good.clone();
    bad[HEADER_LEN] ^= 1;
    for _ in 0..100 {
        assert!(!bob.is_dead(START));
        assert_eq!(
            bob.open(&mut bad.clone(), 5, START).unwrap_err(),
            OpenError::Forged
        );
    }
    assert!(bob.is_dead(START));
    assert_eq!(
        bob.open(&mut good.clone(), 5, START).unwrap_err(),
        OpenError::DeadKey(DeadKey::Attacked)
    );
    let sealed = bob.seal(Kind::Data, 1, b"", b"", START, &mut Vec::new());
    assert_eq!(sealed, Err(DeadKey::Attacked));
}

#[test]
fn statistics_count_sealed_and_opened_datagrams() {
    let (alice, bob) = pair();
    assert_eq!(alice.stats(), TransportStats::default());
    let later = START + Duration::from_secs(1);
    let mut out = Vec::new();
    alice
        .seal(Kind::Probe, 1, b"", b"12345", START, &mut out)
        .unwrap();
    bob.open(&mut out, 0, later).unwrap();
    assert_eq!(alice.stats().last_frame_sent, None);
    assert_eq!(bob.stats().last_received, Some(later));
    assert_eq!(bob.stats().last_frame_received, None);
    let mut datagram = sealed(&alice, b"");
    bob.open(&mut datagram, 5, later).unwrap();
    let (sent, received) = (alice.stats(), bob.stats());
    assert_eq!((sent.sent_datagrams, sent.sent_bytes), (2, 37 + 37));
    assert_eq!(
        (received.received_datagrams, received.received_bytes),
        (2, 37 + 37)
    );
    assert_eq!(sent.last_frame_sent, Some(START));
    assert_eq!(received.last_frame_received, Some(later));
}

#[test]
fn nothing_secret_is_printed() {
    let keys = TransportKeys {
        suite: Suite::Aes256Gcm,
        send: [0xab; 32],
        recv: [0xcd; 32],
    };
    assert_eq!(format!("{keys:?}"), "TransportKeys");
    let (alice, _) = pair();
    let shown = format!("{alice:?}");
    assert!(!shown.contains("key") && !shown.contains("3, 3"), "{shown}");
}

#[test]
fn lanes_that_race_for_the_last_counters_take_each_once() {
    let (alice, _) = pair_with(TransportLimits {
        reject_after_messages: 500,
        ..usual()
    });
    let mut counters: Vec<u64> = std::thread::scope(|scope| {
        let lane = || {
            let mut taken = Vec::new();
            let mut out = Vec::new();
            while alice.seal(Kind::Data, 1, b"", b"", START, &mut out).is_ok() {
                taken.push(Header::parse(&out).unwrap().counter);
                out.clear();
            }
            taken
        };
        let lanes: Vec<_> = (0..4).map(|_| scope.spawn(lane)).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect()
    });
    counters.sort_unstable();
    assert_eq!(counters, (0..500).collect::<Vec<_>>());
    assert_eq!(alice.stats().sent_datagrams, 500);
}

#[test]
fn a_copy_raced_by_another_thread_is_opened_once() {
    let (alice, bob) = pair();
    let datagrams: Vec<Vec<u8>> = (0..200).map(|_| sealed(&alice, b"x")).collect();
    let opened: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    datagrams
                        .iter()
                        .filter(|d| bob.open(&mut d.to_vec(), 5, START).is_ok())
                        .count()
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert_eq!(opened, 200);
}
