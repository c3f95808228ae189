//! Reception of datagrams, many per system call and many per packet.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_proto::limits::MAX_DATAGRAM;
use nix::errno::Errno;
use nix::libc;
use socket2::SockAddrStorage;

use super::message::{Ancillary, ControlBuffer, EMPTY_PART, ancillary, empty_header};
use super::{Udp, normalise, set_option};
use crate::SysError;

/// Most packets received in one system call.
pub const MAX_SLOTS: usize = 64;
/// Distance between the starts of two slots, in bytes: the longest packet, and an odd number of cache lines, so that
/// the starts of the slots do not compete for the same cache sets.
const SLOT: usize = 65_536 + 3 * 64;
/// Longest packet in bytes, merged or not.
const MAX_PACKET: usize = 65_535;

/// Reading half of one thread, with the memory of one batch.
pub struct UdpReceiver {
    udp: Udp,
    /// Zeroed memory, whose pages are touched only by received packets.
    bytes: Vec<u8>,
    /// Packets in the slots, from the first slot on.
    received: Vec<ReceivedPacket>,
    addresses: Vec<SockAddrStorage>,
    wait: Option<Duration>,
    oversized: u64,
}

/// One packet: datagrams of `segment` bytes, the last one may be shorter. Of length 0 if it is useless.
#[derive(Clone, Copy)]
struct ReceivedPacket {
    length: usize,
    segment: usize,
    arrival: UdpArrival,
}

/// Origin of a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpArrival {
    /// Sender.
    pub from: SocketAddr,
    /// Local address to which it was sent.
    pub local: Option<IpAddr>,
    /// Interface index; 0 if unknown.
    pub link: u32,
}

impl UdpReceiver {
    pub(super) fn new(udp: Udp, slots: usize) -> Self {
        let slots = slots.clamp(1, MAX_SLOTS);
        // Without support, the kernel delivers each datagram separately.
        let _ = set_option(&udp.socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        udp.ask_for_arrivals();
        Self {
            udp,
            bytes: vec![0; slots * SLOT],
            received: Vec::with_capacity(slots),
            addresses: (0..slots).map(|_| SockAddrStorage::zeroed()).collect(),
            wait: None,
            oversized: 0,
        }
    }

    /// Receives waiting datagrams; waits at most `wait` for the first one (zero: not at all). Returns their number.
    ///
    /// Empty datagrams, and those longer than [`MAX_DATAGRAM`] ([`UdpReceiver::oversized`]), are dropped. ICMP errors
    /// about sent datagrams (unreachable, refused) are ignored.
    ///
    /// # Errors
    /// [`SysError`] if the socket is unusable.
    pub fn recv(&mut self, wait: Duration) -> Result<usize, SysError> {
        self.received.clear();
        self.set_wait(wait)
            .and_then(|()| self.receive(wait.is_zero()))
            .map_err(|e| SysError::new("receive from the UDP socket", e))?;
        Ok(self.received.iter().map(ReceivedPacket::datagrams).sum())
    }

    /// Returns the datagrams of the last [`UdpReceiver::recv`] in order of arrival, to be opened in place, each with
    /// its origin.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (UdpArrival, &mut [u8])> {
        let slots = self.bytes.chunks_exact_mut(SLOT).zip(&self.received);
        slots.flat_map(|(slot, packet)| {
            slot[..packet.length]
                .chunks_mut(packet.segment.max(1))
                .map(|datagram| (packet.arrival, datagram))
        })
    }

    /// Returns the number of datagrams dropped so far because they were longer than [`MAX_DATAGRAM`].
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    fn set_wait(&mut self, wait: Duration) -> io::Result<()> {
        if wait.is_zero() || self.wait == Some(wait) {
            return Ok(());
        }
        // The kernel takes less than a microsecond as "no time-out".
        let at_least = wait.max(Duration::from_micros(1));
        self.udp.socket.set_read_timeout(Some(at_least))?;
        self.wait = Some(wait);
        Ok(())
    }

    fn receive(&mut self, at_once: bool) -> io::Result<()> {
        // Built for each call, so that no raw pointer outlives it.
        let mut parts = [EMPTY_PART; MAX_SLOTS];
        let mut controls = [ControlBuffer::EMPTY; MAX_SLOTS];
        let mut headers = [empty_header(); MAX_SLOTS];
        let slots = self.bytes.chunks_exact_mut(SLOT).zip(&mut self.addresses);
        let rows = headers.iter_mut().zip(&mut parts).zip(&mut controls);
        for (((header, part), control), (slot, address)) in rows.zip(slots) {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = MAX_PACKET;
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(address).cast();
            header.msg_namelen = address.size_of();
            header.msg_iov = part;
            header.msg_iovlen = 1;
            control.attach(header);
        }
        let count = libc::c_uint::try_from(self.addresses.len()).map_err(io::Error::other)?;
        let flags = libc::MSG_WAITFORONE | if at_once { libc::MSG_DONTWAIT } else { 0 };
        // SAFETY: the first `count` headers are filled; each leads to one slot of `bytes` (longer than MAX_PACKET), one
        // address storage and room for control messages, all of them alive and not otherwise used during the call.
        let result = unsafe {
            libc::recvmmsg(
                self.udp.raw(),
                headers.as_mut_ptr(),
                count,
                flags,
                std::ptr::null_mut(),
            )
        };
        let received = match Errno::result(result) {
            Ok(received) => usize::try_from(received).unwrap_or(0),
            Err(e) if is_transient(e) => 0,
            Err(e) => return Err(e.into()),
        };
        for (header, address) in headers.iter().zip(&self.addresses).take(received) {
            // SAFETY: the kernel has filled the header's control messages, which are in `controls`.
            let ancillary = unsafe { ancillary(&header.msg_hdr) };
            let mut packet = packet(header, ancillary, sender(address));
            if packet.segment > MAX_DATAGRAM {
                self.oversized += packet.datagrams() as u64;
                packet.length = 0;
            }
            self.received.push(packet);
        }
        Ok(())
    }
}

impl ReceivedPacket {
    fn datagrams(&self) -> usize {
        self.length.div_ceil(self.segment.max(1))
    }
}

fn packet(
    header: &libc::mmsghdr,
    ancillary: Ancillary,
    from: Option<SocketAddr>,
) -> ReceivedPacket {
    let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
    let length = usize::try_from(header.msg_len).unwrap_or(0);
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    ReceivedPacket {
        length: if whole && from.is_some() {
            length.min(MAX_PACKET)
        } else {
            0
        },
        segment: ancillary.segment.unwrap_or(length),
        arrival: UdpArrival {
            from: from.unwrap_or(nowhere),
            local: ancillary.local,
            link: ancillary.link,
        },
    }
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

/// Reads the start of the storage as a `T`.
///
/// # Safety
/// `T` must be a plain C struct of integers, no longer than and no more aligned than a `sockaddr_storage`.
unsafe fn view<T: Copy>(storage: &SockAddrStorage) -> T {
    // SAFETY: the caller vouches for `T`; the storage is initialised and aligned for every socket address.
    unsafe { *std::ptr::from_ref(storage).cast::<T>() }
}

/// Returns true if there is no datagram yet, or if the error is about a datagram sent earlier.
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
