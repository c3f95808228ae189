//! Rate limits of the port of one network: broadcasts, multicasts, questions, unknown destinations.
//!
//! The port of the network `default` has its own limits, as if there were no other networks. The port of another
//! network has the same limits, of which it may use a part in any case, and more within what all such ports share. So a
//! storm in one network cannot silence another, and all networks together stay within a bound.

use std::sync::{Arc, Mutex};

use super::group_limits::GroupLimits;
use crate::forward::{DropReason, lock};
use crate::ids::Mac;
use crate::limits::{
    RESOLUTION_BURST, RESOLUTION_RATE, SHARED_NETWORK_RATES, SURE_NETWORK_RATE, UNKNOWN_BURST,
    UNKNOWN_RATE,
};
use crate::rate::TokenBucket;
use crate::time::Instant;

/// Rate limits of one port; `None`: no limit.
#[derive(Debug)]
pub(in crate::forward) struct PortLimits {
    broadcasts: Option<PortBucket>,
    multicasts: Option<PortBucket>,
    questions: PortBucket,
    unknown: PortBucket,
}

/// Rates that the ports of all networks other than `default` share.
#[derive(Debug)]
pub(super) struct SharedRates {
    broadcasts: Option<SharedBucket>,
    multicasts: Option<SharedBucket>,
    questions: SharedBucket,
    unknown: SharedBucket,
}

type SharedBucket = Arc<Mutex<TokenBucket>>;

/// A rate in frames per second, and how many frames at once.
#[derive(Clone, Copy)]
struct Rate {
    rate: u64,
    burst: u64,
}

const QUESTIONS: Rate = Rate {
    rate: RESOLUTION_RATE,
    burst: RESOLUTION_BURST,
};
const UNKNOWN: Rate = Rate {
    rate: UNKNOWN_RATE,
    burst: UNKNOWN_BURST,
};

impl Rate {
    /// Returns the rate of all interfaces behind a port together, of which one may have `each`; `None`: no limit.
    fn together(each: u32) -> Option<Rate> {
        let rate = u64::from(each) + u64::from(each) / 3;
        let burst = rate.max(64);
        (each > 0).then_some(Rate { rate, burst })
    }

    fn bucket(self) -> TokenBucket {
        TokenBucket::new(self.rate, self.burst)
    }

    fn shared(self) -> SharedBucket {
        let Rate { rate, burst } = self;
        let bucket = TokenBucket::new(rate * SHARED_NETWORK_RATES, burst * SHARED_NETWORK_RATES);
        Arc::new(Mutex::new(bucket))
    }

    /// Returns the part that a port has in any case.
    fn sure(self) -> TokenBucket {
        let part = |n: u64| (n / SURE_NETWORK_RATE).max(1);
        TokenBucket::new(part(self.rate), part(self.burst))
    }
}

impl SharedRates {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            broadcasts: Rate::together(limits.broadcasts).map(Rate::shared),
            multicasts: Rate::together(limits.multicasts).map(Rate::shared),
            questions: QUESTIONS.shared(),
            unknown: UNKNOWN.shared(),
        }
    }
}

/// Token bucket of one port for one kind of frames.
#[derive(Debug)]
struct PortBucket {
    own: Mutex<TokenBucket>,
    share: Option<PortShare>,
}

/// The part that a port has in any case, and what it shares with others.
#[derive(Debug)]
struct PortShare {
    sure: Mutex<TokenBucket>,
    shared: SharedBucket,
}

impl PortBucket {
    fn alone(rate: Rate) -> Self {
        Self {
            own: Mutex::new(rate.bucket()),
            share: None,
        }
    }

    fn sharing(rate: Rate, shared: &SharedBucket) -> Self {
        let share = PortShare {
            sure: Mutex::new(rate.sure()),
            shared: shared.clone(),
        };
        Self {
            share: Some(share),
            ..Self::alone(rate)
        }
    }

    fn take(&self, frames: u64, now: Instant) -> bool {
        if !lock(&self.own).take_some(frames, now) {
            return false;
        }
        let Some(PortShare { sure, shared }) = &self.share else {
            return true;
        };
        lock(sure).take_some(frames, now) || lock(shared).take_some(frames, now)
    }
}

