//! How much the local port may send to groups.

use std::sync::Mutex;

use super::lock;
use super::throttle::TokenBucket;
use super::{Counters, DropReason};
use crate::ids::Mac;
use crate::limits::{BROADCAST_RATE_EACH, MULTICAST_RATE_EACH};
use crate::time::Instant;

/// Frames that one interface behind the local port may send to groups in a second; all together a third more. 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Broadcasts.
    pub broadcasts: u32,
    /// Multicasts.
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

/// Frames that the local port lost before they came here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortLosses {
    /// Those it had no room for.
    pub queue: u64,
    /// Broadcasts beyond what one interface may send.
    pub broadcasts: u64,
    /// Multicasts likewise.
    pub multicasts: u64,
    /// Questions for addresses likewise.
    pub questions: u64,
}

/// What is left of the limits.
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

    /// Lets a frame to a group pass that becomes so many frames of the mesh.
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
    pub(super) fn count(self, counters: &Counters) {
        counters.drop_many(DropReason::PortQueue, self.queue);
        counters.drop_many(DropReason::BroadcastLimited, self.broadcasts);
        counters.drop_many(DropReason::MulticastLimited, self.multicasts);
        counters.drop_many(DropReason::QuestionLimited, self.questions);
    }
}
