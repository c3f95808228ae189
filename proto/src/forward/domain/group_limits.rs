//! Settings and counts of the rate limits on broadcasts and multicasts of the local port.

use crate::forward::{Counters, DropReason};
use crate::limits::{BROADCAST_RATE_EACH, MULTICAST_RATE_EACH};

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

impl PortLosses {
    pub(in crate::forward) fn count(self, counters: &Counters) {
        counters.drop_many(DropReason::PortQueue, self.queue);
        counters.drop_many(DropReason::BroadcastLimited, self.broadcasts);
        counters.drop_many(DropReason::MulticastLimited, self.multicasts);
        counters.drop_many(DropReason::QuestionLimited, self.questions);
    }
}
