use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::HEARTBEAT;

const A: PeerId = PeerId([0xa; 16]);
const B: PeerId = PeerId([0xb; 16]);
const T0: Instant = Instant::from_nanos(1_000_000_000_000);

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6783))
}

fn local(consent: Consent, nonce: u64) -> Local {
    Local {
        consent,
        port: 6784,
        vni: 5,
        nonce,
    }
}

fn trusting(nets: &[&str], nonce: u64) -> FastPaths {
    let nets = nets.iter().map(|n| n.parse().unwrap()).collect();
    let mut paths = FastPaths::default();
    paths.set_local(local(Consent::new(false, nets), nonce));
    paths
}

/// Two routers with a direct path, A at 10.0.0.1 and B at 10.0.0.2.
struct Pair {
    a: FastPaths,
    b: FastPaths,
    now: Instant,
}

impl Pair {
    fn new(a: FastPaths, b: FastPaths) -> Self {
        Self { a, b, now: T0 }
    }

    fn fast(&self) -> [Option<bool>; 2] {
        let a = self.a.peers(|_| Some(at(2)), self.now);
        let b = self.b.peers(|_| Some(at(1)), self.now);
        [a.get(&B).map(|p| p.fast), b.get(&A).map(|p| p.fast)]
    }

    /// Runs one heartbeat: offers both ways, and beats from each candidate.
    fn heartbeat(&mut self, offers: [bool; 2], beats: [bool; 2]) {
        let from_a = self.a.offer(&B, at(2), self.now).filter(|_| offers[0]);
        let from_b = self.b.offer(&A, at(1), self.now).filter(|_| offers[1]);
        if let Some(offer) = from_a
            && let Some(refusal) = self.b.handle_offer(A, at(1), Some(at(1)), offer, self.now)
        {
            let answer = self
                .a
                .handle_offer(B, at(2), Some(at(2)), refusal, self.now);
            assert_eq!(answer, None, "a refusal is not answered");
        }
        if let Some(offer) = from_b
            && let Some(refusal) = self.a.handle_offer(B, at(2), Some(at(2)), offer, self.now)
        {
            self.b
                .handle_offer(A, at(1), Some(at(1)), refusal, self.now);
        }
        let [b_is, a_is] = self.fast();
        if b_is.is_some() && beats[0] {
            self.b.handle_beat(Beat { peer: A, nonce: 1 }, self.now);
        }
        if a_is.is_some() && beats[1] {
            self.a.handle_beat(Beat { peer: B, nonce: 2 }, self.now);
        }
    }

    fn beat_on(&mut self, times: u32) {
        for _ in 0..times {
            self.now += HEARTBEAT;
            self.heartbeat([true; 2], [true; 2]);
        }
    }
}

#[test]
fn peers_that_consent_and_receive_beats_are_fast() {
    let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.1/32"], 2));
    assert_eq!(pair.fast(), [None, None]);
    pair.heartbeat([true; 2], [true; 2]);
    assert_eq!(pair.fast(), [Some(false); 2], "candidates first");
    assert!(
        pair.a
            .doubt(&B, at(2), pair.now)
            .contains("other side hears")
    );
    pair.beat_on(1);
    assert_eq!(pair.fast(), [Some(true); 2]);
    assert_eq!(pair.a.doubt(&B, at(2), pair.now), "");
}

#[test]
fn one_that_does_not_consent_is_enough() {
    for (a, b) in [
        (trusting(&["10.0.0.2/32"], 1), trusting(&["10.9.0.0/16"], 2)),
        (trusting(&["10.0.0.2/32"], 1), FastPaths::default()),
        (FastPaths::default(), FastPaths::default()),
    ] {
        let mut pair = Pair::new(a, b);
        pair.beat_on(5);
        assert_eq!(pair.fast(), [None, None]);
    }
}

#[test]
fn without_beats_both_stay_candidates() {
    for beats in [[false, false], [true, false], [false, true]] {
        let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.0/8"], 2));
        for _ in 0..5 {
            pair.now += HEARTBEAT;
            pair.heartbeat([true; 2], beats);
        }
        assert_eq!(pair.fast(), [Some(false); 2], "{beats:?}");
    }
}

