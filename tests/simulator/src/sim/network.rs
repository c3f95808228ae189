//! The underlay between hosts: connectivity, delay, and disturbance of datagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rng::Rng;

/// Default MTU in bytes.
const MTU: u16 = 1500;
/// Bytes of IPv4 and UDP headers.
const OVERHEAD: u16 = 28;

/// Number of a host in the run.
pub(crate) type HostId = usize;

/// Disturbances of datagrams; probabilities are per mille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    pub(crate) reorder: u32,
    pub(crate) corrupt: u32,
}

impl Conditions {
    pub(crate) const CLEAN: Self = Self {
        loss: 0,
        duplicate: 0,
        reorder: 0,
        corrupt: 0,
    };
    pub(crate) const BAD: Self = Self {
        loss: 100,
        duplicate: 100,
        reorder: 250,
        corrupt: 10,
    };
}

/// State of the underlay. Cuts are directed pairs (from, to).
#[derive(Debug)]
pub(crate) struct VirtualNetwork {
    rng: Rng,
    conditions: Conditions,
    latency: BTreeMap<(HostId, HostId), Duration>,
    cut: BTreeSet<(HostId, HostId)>,
    udp_cut: BTreeSet<(HostId, HostId)>,
    /// MTU of narrow pairs, lower host first; longer datagrams are dropped silently.
    narrow: BTreeMap<(HostId, HostId), u16>,
}

impl VirtualNetwork {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            rng,
            conditions: Conditions::CLEAN,
            latency: BTreeMap::new(),
            cut: BTreeSet::new(),
            udp_cut: BTreeSet::new(),
            narrow: BTreeMap::new(),
        }
    }

    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    pub(crate) fn cut(&mut self, from: HostId, to: HostId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self, from: HostId, to: HostId) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn cut_udp(&mut self, from: HostId, to: HostId) {
        self.udp_cut.insert((from, to));
    }

    /// Sets the MTU between two hosts.
    pub(crate) fn narrow(&mut self, a: HostId, b: HostId, mtu: u16) {
        self.narrow.insert((a.min(b), a.max(b)), mtu);
    }

    /// Returns the longest datagram that passes between two hosts, in bytes.
    pub(crate) fn longest(&self, a: HostId, b: HostId) -> u16 {
        self.narrow.get(&(a.min(b), a.max(b))).unwrap_or(&MTU) - OVERHEAD
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
        self.udp_cut.clear();
        self.conditions = Conditions::CLEAN;
    }

    pub(crate) fn carries_tcp(&self, from: HostId, to: HostId) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub(crate) fn carries_udp(&self, from: HostId, to: HostId) -> bool {
        self.carries_tcp(from, to) && !self.udp_cut.contains(&(from, to))
    }

    /// True if two hosts can have a link and direct data.
    pub(crate) fn joins(&self, a: HostId, b: HostId) -> bool {
        self.carries_udp(a, b) && self.carries_udp(b, a)
    }

    /// Returns the delay of the next segment or datagram: 10 to 50 ms by pair, and up to 5 ms of jitter.
    pub(crate) fn delay(&mut self, a: HostId, b: HostId) -> Duration {
        let pair = (a.min(b), a.max(b));
        let rng = &mut self.rng;
        let base = *self
            .latency
            .entry(pair)
            .or_insert_with(|| rng.millis(10, 50));
        base + rng.millis(0, 5)
    }

    /// Returns the delay of a TCP segment: loss costs a retransmission, never bytes.
    pub(crate) fn segment_delay(&mut self, a: HostId, b: HostId) -> Duration {
        let retransmission = if self.rng.chance(self.conditions.loss) {
            self.rng.millis(200, 400)
        } else {
            Duration::ZERO
        };
        self.delay(a, b) + retransmission
    }

    /// Returns the copies of a datagram that will arrive, each with its delay.
    pub(crate) fn datagram(
        &mut self,
        from: HostId,
        to: HostId,
        bytes: &[u8],
    ) -> Vec<(Duration, Vec<u8>)> {
        if !self.carries_udp(from, to) || bytes.len() > usize::from(self.longest(from, to)) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.chance(self.conditions.duplicate));
        let mut out = Vec::with_capacity(copies);
        for _ in 0..copies {
            if self.rng.chance(self.conditions.loss) {
                continue;
            }
            let mut delay = self.delay(from, to);
            if self.rng.chance(self.conditions.reorder) {
                delay += self.rng.millis(1, 60);
            }
            let mut bytes = bytes.to_vec();
            if self.rng.chance(self.conditions.corrupt) {
                self.rng.flip(&mut bytes);
            }
            out.push((delay, bytes));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_underlay_delivers_each_datagram_once_and_intact() {
        let mut net = VirtualNetwork::new(Rng::new(1));
        for _ in 0..100 {
            let copies = net.datagram(0, 1, b"abc");
            assert_eq!(copies.len(), 1);
            assert_eq!(copies[0].1, b"abc");
            assert!(copies[0].0 >= Duration::from_millis(10));
            assert!(copies[0].0 <= Duration::from_millis(55));
        }
    }

    #[test]
    fn bad_underlay_loses_repeats_and_damages() {
        let mut net = VirtualNetwork::new(Rng::new(1));
        net.set_conditions(Conditions::BAD);
        let all: Vec<_> = (0..2000).map(|_| net.datagram(0, 1, &[0; 64])).collect();
        assert!(all.iter().any(Vec::is_empty));
        assert!(all.iter().any(|c| c.len() == 2));
        assert!(all.iter().flatten().any(|(_, b)| b.iter().any(|x| *x != 0)));
    }

    #[test]
    fn what_is_longer_than_the_path_vanishes() {
        let mut net = VirtualNetwork::new(Rng::new(1));
        assert_eq!(net.datagram(0, 1, &[0; 1472]).len(), 1);
        assert!(net.datagram(0, 1, &[0; 1473]).is_empty());
        net.narrow(1, 0, 700);
        assert_eq!(net.datagram(0, 1, &[0; 672]).len(), 1);
        assert!(net.datagram(0, 1, &[0; 673]).is_empty());
        assert_eq!(net.datagram(0, 2, &[0; 1472]).len(), 1);
    }

    #[test]
    fn cuts_have_a_direction() {
        let mut net = VirtualNetwork::new(Rng::new(1));
        net.cut(0, 1);
        assert!(net.datagram(0, 1, b"x").is_empty());
        assert_eq!(net.datagram(1, 0, b"x").len(), 1);
        assert!(!net.joins(0, 1));
        net.heal(0, 1);
        net.cut_udp(1, 0);
        assert!(net.carries_tcp(1, 0) && !net.carries_udp(1, 0));
        net.heal_all();
        assert!(net.joins(0, 1));
    }
}
