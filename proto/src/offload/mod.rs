//! Offloads: the segmentation and checksums that a kernel leaves to the network card.
//!
//! A port with the virtio header delivers TCP and UDP *super-frames* of up to 64 KiB with unfinished checksums, and
//! accepts such frames. Between the routers, ordinary frames of the mesh's MTU are sent. [`Segments`] segments frames
//! from a port, [`Merger`] builds super-frames for a port.
//!
//! The checksum of a *partial* frame holds the sum of the pseudo-header only, not inverted (Linux:
//! `CHECKSUM_PARTIAL`). For a port without offloads it must be completed by [`finish_checksum`].

mod checksum;
mod flow;
mod merge;
mod packet;
mod segment;
mod slot;
#[cfg(test)]
mod tests;
pub mod virtio;

pub use checksum::{finish_checksum, has_valid_checksum};
pub use merge::{Emit, Merger};
pub use segment::Segments;
pub use virtio::{Segmentation, VirtioHeader};

/// Reason why a frame cannot be segmented, or its checksum not be completed; the frame is to be dropped and
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// No complete TCP segment or UDP datagram over IP, or unknown headers.
    #[error("no whole TCP or UDP packet")]
    NotTransport,
    /// Protocol or place of the checksum differ from the virtio header.
    #[error("virtio header does not fit the frame")]
    Mismatch,
    /// The checksum is outside the frame.
    #[error("checksum outside the frame")]
    ChecksumPlace,
    /// Segment size of zero, or one that gives more than [`crate::limits::MAX_SEGMENTS`] segments.
    #[error("segment size is zero or makes too many segments")]
    SegmentSize,
    /// Longer than the longest permitted frame, and cannot be segmented to fit.
    #[error("does not fit the longest frame")]
    TooLong,
}

/// Frame of a port, with the offload work that remains to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFrame<'a> {
    /// Remaining work.
    pub header: VirtioHeader,
    /// Ethernet frame without FCS.
    pub bytes: &'a [u8],
}

impl<'a> PortFrame<'a> {
    /// Creates a frame without remaining work.
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self {
            header: VirtioHeader::PLAIN,
            bytes,
        }
    }

    /// Returns true if the frame is to be segmented.
    pub fn is_super_frame(&self) -> bool {
        self.header.segmentation != Segmentation::None
    }
}
