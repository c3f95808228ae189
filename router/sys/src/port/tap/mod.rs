//! Port through a TAP device: frames keep the kernel's offloads, so one read or write moves up to 64 KiB of a stream.
//!
//! The device exists while a half of the port is open, and ends with the last one, however the process ends. See
//! Documentation/networking/tuntap.rst of Linux; the header is that of VIRTIO 1.2 §5.1.6.

mod device;
mod storm;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::limits::MAX_SUPER_FRAME;
use mesh_proto::offload::virtio::{Segmentation, VIRTIO_HEADER_LEN, VirtioHeader};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::uio::{readv, writev};

pub use self::storm::StormControl;
use super::{FrameBatch, FramePort, FrameReader, FrameWriter, LostFrames, Offloads, PortError};
use crate::SysError;
use crate::interface::drops::DropCounters;
use crate::netlink::Netlink;

/// Shortest frame in bytes: an Ethernet header. The kernel refuses shorter ones, too.
const MIN_FRAME: usize = 14;

/// TAP device to be created.
#[derive(Clone, Copy, Debug)]
pub struct TapSpec<'a> {
    /// Name, at most 15 bytes.
    pub name: &'a str,
    /// Number of queues, one port each, 1 to 256; the kernel distributes flows among them.
    pub queues: usize,
    /// Frames that may wait for the reader, per queue; `None`: the kernel's default (1,000 in Linux 6).
    pub queue_len: Option<u32>,
    /// Limits on broadcasts and multicasts of each interface of the bridge; `None`: left to the reader.
    pub storm: Option<StormLimits>,
}

/// Frames to groups that one interface of a bridge may send to a port per second, at most a billion; 0: no limit.
#[derive(Clone, Copy, Debug)]
pub struct StormLimits {
    /// Broadcasts, except `questions`.
    pub broadcasts: u32,
    /// Multicasts, except `questions`.
    pub multicasts: u32,
    /// ARP, and frames to the groups of neighbour solicitations.
    pub questions: u32,
    /// Frames of each kind that it may send at once; at most as many as its rate permits in two seconds.
    pub burst: u32,
}

/// Queue of a TAP device, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct TapPort {
    reader: TapReader,
    writer: TapWriter,
}

/// Reading half, for frames that the bridge sends to the port.
#[derive(Debug)]
pub struct TapReader {
    queue: Queue,
    counters: DropCounters,
    /// Storm control of this device alone; the drops of a shared one are counted by its owner.
    storm: Option<Arc<StormControl>>,
}

/// Writing half, for frames that the bridge receives from the port.
#[derive(Debug)]
pub struct TapWriter {
    queue: Queue,
}

#[derive(Clone, Debug)]
struct Queue {
    file: Arc<File>,
    interface: Arc<str>,
    offloads: Offloads,
}

impl TapPort {
    /// Creates the device, down and in no bridge, and opens its queues; see [`crate::bridge::ensure_tap_port`].
    ///
    /// # Errors
    /// No `/dev/net/tun`; EPERM without CAP_NET_ADMIN; EBUSY or EINVAL if there is an interface with that name.
    pub fn open(spec: &TapSpec<'_>) -> Result<Vec<Self>, SysError> {
        let (queues, offloads) = device::create(spec)?;
        let storm = spec
            .storm
            .and_then(|limits| limit_storms(queues.first()?, &limits));
        let counters = DropCounters::open()?;
        Self::finish(spec, queues, offloads, storm.as_ref(), &counters)
    }

    /// Creates the device like [`TapPort::open`], with storm control and counters that several devices share, instead of its
    /// own.
    ///
    /// # Errors
    /// Those of [`TapPort::open`].
    pub fn open_shared(
        spec: &TapSpec<'_>,
        storm: Option<&StormControl>,
        counters: &DropCounters,
    ) -> Result<Vec<Self>, SysError> {
        let (queues, offloads) = device::create(spec)?;
        if let (Some(storm), Some(queue)) = (storm, queues.first()) {
            storm.attach(queue)?;
        }
        Self::finish(spec, queues, offloads, None, counters)
    }

    fn finish(
        spec: &TapSpec<'_>,
        queues: Vec<File>,
        offloads: Offloads,
        storm: Option<&Arc<StormControl>>,
        counters: &DropCounters,
    ) -> Result<Vec<Self>, SysError> {
        if let Some(length) = spec.queue_len {
            let mut netlink = Netlink::open()?;
            let index = netlink.link().require(spec.name)?.index;
            netlink.link().set_queue_len(index, length)?;
        }
        let interface: Arc<str> = spec.name.into();
        let port = |file| {
            let queue = Queue {
                file: Arc::new(file),
                interface: interface.clone(),
                offloads,
            };
            let reader = TapReader {
                queue: queue.clone(),
                counters: counters.clone(),
                storm: storm.cloned(),
            };
            let writer = TapWriter { queue };
            Ok(Self { reader, writer })
        };
        queues.into_iter().map(port).collect()
    }

