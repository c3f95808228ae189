//! Rate limits on broadcasts and multicasts of the local port.

use std::sync::Mutex;

use crate::forward::{Counters, DropReason, lock};
use crate::ids::Mac;
use crate::limits::{BROADCAST_RATE_EACH, MULTICAST_RATE_EACH};
use crate::rate::TokenBucket;
use crate::time::Instant;

/// Limits in frames per second for one interface behind the local port; all interfaces together may send a third
/// more. 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Broadcast frames per second.
    pub broadcasts: u32,
    /// Multicast frames per second.
    pub multicasts: u32,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            broadcasts: BROADCAST_RATE_EACH,
            multicasts: MULTICAST_RATE_EACH,
        }
    }
}

/// Frames lost in the local port before the router read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortLosses {
    /// Frames lost because the queue was full.
    pub queue: u64,
    /// Broadcasts above the limit of one interface.
    pub broadcasts: u64,
    /// Multicasts above the limit of one interface.
    pub multicasts: u64,
    /// ARP requests and neighbour solicitations above the limit of one interface.
    pub questions: u64,
}

/// Token buckets of the group limits; `None`: no limit.
#[derive(Debug)]
pub(super) struct GroupBuckets {
    broadcasts: Option<Mutex<TokenBucket>>,
    multicasts: Option<Mutex<TokenBucket>>,
}

impl GroupBuckets {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            broadcasts: bucket(limits.broadcasts),
            multicasts: bucket(limits.multicasts),
        }
    }

    /// Takes tokens for a frame to group `to` that becomes `frames` frames of the mesh, or returns the reason for the
    /// drop.
    pub(super) fn take(&self, to: Mac, frames: u64, now: Instant) -> Result<(), DropReason> {
        let (bucket, reason) = if to == Mac::BROADCAST {
            (&self.broadcasts, DropReason::BroadcastLimited)
        } else {
            (&self.multicasts, DropReason::MulticastLimited)
        };
        match bucket {
            Some(bucket) if !lock(bucket).take_some(frames, now) => Err(reason),
            _ => Ok(()),
        }
    }
}

fn bucket(each: u32) -> Option<Mutex<TokenBucket>> {
    let all = u64::from(each) + u64::from(each) / 3;
    (each > 0).then(|| Mutex::new(TokenBucket::new(all, all.max(64))))
}

impl PortLosses {
    pub(in crate::forward) fn count(self, counters: &Counters) {
        counters.drop_many(DropReason::PortQueue, self.queue);
        counters.drop_many(DropReason::BroadcastLimited, self.broadcasts);
        counters.drop_many(DropReason::MulticastLimited, self.multicasts);
        counters.drop_many(DropReason::QuestionLimited, self.questions);
    }
}
