//! Where frames enter and leave a router.

mod batch;
mod pcap;

pub use batch::FrameBatch;
pub use pcap::{PcapPort, PcapReader, PcapWriter};

use std::time::Duration;

/// Why a port gave or took no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The interface is down or gone; open the port again when it is back.
    #[error("interface {0} is down or gone")]
    Down(String),
    /// The frame is empty or longer than the interface takes; the next may pass.
    #[error("frame of {0} bytes refused")]
    Refused(usize),
    /// The kernel has no room just now; the frame is lost, the next may pass.
    #[error("no room in the kernel's queue")]
    Full,
    /// Anything else.
    #[error("port {interface}: {reason}")]
    Other {
        /// The interface.
        interface: String,
        /// What the library or the kernel says.
        reason: String,
    },
}

/// Frames out of a port, in batches.
pub trait FrameReader: Send {
    /// Fills `batch`, which is emptied first, with what is waiting; waits at most `wait` for the first frame. No frame
    /// within that time is no error: the batch is empty.
    ///
    /// # Errors
    /// [`PortError::Down`] when the port must be opened again.
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError>;

    /// Frames lost so far because nobody read them in time.
    fn dropped(&mut self) -> u64;
}

/// Frames into a port.
pub trait FrameWriter: Send {
    /// Sends one whole Ethernet frame, without its checksum.
    ///
    /// # Errors
    /// [`PortError::Down`] when the port must be opened again; after any other the next frame may pass.
    fn send(&mut self, frame: &[u8]) -> Result<(), PortError>;
}

/// A port: a reader for the egress lane and a writer for the ingress lane, which work at the same time.
pub trait FramePort {
    /// The half that reads.
    type Reader: FrameReader;
    /// The half that writes.
    type Writer: FrameWriter;

    /// Takes the port apart.
    fn split(self) -> (Self::Reader, Self::Writer);
}
