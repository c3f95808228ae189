//! Link costs: the measured round-trip time of each link, announced again only when it has changed for good.
//!
//! Each change is a record for everybody and perhaps other routes, so a cost stays as long as what is measured is near
//! it, and at least for [`COST_HOLD`].

use std::collections::BTreeMap;

use core::time::Duration;

use crate::ids::PeerId;
use crate::limits::{COST_HOLD, COST_SLACK};
use crate::time::Instant;

/// Announced costs of the links to the neighbours.
#[derive(Debug, Default)]
pub(crate) struct Costs(BTreeMap<PeerId, LinkCost>);

#[derive(Clone, Copy, Debug)]
struct LinkCost {
    cost: u16,
    since: Instant,
}

impl Costs {
    /// Returns the cost to announce of the link to `peer`, whose smoothed round-trip time is `rtt`: milliseconds, from 1.
    pub(crate) fn cost(&mut self, peer: PeerId, rtt: Duration, now: Instant) -> u16 {
        let measured = cost_of(rtt);
        let announced = self.0.entry(peer).or_insert(LinkCost {
            cost: measured,
            since: now,
        });
        if now.since(announced.since) >= COST_HOLD && is_another(announced.cost, measured) {
            *announced = LinkCost {
                cost: measured,
                since: now,
            };
        }
        announced.cost
    }

    /// Takes over a cost that was announced of the link to `peer`.
    pub(crate) fn announced(&mut self, peer: PeerId, cost: u16, now: Instant) {
        self.0.insert(peer, LinkCost { cost, since: now });
    }

    /// Forgets the links to all but these.
    pub(crate) fn retain(&mut self, is_neighbour: impl Fn(&PeerId) -> bool) {
        self.0.retain(|peer, _| is_neighbour(peer));
    }
}

fn cost_of(rtt: Duration) -> u16 {
    let millis = rtt.as_micros().div_ceil(1_000);
    u16::try_from(millis).unwrap_or(u16::MAX).max(1)
}

/// Returns true if one of the two is more than twice the other, and they differ by more than [`COST_SLACK`] milliseconds.
fn is_another(announced: u16, measured: u16) -> bool {
    let apart = announced.abs_diff(measured);
    apart > announced.max(measured) / 2 && apart > COST_SLACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: PeerId = PeerId([1; 16]);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_cost_is_milliseconds_from_one() {
        let mut costs = Costs::default();
        let mut first = |n: u8, rtt| costs.cost(PeerId([n; 16]), rtt, Instant::ZERO);
        assert_eq!(first(1, Duration::ZERO), 1);
        assert_eq!(first(2, Duration::from_micros(1_001)), 2);
        assert_eq!(first(3, Duration::from_secs(3_600)), u16::MAX);
    }

    #[test]
    fn a_cost_follows_what_lasts_and_not_what_passes() {
        let mut costs = Costs::default();
        let (begun, later) = (Instant::ZERO, Instant::ZERO + COST_HOLD);
        assert_eq!(costs.cost(PEER, ms(20), begun), 20);
        assert_eq!(costs.cost(PEER, ms(90), begun + ms(500)), 20, "too soon");
        assert_eq!(costs.cost(PEER, ms(28), later), 20, "nearly the same");
        assert_eq!(costs.cost(PEER, ms(90), later), 90);
        assert_eq!(costs.cost(PEER, ms(20), later + ms(500)), 90, "too soon");
        assert_eq!(costs.cost(PEER, ms(20), later + COST_HOLD), 20);
        costs.retain(|_| false);
        assert_eq!(costs.cost(PEER, ms(5), later + COST_HOLD), 5, "a new link");
    }

    proptest! {
        #[test]
        fn what_is_said_changes_at_most_once_in_a_hold(rtts in proptest::collection::vec(0u64..300, 1..200)) {
            let mut costs = Costs::default();
            let mut changed: Vec<Instant> = Vec::new();
            let mut last = None;
            for (n, rtt) in (0u32..).zip(rtts) {
                let now = Instant::ZERO + ms(1_000) * n;
                let announced = costs.cost(PEER, ms(rtt), now);
                if last != Some(announced) {
                    changed.push(now);
                }
                last = Some(announced);
            }
            for pair in changed.windows(2) {
                prop_assert!(pair[1].since(pair[0]) >= COST_HOLD);
            }
        }
    }
}
