//! Port through libpcap, which works with every kernel and interface.
//!
//! It has two handles on the same interface, since a handle belongs to one thread. The reader gets the frames that
//! the interface receives, never those of the writer; the writer receives nothing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mesh_proto::limits::MAX_FRAME;
use mesh_proto::offload::virtio::VirtioHeader;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use pcap::{Active, Capture, Direction, Linktype};

use super::{
    FrameBatch, FramePort, FrameReader, FrameWriter, LostFrames, Offloads, PortError, Storm,
};
use crate::ifname;

/// Kernel buffer of the reader, in bytes, unless another size is asked for; when full, new frames are dropped and
/// counted.
const READ_BUFFER: i32 = 2 * 1024 * 1024;
/// Buffer of the writer, in bytes: it receives nothing, but libpcap requires a buffer.
const WRITE_BUFFER: i32 = 64 * 1024;
/// From linux/if_packet.h; missing in the libc crate for some targets.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Port on one interface, in the namespace of the thread that opened it.
pub struct PcapPort {
    reader: PcapReader,
    writer: PcapWriter,
}

/// Reading half.
pub struct PcapReader {
    capture: Capture<Active>,
    interface: String,
}

/// Writing half.
pub struct PcapWriter {
    capture: Capture<Active>,
    interface: String,
}

impl PcapPort {
    /// Opens both halves on `interface`, which must be an Ethernet interface and up.
    ///
    /// # Errors
    /// [`PortError::Other`] if there is no such interface, or CAP_NET_RAW is missing.
    pub fn open(interface: &str) -> Result<Self, PortError> {
        Self::open_with_buffer(interface, READ_BUFFER)
    }

    /// Opens both halves like [`PcapPort::open`], with a kernel buffer of `bytes` for the reader.
    ///
    /// # Errors
    /// Those of [`PcapPort::open`].
    pub fn open_with_buffer(interface: &str, bytes: i32) -> Result<Self, PortError> {
        ifname::check(interface).map_err(|e| other(interface, &e.to_string()))?;
        Ok(Self {
            reader: open_reader(interface, bytes).map_err(|e| failed(interface, &e))?,
            writer: open_writer(interface)?,
        })
    }
}

impl FramePort for PcapPort {
    type Reader = PcapReader;
    type Writer = PcapWriter;

    fn split(self) -> (PcapReader, PcapWriter) {
        (self.reader, self.writer)
    }
}

impl FrameReader for PcapReader {
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError> {
        batch.clear();
        // Before libpcap, which would take the socket's error, and keep it to itself while an interface that is being
        // deleted still has its name: nothing would ever tell that the port is lost.
        match self.wait_readable(wait)? {
            true => self.drain(batch),
            false => Ok(()),
        }
    }

    fn losses(&mut self) -> LostFrames {
        LostFrames {
            dropped: self.capture.stats().map_or(0, |s| u64::from(s.dropped)),
            storm: Storm::default(),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.capture.as_fd())
    }

    fn offloads(&self) -> Offloads {
        Offloads::None
    }
}

impl PcapReader {
    fn drain(&mut self, batch: &mut FrameBatch) -> Result<(), PortError> {
        let room = batch.room_for_frames(MAX_FRAME);
        self.capture
            .dispatch(Some(room), |packet| {
                // A frame truncated at the snapshot length is useless.
                if packet.header.len == packet.header.caplen && packet.data.len() <= MAX_FRAME {
                    batch.push(&VirtioHeader::PLAIN, packet.data);
                }
            })
            .map(|_| ())
            .map_err(|e| failed(&self.interface, &e))
    }

    fn wait_readable(&self, wait: Duration) -> Result<bool, PortError> {
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.capture.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(e) => return Err(other(&self.interface, e.desc())),
        }
        let bad = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        if fds[0].revents().is_some_and(|r| r.intersects(bad)) {
            return Err(PortError::Down(self.interface.clone()));
        }
        Ok(true)
    }
}

impl FrameWriter for PcapWriter {
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError> {
        if frame.is_empty() || frame.len() > MAX_FRAME || !header.is_plain() {
            return Err(PortError::Refused(frame.len()));
        }
        // The same system call as in pcap_inject: libpcap reports failures as text only, and may overwrite the error
        // number.
        let sent = send(self.capture.as_raw_fd(), frame, MsgFlags::empty());
        let Err(errno) = sent else {
            return Ok(());
        };
        Err(match errno {
            Errno::ENOBUFS | Errno::EAGAIN | Errno::ENOMEM | Errno::EINTR => PortError::Full,
            Errno::EMSGSIZE | Errno::EINVAL => PortError::Refused(frame.len()),
            Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV => {
                PortError::Down(self.interface.clone())
            }
            errno => other(&self.interface, errno.desc()),
        })
    }

    fn offloads(&self) -> Offloads {
        Offloads::None
    }
}

fn open_reader(interface: &str, buffer: i32) -> Result<PcapReader, pcap::Error> {
    let snapshot = i32::try_from(MAX_FRAME).unwrap_or(i32::MAX);
    let capture = Capture::from_device(interface)?
        .promisc(true)
        .immediate_mode(true)
        .snaplen(snapshot)
        .buffer_size(buffer)
        .open()?
        .setnonblock()?;
    require_ethernet(&capture)?;
    capture.direction(Direction::In)?;
    // libpcap filters by direction after the copy; this avoids the copy where the kernel supports the option.
    let _ = set_option(&capture, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32);
    Ok(PcapReader {
        capture,
        interface: interface.to_owned(),
    })
}

fn open_writer(interface: &str) -> Result<PcapWriter, PortError> {
    let capture = Capture::from_device(interface)
        .and_then(|c| {
            c.immediate_mode(true)
                .snaplen(64)
                .buffer_size(WRITE_BUFFER)
                .open()
        })
        .and_then(Capture::setnonblock)
        .map_err(|e| failed(interface, &e))?;
    receive_nothing(&capture).map_err(|e| other(interface, e.desc()))?;
    Ok(PcapWriter {
        capture,
        interface: interface.to_owned(),
    })
}

fn require_ethernet(capture: &Capture<Active>) -> Result<(), pcap::Error> {
    if capture.get_datalink() == Linktype::ETHERNET {
        Ok(())
    } else {
        Err(pcap::Error::InvalidLinktype)
    }
}

/// Makes the kernel drop everything before it is copied to this handle, by a filter of one instruction, `ret #0`.
fn receive_nothing(capture: &Capture<Active>) -> Result<(), Errno> {
    let mut program = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    set_option(capture, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

fn set_option<T>(
    capture: &Capture<Active>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the pointer and the length describe one initialised value that outlives the call; a filter's own pointer
    // leads to an array that outlives it too, and the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            capture.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    Errno::result(result).map(|_| ())
}

fn other(interface: &str, reason: &str) -> PortError {
    PortError::Other {
        interface: interface.to_owned(),
        reason: reason.to_owned(),
    }
}

fn failed(interface: &str, error: &pcap::Error) -> PortError {
    let reason = error.to_string();
    if reason.contains("disappeared") || reason.contains("went down") {
        return PortError::Down(interface.to_owned());
    }
    other(interface, &reason)
}

#[cfg(test)]
mod tests;
