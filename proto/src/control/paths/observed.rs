//! Addresses of our own, as neighbours see them: behind NAT they are the only way to learn them.
//!
//! A neighbour may lie, and whatever we announce others probe. So each neighbour has one say, which ends with its link
//! and rarely changes; and where several neighbours agree, an address that only one has seen is not announced.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::ids::PeerId;
use crate::limits::{MAX_LINKS, MAX_OBSERVED, OBSERVED_HOLD};
use crate::time::Instant;

/// View of one neighbour.
#[derive(Clone, Copy, Debug)]
struct ObservedView {
    address: SocketAddr,
    /// Seen by UDP, port included; TCP shows the host alone.
    by_udp: bool,
    since: Instant,
}

/// Views of all neighbours, at most one address each.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    views: BTreeMap<PeerId, ObservedView>,
}

impl Observed {
    /// `neighbour` sees us at `address`. It may change its mind every [`OBSERVED_HOLD`], and what it saw by UDP counts
    /// for more. Whether anything changed.
    pub(crate) fn saw(
        &mut self,
        neighbour: PeerId,
        address: SocketAddr,
        by_udp: bool,
        now: Instant,
    ) -> bool {
        if !is_plausible(address) {
            return false;
        }
        let view = ObservedView {
            address,
            by_udp,
            since: now,
        };
        let Some(old) = self.views.get_mut(&neighbour) else {
            let room = self.views.len() < MAX_LINKS;
            if room {
                self.views.insert(neighbour, view);
            }
            return room;
        };
        if old.address == address {
            old.by_udp |= by_udp;
            return false;
        }
        let rested = by_udp == old.by_udp && now.since(old.since) >= OBSERVED_HOLD;
        let changes = rested || (by_udp && !old.by_udp);
        if changes {
            *old = view;
        }
        changes
    }

    /// The link to `neighbour` ended, and with it its say. Whether it had any.
    pub(crate) fn forget(&mut self, neighbour: &PeerId) -> bool {
        self.views.remove(neighbour).is_some()
    }

    /// Returns the addresses to announce: of each address family what most neighbours see, [`MAX_OBSERVED`] in all.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut votes = BTreeMap::<SocketAddr, usize>::new();
        for view in self.views.values() {
            *votes.entry(view.address).or_default() += 1;
        }
        let most = |v4: bool| {
            let family = votes.iter().filter(|(a, _)| a.is_ipv4() == v4);
            family.map(|(_, n)| *n).max().unwrap_or(0)
        };
        let (v4, v6) = (most(true), most(false));
        let mut best: Vec<(usize, SocketAddr)> = votes
            .iter()
            .filter(|(a, n)| **n > 1 || (if a.is_ipv4() { v4 } else { v6 }) == 1)
            .map(|(a, n)| (*n, *a))
            .collect();
        best.sort_by_key(|(n, a)| (core::cmp::Reverse(*n), *a));
        best.into_iter()
            .map(|(_, a)| a)
            .take(MAX_OBSERVED)
            .collect()
    }
}

/// Returns true if another host could reach this address.
fn is_plausible(address: SocketAddr) -> bool {
    let ip = address.ip();
    let local = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    address.port() != 0 && !local && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const NOW: Instant = Instant::from_nanos(1);

    fn peer(n: u8) -> PeerId {
        PeerId([n; 16])
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn behind_nat_one_neighbour_is_enough() {
        let mut observed = Observed::default();
        assert!(observed.saw(peer(1), at("192.0.2.1:6783"), false, NOW));
        assert!(!observed.saw(peer(1), at("192.0.2.1:6783"), false, NOW));
        assert_eq!(observed.addresses(), [at("192.0.2.1:6783")]);
        // UDP shows the port that NAT chose.
        assert!(observed.saw(peer(1), at("192.0.2.1:40000"), true, NOW));
        assert_eq!(observed.addresses(), [at("192.0.2.1:40000")]);
        assert!(!observed.saw(
            peer(1),
            at("192.0.2.1:6783"),
            false,
            NOW + 2 * OBSERVED_HOLD
        ));
        assert!(observed.forget(&peer(1)));
        assert!(observed.addresses().is_empty());
        assert!(!observed.forget(&peer(1)));
    }

    #[test]
    fn a_liar_among_honest_neighbours_is_not_heard() {
        let mut observed = Observed::default();
        for n in 1..=3 {
            observed.saw(peer(n), at("192.0.2.1:6783"), true, NOW);
        }
        observed.saw(peer(9), at("203.0.113.7:53"), true, NOW);
        assert_eq!(observed.addresses(), [at("192.0.2.1:6783")]);
        // The other family has no majority: one witness is better than none.
        observed.saw(peer(4), at("[2001:db8::1]:6783"), true, NOW);
        assert_eq!(
            observed.addresses(),
            [at("192.0.2.1:6783"), at("[2001:db8::1]:6783")]
        );
    }

    #[test]
    fn a_neighbour_that_keeps_changing_its_mind_is_heard_rarely() {
        let mut observed = Observed::default();
        let mut changes: u64 = 0;
        for second in 0..100 {
            let address = SocketAddr::from(([192, 0, 2, 1], 1_000 + second));
            let now = NOW + Duration::from_secs(u64::from(second));
            changes += u64::from(observed.saw(peer(1), address, true, now));
        }
        assert!(
            (2..=1 + 100 / OBSERVED_HOLD.as_secs()).contains(&changes),
            "{changes}"
        );
        assert_eq!(observed.addresses().len(), 1);
    }

    #[test]
    fn all_of_it_is_bounded() {
        let mut observed = Observed::default();
        for n in 0..u16::try_from(2 * MAX_LINKS).unwrap() {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            observed.saw(
                PeerId(id),
                SocketAddr::from(([192, 0, 2, 1], 1_000 + n)),
                true,
                NOW,
            );
        }
        assert_eq!(observed.views.len(), MAX_LINKS);
        assert_eq!(observed.addresses().len(), MAX_OBSERVED);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_taken() {
        let mut observed = Observed::default();
        for bad in [
            "0.0.0.0:1",
            "127.0.0.1:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "169.254.1.1:1",
            "192.0.2.1:0",
            "[::]:1",
            "[::1]:1",
            "[ff02::1]:1",
            "[fe80::1]:1",
        ] {
            assert!(!observed.saw(peer(1), at(bad), true, NOW), "{bad}");
        }
    }
}
