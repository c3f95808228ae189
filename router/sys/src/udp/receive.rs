//! Datagrams out of the socket, many per system call.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::limits::MAX_DATAGRAM;
use nix::errno::Errno;
use nix::libc;
use socket2::SockAddrStorage;

use super::{Udp, normalise};
use crate::SysError;

/// The read half of one thread, with the memory of one batch.
pub struct UdpReceiver {
    udp: Udp,
    bytes: Vec<u8>,
    received: Vec<Received>,
    addresses: Vec<SockAddrStorage>,
    capacity: usize,
    wait: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Received {
    slot: usize,
    length: usize,
    from: SocketAddr,
}

impl UdpReceiver {
    pub(super) fn new(udp: Udp, batch: usize) -> Self {
        let capacity = batch.clamp(1, 1_024);
        Self {
            udp,
            bytes: vec![0; capacity * MAX_DATAGRAM],
            received: Vec::with_capacity(capacity),
            addresses: (0..capacity).map(|_| SockAddrStorage::zeroed()).collect(),
            capacity,
            wait: None,
        }
    }

    /// Takes what is waiting; waits at most `wait` (at least a microsecond) for the first datagram. How many came.
    ///
    /// A datagram longer than [`MAX_DATAGRAM`] is dropped. What the network says of datagrams we sent
    /// (unreachable, refused) is no error.
    ///
    /// # Errors
    /// Only when the socket is of no more use.
    pub fn recv(&mut self, wait: Duration) -> Result<usize, SysError> {
        self.received.clear();
        self.set_wait(wait)
            .and_then(|()| self.receive())
            .map_err(|e| SysError::new("receive from the UDP socket", e))?;
        Ok(self.received.len())
    }

    /// The datagrams of the last [`UdpReceiver::recv`], to be opened in place, and their senders.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let slots = self.bytes.chunks_exact_mut(MAX_DATAGRAM).enumerate();
        let mut received = self.received.iter().peekable();
        slots.filter_map(move |(index, slot)| {
            let datagram = received.next_if(|r| r.slot == index)?;
            Some((datagram.from, &mut slot[..datagram.length]))
        })
    }

    fn set_wait(&mut self, wait: Duration) -> io::Result<()> {
        let wait = wait.max(Duration::from_micros(1));
        if self.wait != Some(wait) {
            self.udp.socket.set_read_timeout(Some(wait))?;
            self.wait = Some(wait);
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        // Made for each batch, so that no raw pointer outlives the call.
        let mut parts: Vec<libc::iovec> = self
            .bytes
            .chunks_exact_mut(MAX_DATAGRAM)
            .map(|slot| libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: slot.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .zip(&mut self.addresses)
            .map(|(part, address)| header(part, address))
            .collect();
        let count = libc::c_uint::try_from(self.capacity).map_err(io::Error::other)?;
        // SAFETY: `headers` holds `count` headers; each leads to one slot of `bytes` and one address storage, all of
        // them alive and not otherwise used during the call, with their true sizes.
        let result = unsafe {
            libc::recvmmsg(
                self.udp.raw(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        match Errno::result(result) {
            Ok(received) => {
                let received = usize::try_from(received).unwrap_or(0);
                for (slot, header) in headers.iter().take(received).enumerate() {
                    let from = self.addresses.get(slot).and_then(sender);
                    self.received.extend(accept(slot, header, from));
                }
                Ok(())
            }
            Err(e) if is_transient(e) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

fn header(part: &mut libc::iovec, address: &mut SockAddrStorage) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is a plain C struct of integers and pointers; all-zero (null) is a valid value of it.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
    header.msg_hdr.msg_namelen = address.size_of();
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn accept(slot: usize, header: &libc::mmsghdr, from: Option<SocketAddr>) -> Option<Received> {
    if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
        return None;
    }
    Some(Received {
        slot,
        length: usize::try_from(header.msg_len).ok()?.min(MAX_DATAGRAM),
        from: from?,
    })
}

fn sender(storage: &SockAddrStorage) -> Option<SocketAddr> {
    // SAFETY: the storage began as zeros and the kernel wrote an address of its own into it: every byte is initialised,
    // and `view_as` only reads a shorter plain C struct of integers out of it.
    let family = i32::from(unsafe { view::<libc::sockaddr>(storage) }.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: as above; the family says that this is what the kernel wrote.
            let v4 = unsafe { view::<libc::sockaddr_in>(storage) };
            let ip = std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { view::<libc::sockaddr_in6>(storage) };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            let full = std::net::SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id);
            Some(normalise(SocketAddr::V6(full)))
        }
        _ => None,
    }
}

/// Reads the head of the storage as a `T`.
///
/// # Safety
/// `T` is a plain C struct of integers, no longer than and no more aligned than a `sockaddr_storage`.
unsafe fn view<T: Copy>(storage: &SockAddrStorage) -> T {
    // SAFETY: the caller vouches for `T`; the storage is initialised and aligned for every socket address.
    unsafe { *std::ptr::from_ref(storage).cast::<T>() }
}

/// Nothing there yet, or news of a datagram sent earlier.
fn is_transient(e: Errno) -> bool {
    matches!(
        e,
        Errno::EAGAIN
            | Errno::EINTR
            | Errno::ECONNREFUSED
            | Errno::ECONNRESET
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::EMSGSIZE
            | Errno::ENOMEM
            | Errno::ENOBUFS
    )
}
