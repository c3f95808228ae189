//! Underlay of a large mesh: connectivity, latency, loss. Read by all routers, changed only between steps.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mesh_proto::limits::DEFAULT_PORT;

use crate::sim::network::HostId;
use crate::sim::rng::Rng;

/// Least latency of two hosts: hosts cannot affect each other within this time.
pub(crate) const NEAREST: Duration = Duration::from_millis(10);
const SPREAD: u64 = 40_000_000;
const JITTER: u64 = 5;
/// Additional delay in milliseconds of a retransmitted segment.
const SENT_AGAIN: (u64, u64) = (200, 400);
/// Longest UDP payload that leaves a host, with DF set on Ethernet.
pub(crate) const LONGEST: usize = 1472;
/// 100.64.0.0: shared address space, with room for four million hosts.
const FIRST: u32 = 0x6440_0000;

/// State of the underlay.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScaleUnderlay {
    seed: u64,
    /// Lost datagrams and segments, per mille.
    pub(crate) loss: u32,
    /// Side of a partition that each host is on.
    pub(crate) sides: Option<Vec<bool>>,
    /// Pairs that cannot reach each other, lower host first.
    pub(crate) cut: BTreeSet<(HostId, HostId)>,
}

impl ScaleUnderlay {
    pub(crate) fn new(seed: u64, loss: u32) -> Self {
        Self {
            seed,
            loss,
            ..Self::default()
        }
    }

    pub(crate) fn carries(&self, a: HostId, b: HostId) -> bool {
        let apart = |sides: &Vec<bool>| sides.get(a) != sides.get(b);
        !self.sides.as_ref().is_some_and(apart) && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Returns the latency of a pair: 10 to 50 ms, constant.
    pub(crate) fn latency(&self, a: HostId, b: HostId) -> Duration {
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        NEAREST + Duration::from_nanos(Rng::new(pair ^ self.seed).number() % SPREAD)
    }

    /// Returns the delay of the next segment or datagram.
    pub(crate) fn delay(&self, a: HostId, b: HostId, rng: &mut Rng) -> Duration {
        self.latency(a, b) + rng.millis(0, JITTER)
    }

    /// Returns the delay of `segments` segments of a connection, and the number of lost ones: loss costs time, no
    /// bytes.
    pub(crate) fn stream_delay(
        &self,
        (a, b): (HostId, HostId),
        segments: usize,
        rng: &mut Rng,
    ) -> (Duration, usize) {
        let lost = (0..segments).filter(|_| rng.chance(self.loss)).count();
        let mut delay = self.delay(a, b, rng);
        if lost > 0 {
            delay += rng.millis(SENT_AGAIN.0, SENT_AGAIN.1);
        }
        (delay, lost)
    }
}

/// Returns the address of a host.
pub(crate) fn address(host: HostId) -> SocketAddr {
    let offset = u32::try_from(host).unwrap_or(u32::MAX);
    let ip = Ipv4Addr::from(FIRST.saturating_add(offset));
    SocketAddr::new(ip.into(), DEFAULT_PORT)
}

/// Returns the host at an address, if it is one of `hosts`.
pub(crate) fn host_at(address: SocketAddr, hosts: usize) -> Option<HostId> {
    let SocketAddr::V4(v4) = address else {
        return None;
    };
    let host = u32::from(*v4.ip()).checked_sub(FIRST)?;
    let host = usize::try_from(host).ok()?;
    (host < hosts).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_ten_to_fifty_milliseconds_apart() {
        let underlay = ScaleUnderlay::new(7, 10);
        let mut rng = Rng::new(1);
        for (a, b) in (0..200).map(|n| (n, 3 * n + 1)) {
            assert_eq!(underlay.latency(a, b), underlay.latency(b, a));
            let delay = underlay.delay(a, b, &mut rng);
            assert!(delay >= NEAREST && delay <= Duration::from_millis(55));
        }
        let lost: usize = (0..10_000)
            .map(|_| underlay.stream_delay((0, 1), 1, &mut rng).1)
            .sum();
        assert!((50..200).contains(&lost), "{lost}");
    }

    #[test]
    fn cuts_and_sides_separate() {
        let mut underlay = ScaleUnderlay::new(7, 0);
        assert!(underlay.carries(0, 1));
        underlay.cut.insert((0, 1));
        assert!(!underlay.carries(1, 0) && underlay.carries(1, 2));
        underlay.sides = Some(vec![true, true, false]);
        assert!(!underlay.carries(1, 2));
    }

    #[test]
    fn addresses_name_hosts() {
        for host in [0, 1, 255, 256, 9_999] {
            assert_eq!(host_at(address(host), 10_000), Some(host));
        }
        assert_eq!(host_at(address(10_000), 10_000), None);
        assert_eq!(host_at(([10, 0, 0, 1], 1).into(), 10_000), None);
    }
}
