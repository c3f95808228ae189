//! Where frames enter and leave a router.

mod batch;
mod pcap;
mod tap;

pub use batch::{FrameBatch, MAX_BATCH_BYTES};
pub use pcap::{PcapPort, PcapReader, PcapWriter};
pub use tap::{StormLimits, TapPort, TapReader, TapSpec, TapWriter};

use std::time::Duration;

use mesh_proto::offload::virtio::VirtioHeader;

/// What a port leaves to the other side of it, in both directions: each step includes the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    /// Nothing: every frame is complete and no longer than the MTU.
    #[default]
    None,
    /// Unfinished checksums, and TCP super-frames over IPv4 and IPv6 ([`Segmentation::Tcp4`], [`Segmentation::Tcp6`]).
    ///
    /// [`Segmentation::Tcp4`]: mesh_proto::offload::virtio::Segmentation::Tcp4
    /// [`Segmentation::Tcp6`]: mesh_proto::offload::virtio::Segmentation::Tcp6
    Tcp,
    /// Super-frames of UDP datagrams too ([`Segmentation::Udp`]); Linux 6.2.
    ///
    /// [`Segmentation::Udp`]: mesh_proto::offload::virtio::Segmentation::Udp
    TcpUdp,
}

/// Frames for the reader of a port that it did not get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// All of them: those that nobody read in time, and those below.
    pub dropped: u64,
    /// Those to groups beyond what one interface may send ([`StormLimits`]). Counted a moment before or after they are in
    /// `dropped`.
    pub storm: Storm,
}

/// Frames to groups that were dropped, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// Broadcasts.
    pub broadcasts: u64,
    /// Multicasts.
    pub multicasts: u64,
    /// ARP, and what goes to the groups of neighbour solicitations.
    pub questions: u64,
}

impl Storm {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.broadcasts + self.multicasts + self.questions
    }
}

/// Why a port gave or took no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The interface is down or gone; open the port again when it is back.
    #[error("interface {0} is down or gone")]
    Down(String),
    /// The interface is there but not set up; the frame is lost, the open port works again once it is up.
    #[error("interface {0} is not up")]
    Paused(String),
    /// The frame is empty, longer than the interface takes, or asks for an offload it has not; the next may pass.
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

    /// What was lost since the port was opened. May ask the kernel: not for every frame.
    fn losses(&mut self) -> Losses;

    /// What the frames it reads may leave undone.
    fn offloads(&self) -> Offloads;
}

/// Frames into a port.
pub trait FrameWriter: Send {
    /// Sends one whole Ethernet frame, without its frame check sequence, or a super-frame that `header` describes.
    ///
    /// # Errors
    /// [`PortError::Down`] when the port must be opened again; after any other the next frame may pass.
    /// [`PortError::Refused`] when the header asks for more than [`FrameWriter::offloads`].
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError>;

    /// What the frames sent may leave undone.
    fn offloads(&self) -> Offloads;
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
