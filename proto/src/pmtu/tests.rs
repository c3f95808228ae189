use proptest::prelude::*;

use super::*;
use crate::entropy::{Entropy, SeededEntropy};
use crate::limits::{HEARTBEAT, PMTU_STEP};

const START: Instant = Instant::from_nanos(1_000_000_000);
const CEILING: u16 = 9_472;

/// Path on a virtual clock, with heartbeats and traffic.
struct Path {
    pmtu: Pmtu,
    now: Instant,
    /// Longest datagram that passes; 0 if the path is down.
    limit: u16,
    rtt: Duration,
    /// Per mille of probes without a reply.
    loss: u64,
    entropy: SeededEntropy,
    next_beat: Instant,
    /// Replies in flight: time of arrival, size (0 for a small probe), time at which the probe was sent.
    replies: Vec<(Instant, u16, Instant)>,
    probes: usize,
}

impl Path {
    fn new(limit: u16) -> Self {
        let to = SocketAddr::from(([10, 0, 0, 1], 6783));
        Self {
            pmtu: Pmtu::new(to, CEILING, START),
            now: START,
            limit,
            rtt: Duration::from_millis(1),
            loss: 0,
            entropy: SeededEntropy::new(7),
            next_beat: START,
            replies: Vec::new(),
            probes: 0,
        }
    }

    fn send(&mut self, size: u16) {
        let lost = self.entropy.u64() % 1000 < self.loss;
        if self.limit > 0 && size <= self.limit && !lost {
            self.replies.push((self.now + self.rtt, size, self.now));
        }
    }

    fn step(&mut self) {
        let reply = self.replies.iter().map(|(at, ..)| *at).min();
        let next = self.pmtu.next_deadline().min(self.next_beat);
        self.now = reply.map_or(next, |at| at.min(next)).max(self.now);
        if self.now >= self.next_beat {
            self.next_beat = self.now + HEARTBEAT;
            self.send(0);
            self.pmtu.heartbeat(self.now);
        }
        let (come, wait): (Vec<_>, Vec<_>) = core::mem::take(&mut self.replies)
            .into_iter()
            .partition(|(at, ..)| *at <= self.now);
        self.replies = wait;
        for (_, size, sent) in come {
            match size {
                0 => self.pmtu.small_answered(sent),
                _ => self.pmtu.acknowledged(size, self.now),
            }
        }
        while let Some(ask) = self.pmtu.poll(self.rtt, self.now) {
            self.probes += 1;
            self.send(ask.size);
            if ask.sign {
                self.send(0);
            }
        }
        assert!(self.pmtu.next_deadline() > self.now, "it spins");
    }

