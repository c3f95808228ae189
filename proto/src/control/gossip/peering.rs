//! The state of gossip with one neighbour.

use crate::ids::PeerId;
use crate::limits::{FORGERY_BURST, FORGERY_RATE, UNICAST_BURST, UNICAST_RATE};
use crate::rate::TokenBucket;
use crate::time::Instant;
use crate::wire::topic::RecordKey;

use super::queue::PeerQueue;

/// Gossip with one neighbour, while the link is up.
#[derive(Debug)]
pub(super) struct Peering {
    /// The neighbour.
    pub(super) peer: PeerId,
    /// The outbound queue.
    pub(super) queue: PeerQueue,
    forgeries: TokenBucket,
    unicasts: TokenBucket,
}

impl Peering {
    pub(super) fn new(peer: PeerId) -> Self {
        Self {
            peer,
            queue: PeerQueue::default(),
            forgeries: TokenBucket::new(FORGERY_RATE, FORGERY_BURST),
            unicasts: TokenBucket::new(UNICAST_RATE, UNICAST_BURST),
        }
    }

    /// Returns true if records of this neighbour are worth verifying: it did not bring too many forged ones lately.
    pub(super) fn is_credible(&self, now: Instant) -> bool {
        self.forgeries.clone().take(now)
    }

    /// Counts a forgery that this neighbour brought.
    pub(super) fn forged(&mut self, now: Instant) {
        self.forgeries.take(now);
    }

    /// Takes a token for a message to one router; false when this link brought too many.
    pub(super) fn takes_unicast(&mut self, now: Instant) -> bool {
        self.unicasts.take(now)
    }

    /// Advertises records that the neighbour lacks, as it may get them elsewhere. Records in its own name are sent: it has to
    /// see those of a duplicate of it.
    pub(super) fn lacks(&mut self, keys: impl IntoIterator<Item = RecordKey>, now: Instant) {
        for key in keys {
            if self.peer == key.origin {
                self.queue.send([key], now);
            } else {
                self.queue.advertise_now(key, now);
            }
        }
    }

    /// Advertises a record of which the neighbour has an older version, after the usual delay if it is not its own.
    pub(super) fn is_behind(&mut self, key: RecordKey, now: Instant) {
        if self.peer == key.origin {
            self.queue.send([key], now);
        } else {
            self.queue.advertise(key, now);
        }
    }
}
