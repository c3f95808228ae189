//! Datagrams into the socket, many per system call.

use std::net::SocketAddr;
use std::ops::Range;

use nix::errno::Errno;
use nix::libc;
use socket2::SockAddr;

use super::Udp;

/// Most datagrams handed over in one system call; longer batches take several.
const PER_CALL: usize = 64;

/// The write half of one thread.
pub struct UdpSender {
    udp: Udp,
    addresses: Vec<SockAddr>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub sent: usize,
    /// Datagrams it refused (no route, no room, a family the socket has not, a range outside the buffer).
    pub dropped: usize,
}

impl UdpSender {
    pub(super) fn new(udp: Udp) -> Self {
        Self {
            udp,
            addresses: Vec::with_capacity(PER_CALL),
        }
    }

    /// Sends the datagrams that lie in `buffer` at the given ranges, in order. One that the kernel refuses is counted and
    /// the rest go on.
    pub fn send(&mut self, buffer: &[u8], datagrams: &[(SocketAddr, Range<usize>)]) -> Sent {
        let mut total = Sent::default();
        for chunk in datagrams.chunks(PER_CALL) {
            let done = self.send_chunk(buffer, chunk);
            total.sent += done.sent;
            total.dropped += done.dropped;
        }
        total
    }

    fn send_chunk(&mut self, buffer: &[u8], datagrams: &[(SocketAddr, Range<usize>)]) -> Sent {
        self.addresses.clear();
        let mut parts = Vec::with_capacity(datagrams.len());
        for (to, range) in datagrams {
            let (Some(to), Some(bytes)) = (self.udp.to_kernel(*to), buffer.get(range.clone()))
            else {
                continue;
            };
            self.addresses.push(to);
            parts.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
        }
        let mut headers: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .zip(&self.addresses)
            .map(|(part, address)| header(part, address))
            .collect();
        let sent = self.send_headers(&mut headers);
        Sent {
            sent,
            dropped: datagrams.len() - sent,
        }
    }

    /// Hands all headers to the kernel, skipping each that it refuses; how many it took.
    fn send_headers(&self, headers: &mut [libc::mmsghdr]) -> usize {
        let (mut next, mut sent) = (0, 0);
        while let Some(rest) = headers.get_mut(next..).filter(|r| !r.is_empty()) {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(0);
            // SAFETY: `rest` holds `count` headers; each leads to one address and one part of the caller's buffer, which
            // are borrowed for longer than this call and which the kernel only reads.
            let result = unsafe { libc::sendmmsg(self.udp.raw(), rest.as_mut_ptr(), count, 0) };
            match Errno::result(result) {
                Ok(taken) => {
                    let taken = usize::try_from(taken).unwrap_or(0).max(1);
                    sent += taken;
                    next += taken;
                }
                Err(Errno::EINTR) => {}
                // Reports the trouble of the first of the rest, or of an earlier one; either way that datagram is lost.
                Err(_) => next += 1,
            }
        }
        sent
    }
}

fn header(part: &mut libc::iovec, address: &SockAddr) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is a plain C struct of integers and pointers; all-zero (null) is a valid value of it.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
    header.msg_hdr.msg_namelen = address.len();
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}