#[test]
fn silence_of_any_kind_ends_it() {
    for (offers, beats, left) in [
        ([false, true], [true; 2], [Some(true), None]),
        ([true; 2], [true, false], [Some(false); 2]),
    ] {
        let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.0/8"], 2));
        pair.beat_on(3);
        assert_eq!(pair.fast(), [Some(true); 2]);
        for _ in 0..5 {
            pair.now += HEARTBEAT;
            pair.heartbeat(offers, beats);
        }
        assert_eq!(pair.fast()[1], left[1], "{offers:?} {beats:?}");
        assert_ne!(pair.fast()[1], Some(true));
    }
}

#[test]
fn a_refusal_ends_it_at_once() {
    let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.0/8"], 2));
    pair.beat_on(3);
    // B restarts without consent, and answers the next offer with a refusal.
    pair.b = FastPaths::default();
    pair.heartbeat([true; 2], [true; 2]);
    assert_eq!(pair.fast(), [None, None]);
}

#[test]
fn a_path_that_moved_or_fell_silent_is_not_fast() {
    let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.0/8"], 2));
    pair.beat_on(3);
    assert!(pair.a.peers(|_| None, pair.now).is_empty());
    assert!(pair.a.peers(|_| Some(at(9)), pair.now).is_empty());
    // An offer from another address than the direct path.
    let offer = pair.b.offer(&A, at(1), pair.now).unwrap();
    pair.a.handle_offer(B, at(9), Some(at(2)), offer, pair.now);
    assert_eq!(pair.fast()[0], None);
}

#[test]
fn a_peer_that_restarted_must_be_heard_again() {
    let mut pair = Pair::new(trusting(&["10.0.0.0/8"], 1), trusting(&["10.0.0.0/8"], 2));
    pair.beat_on(3);
    let restarted = Offer {
        nonce: 77,
        ..pair.b.offer(&A, at(1), pair.now).unwrap()
    };
    pair.a
        .handle_offer(B, at(2), Some(at(2)), restarted, pair.now);
    assert_eq!(pair.fast()[0], Some(false));
    pair.a.handle_beat(Beat { peer: B, nonce: 2 }, pair.now);
    assert_eq!(pair.fast()[0], Some(false), "a beat of its former run");
    pair.a.handle_beat(Beat { peer: B, nonce: 77 }, pair.now);
    assert_eq!(pair.fast()[0], Some(true));
}

#[test]
fn offers_are_bounded_and_expire() {
    let mut paths = trusting(&["10.0.0.0/8"], 1);
    for n in 0..=u16::try_from(MAX_FAST_PEERS).unwrap() {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let offer = Offer {
            port: 1,
            vni: 1,
            nonce: 3,
            echo: 0,
        };
        paths.handle_offer(PeerId(id), at(2), Some(at(2)), offer, T0);
    }
    assert_eq!(paths.len(), MAX_FAST_PEERS);
    paths.expire(T0 + DEAD_AFTER);
    assert_eq!(paths.len(), MAX_FAST_PEERS);
    paths.expire(T0 + DEAD_AFTER + Duration::from_nanos(1));
    assert!(paths.is_empty());
}

proptest! {
    /// For any sequence of events, a peer is fast only with the consent of both sides.
    #[test]
    fn never_fast_without_the_consent_of_both(
        a_consents: bool,
        b_consents: bool,
        steps in proptest::collection::vec((any::<[bool; 4]>(), 0u64..5_000, any::<u64>()), 1..60),
    ) {
        let one = |consents: bool, nonce| match consents {
            true => trusting(&["10.0.0.0/24"], nonce),
            false => trusting(&["10.1.0.0/24"], nonce),
        };
        let mut pair = Pair::new(one(a_consents, 1), one(b_consents, 2));
        for ([o0, o1, b0, b1], millis, forged) in steps {
            pair.now += Duration::from_millis(millis);
            pair.heartbeat([o0, o1], [b0, b1]);
            // Beats can be forged with observed nonces.
            pair.a.handle_beat(Beat { peer: B, nonce: forged % 4 }, pair.now);
            pair.b.handle_beat(Beat { peer: A, nonce: forged % 4 }, pair.now);
            if !(a_consents && b_consents) {
                prop_assert_eq!(pair.fast(), [None, None]);
            }
        }
    }
}