impl PortLimits {
    /// Creates the limits of a port that shares with no other.
    pub(super) fn alone(limits: GroupLimits) -> Self {
        Self {
            broadcasts: Rate::together(limits.broadcasts).map(PortBucket::alone),
            multicasts: Rate::together(limits.multicasts).map(PortBucket::alone),
            questions: PortBucket::alone(QUESTIONS),
            unknown: PortBucket::alone(UNKNOWN),
        }
    }

    /// Creates the limits of the port of a network other than `default`.
    pub(super) fn sharing(limits: GroupLimits, shared: &SharedRates) -> Self {
        let group = |each, shared: &Option<SharedBucket>| {
            let rate = Rate::together(each).zip(shared.as_ref());
            rate.map(|(rate, shared)| PortBucket::sharing(rate, shared))
        };
        Self {
            broadcasts: group(limits.broadcasts, &shared.broadcasts),
            multicasts: group(limits.multicasts, &shared.multicasts),
            questions: PortBucket::sharing(QUESTIONS, &shared.questions),
            unknown: PortBucket::sharing(UNKNOWN, &shared.unknown),
        }
    }

    /// Takes tokens for a frame to group `to` that becomes `frames` frames of the mesh, or returns the reason for the
    /// drop.
    pub(in crate::forward) fn take_group(
        &self,
        to: Mac,
        frames: u64,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (bucket, reason) = if to == Mac::BROADCAST {
            (&self.broadcasts, DropReason::BroadcastLimited)
        } else {
            (&self.multicasts, DropReason::MulticastLimited)
        };
        match bucket {
            Some(bucket) if !bucket.take(frames, now) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Takes a token for an ARP request or neighbour solicitation to one container, or returns the reason for the drop.
    pub(in crate::forward) fn take_question(&self, now: Instant) -> Result<(), DropReason> {
        let taken = self.questions.take(1, now);
        taken.then_some(()).ok_or(DropReason::QuestionLimited)
    }

    /// Takes a token for a frame to an unknown MAC, or returns the reason for the drop.
    pub(in crate::forward) fn take_unknown(&self, now: Instant) -> Result<(), DropReason> {
        let taken = self.unknown.take(1, now);
        taken.then_some(()).ok_or(DropReason::UnknownLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
    const LIMITS: GroupLimits = GroupLimits {
        broadcasts: 1_200,
        multicasts: 0,
    };
    /// Broadcasts of one port in a second.
    const PORT: u64 = 1_600;

    fn storm(port: &PortLimits) -> u64 {
        let pass = |_: &u64| port.take_group(Mac::BROADCAST, 1, NOW).is_ok();
        (0..10 * PORT).filter(pass).count().try_into().unwrap()
    }

    #[test]
    fn storms_in_networks_leave_each_other_network_its_part_and_default_alone() {
        let shared = SharedRates::new(LIMITS);
        let port = || PortLimits::sharing(LIMITS, &shared);
        let (default, quiet) = (PortLimits::alone(LIMITS), port());
        let sure = PORT / SURE_NETWORK_RATE;
        let storms: Vec<u64> = (0..10).map(|_| storm(&port())).collect();
        assert_eq!(storms[0], PORT, "as the port of the network default");
        assert_eq!(storms[9], sure);
        assert_eq!(
            storms.iter().sum::<u64>(),
            SHARED_NETWORK_RATES * PORT + 10 * sure
        );
        assert_eq!(storm(&quiet), sure);
        assert_eq!(storm(&default), PORT);
    }

    #[test]
    fn one_storm_leaves_others_their_whole_rate() {
        let shared = SharedRates::new(LIMITS);
        let port = || PortLimits::sharing(LIMITS, &shared);
        assert_eq!((storm(&port()), storm(&port())), (PORT, PORT));
    }

    #[test]
    fn a_limit_of_nothing_is_none() {
        let shared = SharedRates::new(LIMITS);
        for port in [
            PortLimits::alone(LIMITS),
            PortLimits::sharing(LIMITS, &shared),
        ] {
            let group = Mac([1, 0, 0x5e, 0, 0, 1]);
            assert!((0..100_000).all(|_| port.take_group(group, 9, NOW).is_ok()));
        }
    }
}
