//! Direct paths: who asks when, what keeps one, what ends one.

use super::super::probe::ChallengeAnswer;
use super::*;
use crate::entropy::SeededEntropy;
use crate::limits::{FOLLOW_WITHIN, MAX_CANDIDATES, MAX_OUTSTANDING_PROBES, ROAM_INTERVAL};

const PEER: PeerId = PeerId([7; 16]);

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6783))
}

#[test]
fn a_reply_makes_a_path_and_silence_ends_it() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    let mut now = Instant::ZERO;
    paths.suggest(PEER, &[addr(1), addr(2)]);
    let probes = paths.probes(&PEER, now, &mut entropy);
    assert_eq!(
        probes.iter().map(|p| p.0).collect::<Vec<_>>(),
        [addr(1), addr(2)]
    );
    let Probe::Request { nonce, .. } = probes[1].1 else {
        panic!("not a request")
    };
    now += Duration::from_millis(40);
    assert!(
        !paths.replied(PEER, at_once(nonce ^ 1), addr(2), now),
        "unknown nonce"
    );
    assert!(paths.replied(PEER, at_once(nonce), addr(2), now));
    assert!(
        !paths.replied(PEER, at_once(nonce), addr(2), now),
        "a nonce counts once"
    );
    let direct = paths.direct(&PEER).copied().unwrap();
    assert_eq!(
        (direct.address, direct.rtt),
        (addr(2), Duration::from_millis(40))
    );
    assert_eq!(paths.probes(&PEER, now, &mut entropy).len(), 1);
    assert_eq!(paths.next_expiry(), Some(now + DEAD_AFTER));
    let almost = DEAD_AFTER.saturating_sub(Duration::from_nanos(1));
    assert!(paths.expire(now + almost).is_empty());
    assert_eq!(paths.expire(now + DEAD_AFTER), [PEER]);
    assert_eq!(paths.next_expiry(), None);
    assert_eq!(
        paths.candidates(&PEER)[0],
        addr(2),
        "what worked is tried first"
    );
}

#[test]
fn a_second_answering_address_does_not_move_a_live_path() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    paths.suggest(PEER, &[addr(1), addr(2)]);
    let nonces: Vec<u64> = paths
        .probes(&PEER, Instant::ZERO, &mut entropy)
        .iter()
        .map(|(_, p)| nonce(*p))
        .collect();
    assert!(paths.replied(PEER, at_once(nonces[0]), addr(1), Instant::ZERO));
    assert!(!paths.replied(PEER, at_once(nonces[1]), addr(2), Instant::ZERO));
    assert_eq!(paths.direct(&PEER).unwrap().address, addr(1));
}

fn at_once(nonce: u64) -> (u64, Duration) {
    (nonce, Duration::ZERO)
}

#[test]
fn one_leads_and_both_know() {
    const BEAT: Duration = Duration::from_millis(1_700);
    let mut entropy = SeededEntropy::new(3);
    let (mut leader, mut other) = (DirectPaths::default(), DirectPaths::default());
    leader.suggest(PEER, &[addr(1)]);
    other.suggest(PEER, &[addr(2)]);
    let mut now = Instant::ZERO;
    for round in 0..5u32 {
        let (_, Probe::Request { nonce, answer }) = leader.probes(&PEER, now, &mut entropy)[0]
        else {
            panic!("not a request");
        };
        now += Duration::from_millis(30);
        if let Some(ChallengeAnswer { challenge, delay }) = answer {
            assert_eq!(delay, 1_670);
            other.replied(
                PEER,
                (challenge, Duration::from_millis(delay.into())),
                addr(2),
                now,
            );
            let rtt = other.direct(&PEER).unwrap().rtt;
            assert_eq!(rtt, Duration::from_millis(60));
        }
        let challenge = other.challenge(&PEER, addr(2), now, &mut entropy);
        now += Duration::from_millis(30);
        assert_eq!(
            leader.replied(PEER, at_once(nonce), addr(1), now),
            round == 0
        );
        leader.challenged(&PEER, challenge, now);
        now += BEAT.saturating_sub(Duration::from_millis(30));
        assert_eq!(leader.due(now), [PEER]);
        assert!(other.due(now).is_empty(), "the other need not ask");
    }
    // The leader falls silent: the other asks, and soon again and again, before it gives up.
    now += Duration::from_millis(400);
    let mut asked = 0;
    while other.expire(now).is_empty() {
        for peer in other.due(now) {
            asked += other.probes(&peer, now, &mut entropy).len();
        }
        now += Duration::from_millis(50);
    }
    assert!(asked >= 4, "{asked}");
    assert_eq!(other.next_probe().filter(|at| *at <= now), None);
}

