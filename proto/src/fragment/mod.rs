//! Datagrams that are too long for their path, cut into pieces by the router that seals them.
//!
//! The outer IP layer is never asked to fragment: its fragments pass no NAT without ports, are lost together, and
//! anybody may forge one. Instead the content of a Data, Flood or Relay datagram is cut *before* sealing, each piece is
//! a datagram of kind Fragment of its own, and whoever opens them puts together what one router sealed, and nothing else.
//!
//! ```text
//! byte  0      kind of the whole: 4 Data, 5 Relay, 6 Flood
//! byte  1      number of this piece, from 0
//! byte  2      number of pieces, 2 to 32
//! bytes 3–6    number of the whole, unique within a session for as long as pieces are kept
//! then         the piece, at least one byte
//! ```
//!
//! Put together the pieces are the body of Data or Flood as it would have been sealed, or the clear part of Relay.

mod reassembly;

pub use reassembly::{Reassembly, Refused, Whole};

use crate::limits::{MAX_DATAGRAM, MAX_FRAGMENTS};
use crate::wire::datagram::Kind;

/// Bytes in front of each piece.
pub const FRAGMENT_PREFIX_LEN: usize = 7;

/// One piece of a datagram's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What the whole is: Data, Relay or Flood.
    pub kind: Kind,
    /// Which whole it belongs to.
    pub id: u32,
    /// Its place, from 0; less than `count`.
    pub index: u8,
    /// How many pieces there are, 2 to [`MAX_FRAGMENTS`].
    pub count: u8,
    /// Its bytes, at least one.
    pub bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Appends the body to seal to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind as u8, self.index, self.count]);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(self.bytes);
    }

    /// Reads a body; `None` when it is not laid out as above.
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let ([kind, index, count, id @ ..], bytes) =
            body.split_first_chunk::<FRAGMENT_PREFIX_LEN>()?;
        let kind = Kind::from_number(*kind).filter(|kind| may_be_cut(*kind))?;
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

/// Cuts the content of a datagram of `kind` into pieces of about the same length, whose bodies take at most `room`
/// bytes each.
///
/// `None` when `kind` is not cut, or `content` is too short to cut, longer than [`MAX_DATAGRAM`], or more than
/// [`MAX_FRAGMENTS`] pieces of that size.
pub fn split(
    kind: Kind,
    id: u32,
    content: &[u8],
    room: usize,
) -> Option<impl Iterator<Item = Piece<'_>>> {
    let longest = room.checked_sub(FRAGMENT_PREFIX_LEN).filter(|n| *n > 0)?;
    let pieces = content.len().div_ceil(longest).max(2);
    // As many bytes each as it takes; rounding up may leave fewer pieces.
    let each = content.len().div_ceil(pieces).max(1);
    let count = u8::try_from(content.len().div_ceil(each)).ok()?;
    let fits = (2..=MAX_FRAGMENTS).contains(&count) && content.len() <= MAX_DATAGRAM;
    let numbered = (0..count).zip(content.chunks(each));
    (fits && may_be_cut(kind)).then(|| {
        numbered.map(move |(index, bytes)| Piece {
            kind,
            id,
            index,
            count,
            bytes,
        })
    })
}

/// Handshake messages and probes are short, and a piece is not cut again.
fn may_be_cut(kind: Kind) -> bool {
    matches!(kind, Kind::Data | Kind::Relay | Kind::Flood)
}

#[cfg(test)]
mod tests;
