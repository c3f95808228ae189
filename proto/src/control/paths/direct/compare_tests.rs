//! When another address is better for good, and when it only seems so.

use super::*;
use crate::entropy::SeededEntropy;

fn at(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6783))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two addresses whose round-trip times depend on which of them carries the data: runs for so many seconds, and returns
/// when the path moved, how often the other was asked, and where the path is.
fn run(seconds: u64, loaded: [u64; 2], idle: [u64; 2]) -> (Vec<u64>, usize, usize) {
    let mut entropy = SeededEntropy::new(5);
    let (mut others, mut current) = (Alternatives::default(), 0usize);
    let (mut moved, mut asked) = (Vec::new(), 0);
    let all = [at(1), at(2)];
    for second in 0..seconds {
        let now = Instant::ZERO + Duration::from_secs(second);
        let Some(to) = others.due(&all, all[current], now, &mut entropy) else {
            continue;
        };
        asked += 1;
        let (strain, other) = (ms(loaded[current]), 1 - current);
        if others.answered(to, ms(idle[other]), strain, now) {
            others.left(all[current], strain, now);
            current = other;
            moved.push(second);
        }
    }
    (moved, asked, current)
}

#[test]
fn a_clearly_better_address_is_taken_within_half_a_minute() {
    let (moved, _, current) = run(60, [80, 1], [30, 1]);
    assert_eq!((moved.len(), current), (1, 1), "{moved:?}");
    assert!(moved[0] < 30, "{moved:?}");
}

#[test]
fn one_that_is_as_good_is_left_alone_and_rarely_asked() {
    let (moved, asked, _) = run(3_600, [10, 10], [9, 9]);
    assert!(moved.is_empty());
    assert!(asked < 4 * 3_600 / 15, "{asked}");
}

#[test]
fn two_that_are_good_only_while_idle_do_not_take_turns() {
    let (moved, _, _) = run(7_200, [80, 60], [1, 1]);
    assert!(moved.len() <= 6, "{moved:?}");
    // Sub-millisecond differences are no reason at all.
    assert!(run(3_600, [2, 1], [1, 1]).0.is_empty());
}

#[test]
fn one_that_fell_silent_is_not_trusted_at_once_and_less_each_time() {
    let mut entropy = SeededEntropy::new(5);
    let mut others = Alternatives::default();
    let mut now = Instant::ZERO;
    let mut waits = Vec::new();
    for _ in 0..4 {
        others.fell(at(1), now);
        let begun = now;
        loop {
            now += HEARTBEAT;
            let due = others.due(&[at(1), at(2)], at(2), now, &mut entropy);
            if due == Some(at(1)) && others.answered(at(1), ms(1), ms(50), now) {
                break;
            }
        }
        waits.push(now.since(begun));
    }
    assert!(
        waits[0] >= COMPARE_HOLD && waits[0] < 3 * COMPARE_HOLD,
        "{waits:?}"
    );
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut entropy = SeededEntropy::new(5);
    let mut others = Alternatives::default();
    for n in 0..200u8 {
        let now = Instant::ZERO + HEARTBEAT * u32::from(n);
        others.due(&[at(n), at(n.wrapping_add(1))], at(0), now, &mut entropy);
        others.fell(at(n), now);
    }
    assert!(others.0.len() <= 128, "{}", others.0.len());
    let now = Instant::ZERO + Duration::from_secs(3_600);
    others.due(&[at(1)], at(0), now, &mut entropy);
    assert_eq!(others.0.len(), 1);
}
