//! Offloads: what a kernel leaves to the network card, done here instead.
//!
//! A port with the virtio header hands over TCP and UDP *super-frames* of up to 64 KiB whose checksums are unfinished,
//! and takes such frames. In between, on the wire of the mesh, travel ordinary frames of the mesh's MTU.
//! [`Segments`] cuts what a port hands over, [`Merger`] makes super-frames of what a port is to take.
//!
//! The checksum of a *partial* frame holds the sum of the pseudo-header only, not inverted (Linux: `CHECKSUM_PARTIAL`).
//! A port without offloads needs [`finish_checksum`] first.

mod checksum;
mod flow;
mod merge;
mod packet;
mod segment;
mod slot;
#[cfg(test)]
mod tests;
pub mod virtio;

pub use checksum::{checksum, checksum_of, finish_checksum, has_valid_checksum};
pub use merge::{Emit, Merger};
pub use segment::Segments;
pub use virtio::{Segmentation, VirtioHeader};

/// Why a frame cannot be cut, or its checksum not be finished; it is to be dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// Not a whole TCP segment or UDP datagram over IP, with headers that we know.
    #[error("no whole TCP or UDP packet")]
    NotTransport,
    /// The frame is of another protocol, or has its checksum elsewhere, than the virtio header says.
    #[error("virtio header does not fit the frame")]
    Mismatch,
    /// The checksum would lie outside the frame.
    #[error("checksum outside the frame")]
    ChecksumPlace,
    /// A segment size of zero, or one that makes more than [`crate::limits::MAX_SEGMENTS`] of the frame.
    #[error("segment size is zero or makes too many segments")]
    SegmentSize,
    /// Longer than the frames that may come out, and cannot be cut (smaller).
    #[error("does not fit the longest frame")]
    TooLong,
}

/// A frame as a port hands it over: with what its sender left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFrame<'a> {
    /// What is left to do.
    pub header: VirtioHeader,
    /// The Ethernet frame, without its checksum.
    pub bytes: &'a [u8],
}

impl<'a> PortFrame<'a> {
    /// A frame with nothing left to do.
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self {
            header: VirtioHeader::PLAIN,
            bytes,
        }
    }

    /// Whether the frame is to be cut.
    pub fn is_super_frame(&self) -> bool {
        self.header.segmentation != Segmentation::None
    }
}
