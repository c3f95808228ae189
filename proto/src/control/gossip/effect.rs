//! Effects of gossip, and its counters.

use crate::ids::{ConnId, PeerId};
use crate::time::Instant;
use crate::wire::message::LinkMessage;
use crate::wire::topic::{RecordKey, Topic};

use crate::control::note::Note;

/// An effect of gossip on the other parts of the control plane.
#[derive(Debug)]
pub(crate) enum GossipEffect {
    /// Send this on a link, as far as there is room.
    Send(ConnId, LinkMessage),
    /// Send a message to one router on a link, and call [`super::Gossip::unicast_sent`].
    Unicast {
        /// The link to the next router.
        conn: ConnId,
        /// The message.
        message: LinkMessage,
        /// True if it comes from another router.
        forwarded: bool,
    },
    /// Compare the databases of both ends of a link at this time.
    CompareAt(ConnId, Instant),
    /// Compare the databases of both ends of a link soon.
    CompareSoon(ConnId),
    /// A record is new, or gone.
    Changed(RecordKey),
    /// A peer began a new run with this epoch.
    Restarted(PeerId, u64),
    /// The epoch of this router was raised.
    EpochRaised(u64),
    /// A message to this router arrived.
    Received {
        /// The sender.
        from: PeerId,
        /// The topic.
        topic: Topic,
        /// The body.
        body: Vec<u8>,
    },
    /// A line for the log.
    Note(Note),
}

/// Counters of gossip, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GossipCounters {
    /// Records that were new.
    pub accepted: u64,
    /// Records that were known already.
    pub known: u64,
    /// Records refused: malformed, wrongly signed, or no room.
    pub refused: u64,
    /// Records refused without verification: their link brought too many forged ones.
    pub unverified: u64,
    /// Records put off because their router published too many.
    pub put_off: u64,
    /// Messages with a tag this version does not know.
    pub unknown: u64,
}
