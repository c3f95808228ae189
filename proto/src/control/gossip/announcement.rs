//! Announcements of topics that are not the control plane's own: the names of containers, ranges of addresses, what later
//! versions add. Their bodies are opaque bytes here.

use crate::ids::{PeerId, Version};
use crate::topology::record::SignedRecord;

/// Announcement of one router about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// The router that announces it.
    pub origin: PeerId,
    /// The body; empty where it was withdrawn.
    pub body: &'a [u8],
    /// The version: the boot epoch of the origin in which it was made, and its number there.
    pub version: Version,
    /// True if its origin is within reach now.
    pub reachable: bool,
}

impl<'a> Announcement<'a> {
    pub(crate) fn of(record: &'a SignedRecord, reachable: bool) -> Self {
        Self {
            origin: record.origin(),
            body: record.body(),
            version: record.version(),
            reachable,
        }
    }
}
