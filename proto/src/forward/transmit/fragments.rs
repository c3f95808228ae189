//! Fragmentation of datagrams that exceed the path MTU of the first hop (kind Fragment).

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{SEALED, SendError};
use crate::forward::{Counter, Counters};
use crate::fragment::{Fragment, split};
use crate::network::NetworkLabel;
use crate::session::transport::{DeadKey, Transport};
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// Fragmentation with ids that are unique on this router.
#[derive(Debug, Default)]
pub(super) struct Fragmenter {
    next_id: AtomicU32,
}

impl Fragmenter {
    /// Splits the content of a datagram into fragments whose datagrams have at most `longest` bytes.
    pub(super) fn split<'c>(
        &self,
        kind: Kind,
        content: &'c [u8],
        longest: usize,
        counters: &Counters,
    ) -> Result<impl Iterator<Item = Fragment<'c>> + use<'c>, SendError> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let fragments = split(kind, id, content, longest.saturating_sub(SEALED));
        let fragments = fragments.ok_or(SendError::TooLong)?;
        counters.count(Counter::DatagramsCut);
        Ok(fragments)
    }
}

/// Appends the sealed datagram of one fragment to `buffer`, with this hop limit and the label of the whole.
pub(super) fn seal_fragment(
    transport: &Transport,
    (hops, label): (u8, NetworkLabel),
    fragment: &Fragment<'_>,
    now: Instant,
    buffer: &mut Vec<u8>,
) -> Result<(), DeadKey> {
    let draft = transport.begin_labelled(Kind::Fragment, hops, label, buffer);
    fragment.encode(buffer);
    transport.finish(draft, 0, now, buffer)
}
