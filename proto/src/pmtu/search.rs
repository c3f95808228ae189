//! Choice of the next size to probe: common MTUs first, then binary search.

use crate::limits::PMTU_STEP;

/// MTUs of most paths, probed first: Ethernet without and with jumbo frames.
const LIKELY: [u16; 2] = [1500, 9000];
/// Other common MTUs, in order: the minimum of IPv6, tunnels and clouds (Geneve, WireGuard, VXLAN, GRE, PPPoE),
/// 802.11, FDDI, jumbo frames of some clouds and switches.
const KNOWN: [u16; 12] = [
    576, 1280, 1400, 1420, 1450, 1476, 1492, 2304, 4352, 8500, 9001, 9216,
];

/// Returns the next size to probe between `passes` and `fails`, which are UDP payloads inside `overhead` bytes of IP
/// and UDP; `None` if they differ by [`PMTU_STEP`] at most.
pub(super) fn next(passes: u16, fails: u16, overhead: u16) -> Option<u16> {
    let open = |size: &u16| passes < *size && *size < fails;
    let payload = |mtu: &u16| mtu.saturating_sub(overhead);
    let likely = LIKELY.iter().map(payload).find(open);
    let known = || KNOWN.iter().map(payload).find(open);
    likely.or_else(known).or_else(|| between(passes, fails))
}

fn between(passes: u16, fails: u16) -> Option<u16> {
    let gap = fails.checked_sub(passes)?;
    (gap > PMTU_STEP).then(|| passes + gap / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{BASE_DATAGRAM, MAX_DATAGRAM};

    /// Returns the sizes probed on a path with the limit `limit`, and the size found.
    fn walk(mut passes: u16, mut fails: u16, limit: u16, overhead: u16) -> (Vec<u16>, u16) {
        let mut tried = Vec::new();
        while let Some(size) = next(passes, fails, overhead) {
            assert!(passes < size && size < fails && tried.len() < 40);
            tried.push(size);
            if size <= limit {
                passes = size;
            } else {
                fails = size;
            }
        }
        (tried, passes)
    }

    fn ceiling() -> u16 {
        u16::try_from(MAX_DATAGRAM).unwrap() + 1
    }

    #[test]
    fn common_mtus_are_found_exactly() {
        for mtu in [1280, 1400, 1420, 1450, 1476, 1492, 1500, 9000, 9001] {
            for overhead in [28, 48] {
                let limit: u16 = mtu - overhead;
                let (_, found) = walk(BASE_DATAGRAM, ceiling(), limit, overhead);
                assert_eq!(found, limit, "{mtu}");
            }
        }
    }

    #[test]
    fn ethernet_is_the_first_guess_and_jumbo_the_second() {
        let (tried, _) = walk(BASE_DATAGRAM, ceiling(), 8972, 28);
        assert_eq!(tried[..2], [1472, 8972]);
        let (tried, _) = walk(BASE_DATAGRAM, 1473, 1472, 28);
        assert_eq!(tried, [1472], "an interface of 1,500 bytes ends the search");
    }

    proptest! {
        #[test]
        fn the_size_found_is_just_below_the_limit(limit in 548u16..9472, six: bool) {
            let overhead = if six { 48 } else { 28 };
            let (_, found) = walk(548, ceiling(), limit, overhead);
            prop_assert!(found <= limit && limit - found < PMTU_STEP);
        }
    }
}
