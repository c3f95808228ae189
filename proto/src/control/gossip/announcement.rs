//! Announcements of topics that are not the control plane's own: the names of containers, ranges of addresses, what later
//! versions add. Their bodies are opaque bytes here.

use crate::ids::{PeerId, Version};
use crate::topology::record::SignedRecord;

/// Announcement of one router about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Who says it.
    pub origin: PeerId,
    /// What; empty where it was taken back.
    pub body: &'a [u8],
    /// How new it is.
    pub version: Version,
    /// Whether its origin is within reach now.
    pub reachable: bool,
}

impl<'a> Said<'a> {
    pub(crate) fn of(record: &'a SignedRecord, reachable: bool) -> Self {
        Self {
            origin: record.origin(),
            body: record.body(),
            version: record.version(),
            reachable,
        }
    }
}