    /// Runs until `done` holds, and returns the time that took.
    fn until(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !done(self) {
            assert!(
                self.now.since(began) <= most,
                "not within {most:?}: {:?}",
                self.pmtu
            );
            self.step();
        }
        self.now.since(began)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn complete(&mut self) -> Duration {
        self.until(Duration::from_secs(30), |p| {
            matches!(p.pmtu.state, PmtuState::Complete { .. })
        })
    }
}

#[test]
fn an_ethernet_path_is_known_after_two_round_trips() {
    let mut path = Path::new(1472);
    assert_eq!(
        (path.pmtu.datagram(), path.pmtu.phase()),
        (1200, Phase::Base)
    );
    let took = path.until(Duration::from_secs(1), |p| p.pmtu.datagram() == 1472);
    assert!(took <= 2 * path.rtt, "{took:?}");
    path.complete();
    assert_eq!(
        (path.pmtu.datagram(), path.pmtu.phase()),
        (1472, Phase::Complete)
    );
}

#[test]
fn jumbo_frames_are_used() {
    let mut path = Path::new(8972);
    let took = path.until(Duration::from_secs(1), |p| p.pmtu.datagram() == 8972);
    assert!(took <= 3 * path.rtt, "{took:?}");
    path.complete();
    assert_eq!(path.pmtu.datagram(), 8972);
}

#[test]
fn discovery_survives_black_holes_of_any_size() {
    for mtu in [1400, 1280, 700] {
        let mut path = Path::new(mtu - 28);
        let took = path.complete();
        assert!(took < Duration::from_secs(12), "{mtu}: {took:?}");
        let short = mtu - 28 - path.pmtu.datagram();
        assert!(short < PMTU_STEP, "{mtu}: {short}");
        assert_eq!(path.pmtu.phase() == Phase::Error, mtu == 700);
    }
}

#[test]
fn a_path_that_shrinks_is_noticed_within_five_seconds() {
    for rtt in [1, 100, 300] {
        for mtu in [1400, 1280, 700] {
            let mut path = Path::new(1472);
            path.rtt = Duration::from_millis(rtt);
            path.complete();
            path.run(Duration::from_millis(10_300));
            path.limit = mtu - 28;
            let took = path.until(Duration::from_secs(6), |p| p.pmtu.datagram() <= p.limit);
            let most = if mtu == 700 && rtt == 300 { 6 } else { 5 };
            assert!(
                took < Duration::from_secs(most),
                "{mtu} at {rtt} ms: {took:?}"
            );
        }
    }
}

#[test]
fn a_shrink_in_the_middle_of_a_search_is_noticed_too() {
    let mut path = Path::new(1472);
    path.until(Duration::from_secs(1), |p| p.pmtu.datagram() == 1472);
    assert_eq!(path.pmtu.phase(), Phase::Search);
    path.limit = 1252;
    path.until(Duration::from_secs(5), |p| p.pmtu.datagram() <= 1252);
}

#[test]
fn a_path_that_widens_is_detected_by_the_next_search() {
    let mut path = Path::new(672);
    path.complete();
    path.limit = 1472;
    path.run(PMTU_RAISE - Duration::from_secs(20));
    assert!(path.pmtu.datagram() <= 672);
    path.until(Duration::from_secs(40), |p| p.pmtu.datagram() == 1472);
}

#[test]
fn a_dead_path_does_not_shrink() {
    let mut path = Path::new(1472);
    path.complete();
    path.limit = 0;
    path.run(Duration::from_secs(3));
    assert_eq!(path.pmtu.datagram(), 1472);
    path.limit = 1472;
    path.run(Duration::from_secs(3));
    assert_eq!(
        (path.pmtu.datagram(), path.pmtu.phase()),
        (1472, Phase::Complete)
    );
}

#[test]
fn a_path_that_dies_in_the_search_is_not_taken_for_narrow() {
    let mut path = Path::new(1472);
    path.step();
    path.limit = 0;
    path.run(Duration::from_secs(3));
    assert_eq!(path.pmtu.datagram(), 1200);
    path.limit = 1472;
    path.until(Duration::from_secs(2), |p| p.pmtu.datagram() == 1472);
}

#[test]
fn without_traffic_nothing_is_confirmed() {
    let mut path = Path::new(1472);
    path.complete();
    let before = path.pmtu.next_deadline();
    assert!(
        before.since(path.now) > Duration::from_secs(500),
        "{:?}",
        path.pmtu
    );
    path.pmtu.heartbeat(path.now);
    assert_eq!(path.pmtu.next_deadline(), path.now);
    assert_eq!(
        path.pmtu.poll(path.rtt, path.now).map(|ask| ask.size),
        Some(1472)
    );
}

#[test]
fn the_interface_limits_the_probed_sizes() {
    let mut path = Path::new(CEILING);
    path.pmtu = Pmtu::new(SocketAddr::from(([10, 0, 0, 1], 6783)), 1472, START);
    path.complete();
    assert_eq!((path.pmtu.datagram(), path.probes), (1472, 2));
}

#[test]
fn nothing_is_settled_while_it_is_a_guess() {
    let mut path = Path::new(1472);
    path.until(Duration::from_secs(1), |p| p.pmtu.datagram() == 1472);
    assert_eq!(path.pmtu.settled(), None, "longer ones are being tried");
    path.complete();
    assert_eq!(path.pmtu.settled(), Some(1472));
    path.limit = 1372;
    path.until(Duration::from_secs(5), |p| p.pmtu.datagram() != 1472);
    assert_eq!(path.pmtu.settled(), None, "what passed passes no more");
    path.complete();
    assert_eq!(path.pmtu.settled(), Some(1372));
    path.limit = 1472;
    path.run(PMTU_RAISE - Duration::from_secs(20));
    path.until(Duration::from_secs(40), |p| p.pmtu.datagram() == 1472);
    assert_eq!(path.pmtu.settled(), Some(1372), "until the search is over");
    path.complete();
    assert_eq!(path.pmtu.settled(), Some(1472));
}

#[test]
fn unsolicited_replies_are_ignored() {
    let mut pmtu = Path::new(1472).pmtu;
    for size in [0, 548, 1200, 1472, 9000, u16::MAX] {
        pmtu.acknowledged(size, START);
    }
    assert_eq!((pmtu.datagram(), pmtu.phase()), (1200, Phase::Base));
}

#[test]
fn the_inner_mtu_fits_one_untagged_frame() {
    assert_eq!(inner_mtu(1472), 1424);
    assert_eq!(inner_mtu(8972), 8924);
    assert_eq!(inner_mtu(1328), 1280);
    assert_eq!(inner_mtu(672), MIN_INNER_MTU);
    assert_eq!(inner_mtu(0), MIN_INNER_MTU);
}

proptest! {
    #[test]
    fn discovery_always_converges_to_the_limit(
        first in 548u16..9472,
        second in 548u16..9472,
        rtt in 0u64..400,
        loss in 0u64..100,
        seed: u64,
    ) {
        let mut path = Path::new(first);
        path.rtt = Duration::from_millis(rtt);
        path.loss = loss;
        path.entropy = SeededEntropy::new(seed);
        path.run(Duration::from_secs(20));
        path.limit = second;
        path.run(Duration::from_secs(20));
        path.loss = 0;
        // The second search from now at the latest finds the limit.
        path.run(2 * PMTU_RAISE + Duration::from_secs(60));
        let found = path.pmtu.datagram();
        prop_assert!(found <= second && second - found < PMTU_STEP, "{found} of {second}");
        // One confirmation per second, and the searches.
        prop_assert!(path.probes < 1_600, "{}", path.probes);
    }
}
