//! Ethernet frames packed one after another in the body of a datagram.

use super::FRAME_PREFIX_LEN;

/// Ethernet frame inside the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerFrame<'a> {
    /// Ethernet frame without its FCS.
    pub bytes: &'a [u8],
    /// True if the checksum field of TCP or UDP holds the sum of the pseudo-header only.
    pub partial: bool,
}

impl<'a> InnerFrame<'a> {
    /// Creates a frame with a complete checksum.
    pub fn complete(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            partial: false,
        }
    }
}

/// Longest frame that can be packed, in bytes.
pub const MAX_PACKED: usize = 0x7fff;
const PARTIAL: u16 = 0x8000;

/// Appends one packed frame to `out`. Returns false, and appends nothing, if it is longer than [`MAX_PACKED`].
pub fn push_frame(out: &mut Vec<u8>, frame: InnerFrame<'_>) -> bool {
    if !push_frame_prefix(out, frame.bytes.len(), frame.partial) {
        return false;
    }
    out.extend_from_slice(frame.bytes);
    true
}

/// Appends the prefix of a packed frame of `len` bytes, which the caller appends. Returns false, and appends nothing,
/// if it is longer than [`MAX_PACKED`].
pub fn push_frame_prefix(out: &mut Vec<u8>, len: usize, partial: bool) -> bool {
    let Some(len) = u16::try_from(len).ok().filter(|n| n & PARTIAL == 0) else {
        return false;
    };
    let flag = if partial { PARTIAL } else { 0 };
    out.extend_from_slice(&(len | flag).to_be_bytes());
    true
}

/// Iterator over the packed frames of a body. Ends after the last complete frame; see [`Frames::is_clean`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Creates an iterator over the frames packed in `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Returns true if nothing is left over. False after the last frame means that the body is truncated.
    pub fn is_clean(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = InnerFrame<'a>;

    fn next(&mut self) -> Option<InnerFrame<'a>> {
        let (prefix, rest) = self.rest.split_first_chunk::<FRAME_PREFIX_LEN>()?;
        let prefix = u16::from_be_bytes(*prefix);
        let (bytes, rest) = rest.split_at_checked(usize::from(prefix & !PARTIAL))?;
        self.rest = rest;
        Some(InnerFrame {
            bytes,
            partial: prefix & PARTIAL != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_stop_at_a_short_one() {
        let mut body = Vec::new();
        assert!(push_frame(&mut body, InnerFrame::complete(b"one")));
        assert!(push_frame(&mut body, InnerFrame::complete(b"")));
        assert!(push_frame(&mut body, InnerFrame::complete(b"three")));
        let whole: Vec<&[u8]> = Frames::new(&body).map(|f| f.bytes).collect();
        assert_eq!(whole, [&b"one"[..], b"", b"three"]);
        for cut in 0..body.len() {
            let mut frames = Frames::new(&body[..cut]);
            let n = frames.by_ref().count();
            assert!(n < 3);
            assert_eq!(frames.is_clean(), [0, 5, 7].contains(&cut), "{cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_length_field_is_refused() {
        let mut out = vec![1];
        let long = vec![0; MAX_PACKED + 1];
        assert!(!push_frame(&mut out, InnerFrame::complete(&long)));
        assert_eq!(out, [1]);
        assert!(push_frame(&mut out, InnerFrame::complete(&long[1..])));
    }

    proptest! {
        #[test]
        fn packed_frames_survive(frames in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20)) {
            let mut body = Vec::new();
            for (partial, bytes) in &frames {
                push_frame(&mut body, InnerFrame { bytes, partial: *partial });
            }
            let mut unpacked = Frames::new(&body);
            let whole: Vec<_> = unpacked.by_ref().map(|f| (f.partial, f.bytes.to_vec())).collect();
            prop_assert_eq!(whole, frames);
            prop_assert!(unpacked.is_clean());
        }

        #[test]
        fn any_body_unpacks_within_its_bounds(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let total: usize = Frames::new(&body).map(|f| f.bytes.len() + FRAME_PREFIX_LEN).sum();
            prop_assert!(total <= body.len());
        }
    }
}
