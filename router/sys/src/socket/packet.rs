//! Packet socket for Ethernet frames of one EtherType on one interface (packet(7)).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket};

use crate::SysError;

/// Packet socket that never blocks.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    index: u32,
}

impl PacketSocket {
    /// Opens a socket on the interface `index` of the thread's namespace, for frames of one EtherType; with EtherType
    /// 0 it receives nothing.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if there is no such interface; EPERM without CAP_NET_RAW.
    pub fn open(index: u32, ethertype: u16) -> Result<Self, SysError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Created without a protocol; otherwise it would receive from all interfaces until it is bound.
        socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .and_then(|fd| bind(&fd, index, ethertype).map(|()| Self { fd, index }))
            .map_err(|e| SysError::errno(format!("open a packet socket on interface {index}"), e))
    }

    /// Sends one frame, Ethernet header included.
    ///
    /// # Errors
    /// ENETDOWN if the interface is down, ENXIO if it is gone, ENOBUFS if its queue is full.
    pub fn send(&self, frame: &[u8]) -> Result<(), SysError> {
        send(self.fd.as_raw_fd(), frame, MsgFlags::empty())
            .map(|_| ())
            .map_err(|e| self.failed("send on", e))
    }

    /// Receives the next frame, truncated to `buffer`; `None` if there is none.
    ///
    /// # Errors
    /// ENETDOWN once after the interface went down or was deleted.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, SysError> {
        match recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(e) => Err(self.failed("receive on", e)),
        }
    }

    fn failed(&self, verb: &str, errno: Errno) -> SysError {
        SysError::errno(format!("{verb} interface {}", self.index), errno)
    }
}

fn bind(fd: &OwnedFd, index: u32, ethertype: u16) -> Result<(), Errno> {
    // SAFETY: `sockaddr_ll` is a plain C struct of integers; all-zero is a valid value of it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET.try_into().map_err(|_| Errno::EINVAL)?;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index.try_into().map_err(|_| Errno::ENODEV)?;
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the pointer and the length describe one initialised `sockaddr_ll` that outlives the call.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(result).map(|_| ())
}