    /// Returns the name of the device.
    pub fn interface(&self) -> &str {
        &self.writer.queue.interface
    }
}

/// Enables storm control if the kernel supports it; otherwise the reader gets all frames.
fn limit_storms(queue: &File, limits: &StormLimits) -> Option<Arc<StormControl>> {
    let started = StormControl::load(limits).and_then(|control| {
        control.attach(queue)?;
        Ok(control)
    });
    match started {
        Ok(control) => Some(Arc::new(control)),
        Err(error) => {
            tracing::info!(
                "no storm control in the kernel, the router limits broadcasts and multicasts: {error}"
            );
            None
        }
    }
}

impl FramePort for TapPort {
    type Reader = TapReader;
    type Writer = TapWriter;

    fn split(self) -> (TapReader, TapWriter) {
        (self.reader, self.writer)
    }
}

impl FrameReader for TapReader {
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError> {
        batch.clear();
        self.drain(batch)?;
        if batch.is_empty() && !wait.is_zero() && self.wait_readable(wait)? {
            self.drain(batch)?;
        }
        Ok(())
    }

    /// Returns the losses of all queues of the device; 0 once it is gone.
    fn losses(&mut self) -> LostFrames {
        let storm = self.storm.as_ref().map(|s| s.dropped()).unwrap_or_default();
        match self.counters.tx_dropped(&self.queue.interface) {
            Some(dropped) => LostFrames { dropped, storm },
            None => LostFrames::default(),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.queue.file.as_fd())
    }

    fn offloads(&self) -> Offloads {
        self.queue.offloads
    }
}

impl TapReader {
    fn drain(&self, batch: &mut FrameBatch) -> Result<(), PortError> {
        while let Some(spare) = batch.spare() {
            let mut header = [0; VIRTIO_HEADER_LEN];
            let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(spare)];
            match readv(&self.queue.file, &mut parts) {
                Ok(length) => {
                    // Does not fail with the offloads enabled here; otherwise the frame is useless.
                    if let Ok(header) = VirtioHeader::parse(&header) {
                        batch.commit(&header, length.saturating_sub(VIRTIO_HEADER_LEN));
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // Frames already read are delivered first; the next call gets the same error.
                Err(_) if !batch.is_empty() => break,
                Err(e) => return Err(self.queue.failed(e, 0)),
            }
        }
        Ok(())
    }

    fn wait_readable(&self, wait: Duration) -> Result<bool, PortError> {
        let mut fds = [PollFd::new(self.queue.file.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
            Ok(0) | Err(Errno::EINTR) => Ok(false),
            // An error of the device appears at the read.
            Ok(_) => Ok(true),
            Err(e) => Err(self.queue.failed(e, 0)),
        }
    }
}

impl FrameWriter for TapWriter {
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError> {
        let fits = (MIN_FRAME..=MAX_SUPER_FRAME).contains(&frame.len());
        if !fits || needs(header) > self.queue.offloads {
            return Err(PortError::Refused(frame.len()));
        }
        let header = header.encode();
        match writev(
            &self.queue.file,
            &[IoSlice::new(&header), IoSlice::new(frame)],
        ) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.queue.failed(e, frame.len())),
        }
    }

    fn offloads(&self) -> Offloads {
        self.queue.offloads
    }
}

impl Queue {
    /// Returns the meaning of an error number of a read, or of a write of `length` bytes (`drivers/net/tun.c`).
    fn failed(&self, errno: Errno, length: usize) -> PortError {
        match errno {
            Errno::EBADFD | Errno::ENODEV | Errno::ENXIO => {
                PortError::Down(self.interface.to_string())
            }
            Errno::EIO => PortError::Paused(self.interface.to_string()),
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR => PortError::Full,
            Errno::EINVAL | Errno::EMSGSIZE | Errno::E2BIG => PortError::Refused(length),
            errno => PortError::Other {
                interface: self.interface.to_string(),
                reason: errno.desc().to_owned(),
            },
        }
    }
}

/// Returns the offloads that a frame with this header needs.
fn needs(header: &VirtioHeader) -> Offloads {
    match header.segmentation {
        Segmentation::None if !header.needs_checksum => Offloads::None,
        Segmentation::None | Segmentation::Tcp4 | Segmentation::Tcp6 => Offloads::Tcp,
        Segmentation::Udp => Offloads::TcpUdp,
    }
}

#[cfg(test)]
mod tests;