fn nonce(probe: Probe) -> u64 {
    let (Probe::Request { nonce, .. }
    | Probe::Reply { nonce, .. }
    | Probe::SizeRequest { nonce, .. }
    | Probe::SizeReply { nonce, .. }
    | Probe::Compare { nonce }
    | Probe::Compared { nonce }) = probe;
    nonce
}

#[test]
fn a_peer_that_moved_is_followed_as_soon_as_it_answers_there() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    let mut now = Instant::ZERO;
    paths.suggest(PEER, &[addr(1)]);
    let first = nonce(paths.probes(&PEER, now, &mut entropy)[0].1);
    assert!(paths.replied(PEER, at_once(first), addr(1), now));
    assert_eq!(paths.roam(&PEER, addr(1), now, &mut entropy), None);
    let probe = paths.roam(&PEER, addr(2), now, &mut entropy).unwrap();
    assert_eq!(
        paths.roam(&PEER, addr(3), now, &mut entropy),
        None,
        "not too often"
    );
    now += Duration::from_millis(10);
    assert!(paths.replied(PEER, at_once(nonce(probe)), addr(2), now));
    assert_eq!(paths.direct(&PEER).unwrap().address, addr(2));
    // A reply from elsewhere than where the question went moves nothing.
    now += ROAM_INTERVAL;
    let probe = paths.roam(&PEER, addr(3), now, &mut entropy).unwrap();
    assert!(!paths.replied(PEER, at_once(nonce(probe)), addr(4), now));
    assert_eq!(paths.direct(&PEER).unwrap().address, addr(2));
}

#[test]
fn probes_without_replies_are_bounded() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    let many: Vec<_> = (0..8).map(addr).collect();
    paths.suggest(PEER, &many);
    for _ in 0..50 {
        paths.probes(&PEER, Instant::ZERO, &mut entropy);
    }
    assert_eq!(paths.peers[&PEER].outstanding(), MAX_OUTSTANDING_PROBES);
}

#[test]
fn probes_without_replies_are_bounded_and_the_newest_count() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    paths.suggest(PEER, &[addr(1), addr(2)]);
    let mut last = 0;
    for _ in 0..MAX_OUTSTANDING_PROBES {
        for (_, probe) in paths.probes(&PEER, Instant::ZERO, &mut entropy) {
            let Probe::Request { nonce, .. } = probe else {
                panic!("not a request")
            };
            last = nonce;
        }
    }
    assert_eq!(paths.waiting(), MAX_OUTSTANDING_PROBES);
    assert!(paths.replied(PEER, at_once(last), addr(2), Instant::ZERO));
}

#[test]
fn candidates_are_bounded_and_ordered() {
    let mut paths = DirectPaths::default();
    let many: Vec<_> = (0..50).map(addr).collect();
    paths.suggest(PEER, &many);
    assert_eq!(paths.candidates(&PEER).len(), MAX_CANDIDATES);
    paths.prefer(PEER, addr(200));
    assert_eq!(paths.candidates(&PEER)[0], addr(200));
    assert_eq!(paths.candidates(&PEER).len(), MAX_CANDIDATES);
}

#[test]
fn a_better_address_is_moved_to_and_not_left_for_what_the_peer_still_sends() {
    let mut entropy = SeededEntropy::new(3);
    let mut paths = DirectPaths::default();
    let mut now = Instant::ZERO;
    paths.suggest(PEER, &[addr(1), addr(2)]);
    let slow = nonce(paths.probes(&PEER, now, &mut entropy)[0].1);
    now += Duration::from_millis(60);
    assert!(paths.replied(PEER, at_once(slow), addr(1), now));
    let mut moved = false;
    for _ in 0..60 {
        now += Duration::from_secs(1);
        let beat = nonce(paths.probes(&PEER, now, &mut entropy)[0].1);
        let asked = paths.compare(&PEER, now, &mut entropy);
        now += Duration::from_millis(1);
        if let Some((to, probe)) = asked {
            assert_eq!(to, addr(2));
            assert!(
                !paths.compared(PEER, nonce(probe), addr(1), now),
                "not from there"
            );
            moved |= paths.compared(PEER, nonce(probe), addr(2), now);
        }
        if moved {
            break;
        }
        now += Duration::from_millis(59);
        paths.replied(PEER, at_once(beat), addr(1), now);
    }
    assert!(moved);
    assert_eq!(paths.direct(&PEER).unwrap().address, addr(2));
    assert_eq!(paths.roam(&PEER, addr(1), now, &mut entropy), None);
    now += FOLLOW_WITHIN;
    assert!(paths.roam(&PEER, addr(1), now, &mut entropy).is_some());
}
