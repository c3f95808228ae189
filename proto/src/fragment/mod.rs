//! Fragmentation of datagrams that exceed the path MTU, by the router that seals them.
//!
//! The outer IP layer never fragments: its fragments have no ports and do not pass NAT, are lost together, and can be
//! forged by anybody. Instead the content of a Data, Relay, Flood or NetworkFlood datagram is fragmented *before* it is sealed.
//! Each fragment is a datagram of kind Fragment, and the router that opens them reassembles only what one router
//! sealed.
//!
//! ```text
//! byte  0      kind of the original: 4 Data, 5 Relay, 6 Flood, 9 NetworkFlood
//! byte  1      index of this fragment, from 0
//! byte  2      number of fragments, 2 to 32
//! bytes 3–6    id of the original, unique within a session while fragments are kept
//! then         bytes of the fragment, at least one
//! ```
//!
//! The reassembled content is the body of Data or of a flood before sealing, or the clear part of Relay. All fragments
//! of one Data have its label.

mod reassembly;

pub use reassembly::{Reassembled, Reassembly, ReassemblyError};

use crate::limits::{MAX_DATAGRAM, MAX_FRAGMENTS};
use crate::wire::datagram::Kind;

/// Length of the header of each fragment, in bytes.
pub const FRAGMENT_PREFIX_LEN: usize = 7;

/// One fragment of a datagram's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Kind of the original datagram: Data, Relay, Flood or NetworkFlood.
    pub kind: Kind,
    /// Id of the original datagram.
    pub id: u32,
    /// Index of this fragment, from 0; less than `count`.
    pub index: u8,
    /// Number of fragments, 2 to [`MAX_FRAGMENTS`].
    pub count: u8,
    /// Bytes of this fragment, at least one.
    pub bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Appends the encoded fragment to `out`, to be sealed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind as u8, self.index, self.count]);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(self.bytes);
    }

    /// Decodes a fragment; `None` if it is malformed.
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let ([kind, index, count, id @ ..], bytes) =
            body.split_first_chunk::<FRAGMENT_PREFIX_LEN>()?;
        let kind = Kind::from_number(*kind).filter(|kind| may_be_fragmented(*kind))?;
        let counted = (2..=MAX_FRAGMENTS).contains(count) && index < count;
        (counted && !bytes.is_empty()).then_some(Self {
            kind,
            id: u32::from_be_bytes(*id),
            index: *index,
            count: *count,
            bytes,
        })
    }
}

/// Splits the content of a datagram of `kind` into fragments of about equal length, each of at most `room` bytes
/// encoded.
///
/// `None` if `kind` is not fragmented, or if `content` is too short to split, longer than [`MAX_DATAGRAM`], or needs
/// more than [`MAX_FRAGMENTS`] fragments.
pub fn split(
    kind: Kind,
    id: u32,
    content: &[u8],
    room: usize,
) -> Option<impl Iterator<Item = Fragment<'_>>> {
    let longest = room.checked_sub(FRAGMENT_PREFIX_LEN).filter(|n| *n > 0)?;
    let fragments = content.len().div_ceil(longest).max(2);
    // Equal lengths; rounding up may need fewer fragments.
    let each = content.len().div_ceil(fragments).max(1);
    let count = u8::try_from(content.len().div_ceil(each)).ok()?;
    let fits = (2..=MAX_FRAGMENTS).contains(&count) && content.len() <= MAX_DATAGRAM;
    let numbered = (0..count).zip(content.chunks(each));
    (fits && may_be_fragmented(kind)).then(|| {
        numbered.map(move |(index, bytes)| Fragment {
            kind,
            id,
            index,
            count,
            bytes,
        })
    })
}

/// Handshake messages and probes are short, and a fragment is not fragmented again.
fn may_be_fragmented(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Data | Kind::Relay | Kind::Flood | Kind::NetworkFlood
    )
}

#[cfg(test)]
mod tests;
