//! Ports, through which frames enter and leave a router.

mod batch;
mod pcap;
mod poll;
mod tap;

pub use batch::{FrameBatch, MAX_BATCH_BYTES};
pub use pcap::{PcapPort, PcapReader, PcapWriter};
pub use poll::{Poller, Waker, wait_for_either};
pub use tap::{StormControl, StormLimits, TapPort, TapReader, TapSpec, TapWriter};

use std::os::fd::BorrowedFd;
use std::time::Duration;

use mesh_proto::offload::virtio::VirtioHeader;

/// Offloads of a port in both directions; each level includes the previous ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    /// None: every frame is complete and no longer than the MTU.
    #[default]
    None,
    /// Unfinished checksums, and TCP super-frames over IPv4 and IPv6 ([`Segmentation::Tcp4`],
    /// [`Segmentation::Tcp6`]).
    ///
    /// [`Segmentation::Tcp4`]: mesh_proto::offload::virtio::Segmentation::Tcp4
    /// [`Segmentation::Tcp6`]: mesh_proto::offload::virtio::Segmentation::Tcp6
    Tcp,
    /// Super-frames of UDP datagrams, too ([`Segmentation::Udp`]); Linux 6.2.
    ///
    /// [`Segmentation::Udp`]: mesh_proto::offload::virtio::Segmentation::Udp
    TcpUdp,
}

/// Frames lost before the reader of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostFrames {
    /// All lost frames: those not read in time, and those in `storm`.
    pub dropped: u64,
    /// Frames to groups above the limits of one interface ([`StormLimits`]). Counted slightly before or after
    /// `dropped`.
    pub storm: Storm,
}

/// Dropped frames to groups, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// Broadcasts.
    pub broadcasts: u64,
    /// Multicasts.
    pub multicasts: u64,
    /// ARP, and frames to the groups of neighbour solicitations.
    pub questions: u64,
}

impl Storm {
    /// Returns the sum of all kinds.
    pub fn total(&self) -> u64 {
        self.broadcasts + self.multicasts + self.questions
    }
}

/// Reason why a port delivered or accepted no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The interface is down or gone; the port must be opened again when it is back.
    #[error("interface {0} is down or gone")]
    Down(String),
    /// The interface exists, but is not up; the frame is lost, and the open port works again once it is up.
    #[error("interface {0} is not up")]
    Paused(String),
    /// The frame is empty, longer than the interface permits, or needs an unsupported offload; later frames may pass.
    #[error("frame of {0} bytes refused")]
    Refused(usize),
    /// The kernel's queue is full; the frame is lost, later ones may pass.
    #[error("no room in the kernel's queue")]
    Full,
    /// Any other failure.
    #[error("port {interface}: {reason}")]
    Other {
        /// Name of the interface.
        interface: String,
        /// Message of the library or the kernel.
        reason: String,
    },
}

/// Source of frames from a port, in batches.
pub trait FrameReader: Send {
    /// Clears `batch` and fills it with waiting frames; waits at most `wait` for the first one. If none arrives in
    /// that time, the batch is empty, which is no error.
    ///
    /// # Errors
    /// [`PortError::Down`] if the port must be opened again.
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError>;

    /// Returns the losses since the port was opened. May make a system call, so it is not to be called for each
    /// frame.
    fn losses(&mut self) -> LostFrames;

    /// Returns the descriptor that is readable while frames wait, and when the port must be opened again; `None` while
    /// there is no open port.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Returns the offloads that its frames may need.
    fn offloads(&self) -> Offloads;
}

/// Sink for frames into a port.
pub trait FrameWriter: Send {
    /// Sends one complete Ethernet frame without FCS, or a super-frame described by `header`.
    ///
    /// # Errors
    /// [`PortError::Down`] if the port must be opened again; after any other error the next frame may pass.
    /// [`PortError::Refused`] if the header needs more than [`FrameWriter::offloads`].
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError>;

    /// Returns the offloads that frames may need.
    fn offloads(&self) -> Offloads;
}

/// Port: a reader for the egress lane and a writer for the ingress lane, used concurrently.
pub trait FramePort {
    /// Reading half.
    type Reader: FrameReader;
    /// Writing half.
    type Writer: FrameWriter;

    /// Splits the port into its halves.
    fn split(self) -> (Self::Reader, Self::Writer);
}
