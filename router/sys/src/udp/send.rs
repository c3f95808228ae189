//! Sending of datagrams, many per system call and many per packet.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use mesh_proto::forward::Run;
use nix::errno::Errno;
use nix::libc;
use socket2::SockAddr;

use super::Udp;
use super::message::{ControlBuffer, EMPTY_PART, PacketInfo, empty_header};

/// Most datagrams in one packet to be segmented: `UDP_MAX_SEGMENTS` of kernels before 6.9, half that of later ones.
pub const MAX_SEGMENTS: usize = 64;
/// Longest such packet in bytes: it must fit IPv4 with the headers of IPv4 and UDP.
const MAX_PAYLOAD: usize = 65_535 - 20 - 8;
/// Most packets sent in one system call; longer batches need several.
const PER_CALL: usize = 64;

/// Result of sending a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams accepted by the kernel.
    pub sent: usize,
    /// Datagrams refused (no route, no room, an unsupported family, a range outside the buffer).
    pub dropped: usize,
    /// Datagrams of both kinds that were sent one by one, because the kernel did not segment their run: it has no
    /// support, the network card does not compute checksums, or they exceed the path MTU.
    pub singly: usize,
}

/// Writing half of one thread.
pub struct UdpSender {
    udp: Udp,
    /// True if the kernel segments; false once kernel or interface turned out not to.
    pub(super) cuts: bool,
    messages: Vec<OutgoingPacket>,
}

/// One packet for the kernel.
#[derive(Clone)]
struct OutgoingPacket {
    to: SockAddr,
    /// Source address; `None`: the kernel chooses.
    source: Option<PacketInfo>,
    range: Range<usize>,
    /// Segment length; `None`: one datagram.
    segment: Option<u16>,
}

impl OutgoingPacket {
    fn datagrams(&self) -> usize {
        count(self.range.len(), self.segment.map_or(0, usize::from))
    }
}

impl UdpSender {
    pub(super) fn new(udp: Udp) -> Self {
        let cuts = knows_segments(&udp);
        Self {
            udp,
            cuts,
            messages: Vec::with_capacity(PER_CALL),
        }
    }

    /// Sends the datagrams in `buffer`, in order, of any number and length; the kernel segments runs if it can.
    /// Refused datagrams are counted, and the rest is sent.
    pub fn send(&mut self, buffer: &[u8], runs: &[Run]) -> SendReport {
        self.send_from(buffer, runs, &BTreeMap::new())
    }

    /// Sends datagrams like [`UdpSender::send`], from the local address that `sources` has for their destination. If
    /// that address is not local any more, the kernel chooses one.
    pub fn send_from(
        &mut self,
        buffer: &[u8],
        runs: &[Run],
        sources: &BTreeMap<SocketAddr, IpAddr>,
    ) -> SendReport {
        let mut total = SendReport::default();
        let mut messages = std::mem::take(&mut self.messages);
        for run in runs {
            let (Some(to), Some(_)) = (self.udp.to_kernel(run.to), buffer.get(run.range.clone()))
            else {
                total.dropped += run.datagrams();
                continue;
            };
            if !self.cuts && run.datagrams() > 1 {
                total.singly += run.datagrams();
            }
            let source = sources.get(&run.to);
            let source = source.and_then(|ip| self.udp.source(*ip, run.to));
            self.plan(run, (&to, source), |sender, message| {
                messages.push(message);
                if messages.len() == PER_CALL {
                    sender.flush(buffer, &messages, &mut total);
                    messages.clear();
                }
            });
        }
        self.flush(buffer, &messages, &mut total);
        messages.clear();
        self.messages = messages;
        total
    }

    /// Splits a run into packets that the kernel accepts.
    fn plan(
        &mut self,
        run: &Run,
        (to, source): (&SockAddr, Option<PacketInfo>),
        mut emit: impl FnMut(&mut Self, OutgoingPacket),
    ) {
        let length = if run.datagrams() > 1 { run.segment } else { 0 };
        let cut = u16::try_from(length).ok().filter(|_| length > 0);
        let Range { mut start, end } = run.range;
        loop {
            let (packet, segment) = match cut.filter(|_| self.cuts) {
                Some(_) => (length * (MAX_PAYLOAD / length).clamp(1, MAX_SEGMENTS), cut),
                None if length == 0 => (end - start, None),
                // A datagram that is too long is refused by the kernel.
                None => (length, None),
            };
            let range = start..end.min(start + packet);
            let segment = segment.filter(|_| range.len() > length);
            start = range.end;
            let to = to.clone();
            emit(
                self,
                OutgoingPacket {
                    to,
                    source,
                    range,
                    segment,
                },
            );
            if start >= end {
                break;
            }
        }
    }

    /// Sends all messages; those that the kernel does not segment are sent one by one, and refused ones are skipped.
    fn flush(&mut self, buffer: &[u8], messages: &[OutgoingPacket], total: &mut SendReport) {
        let mut rest = messages;
        while let Some((first, others)) = rest.split_first() {
            match self.hand_over(buffer, rest) {
                Ok(taken) => {
                    let (gone, left) = rest.split_at(taken.clamp(1, rest.len()));
                    total.sent += gone.iter().map(OutgoingPacket::datagrams).sum::<usize>();
                    rest = left;
                }
                Err(Errno::EINTR) => {}
                Err(e) => {
                    if first.source.is_some() && is_about_source(e) {
                        let unbound = OutgoingPacket {
                            source: None,
                            ..first.clone()
                        };
                        self.flush(buffer, &[unbound], total);
                    } else if first.segment.is_some() && is_about_cutting(e) {
                        self.cuts &= !is_for_good(e);
                        self.send_singly(buffer, first, total);
                    } else {
                        // Error of the first remaining message, or of an earlier one; in both cases that packet is
                        // lost.
                        total.dropped += first.datagrams();
                    }
                    rest = others;
                }
            }
        }
    }

    fn send_singly(&mut self, buffer: &[u8], message: &OutgoingPacket, total: &mut SendReport) {
        let step = message.segment.map_or(1, |s| usize::from(s).max(1));
        let ranges = message.range.clone().step_by(step);
        let single = |start: usize| OutgoingPacket {
            to: message.to.clone(),
            source: message.source,
            range: start..message.range.end.min(start + step),
            segment: None,
        };
        let singles: Vec<OutgoingPacket> = ranges.map(single).collect();
        total.singly += singles.len();
        self.flush(buffer, &singles, total);
    }

    /// Sends up to [`PER_CALL`] messages. Returns the number that the kernel accepted.
    fn hand_over(&self, buffer: &[u8], messages: &[OutgoingPacket]) -> Result<usize, Errno> {
        // Built for each call, so that no raw pointer outlives it.
        let mut parts = [EMPTY_PART; PER_CALL];
        let mut controls = [ControlBuffer::EMPTY; PER_CALL];
        let mut headers = [empty_header(); PER_CALL];
        let rows = headers.iter_mut().zip(&mut parts).zip(&mut controls);
        for (((header, part), control), message) in rows.zip(messages) {
            let bytes = buffer.get(message.range.clone()).unwrap_or_default();
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_name = message.to.as_ptr().cast_mut().cast();
            header.msg_namelen = message.to.len();
            header.msg_iov = part;
            header.msg_iovlen = 1;
            control.ask(header, message.segment, message.source);
        }
        let count = libc::c_uint::try_from(messages.len().min(PER_CALL)).unwrap_or(0);
        // SAFETY: the first `count` headers are filled; each leads to one address, one part of the caller's buffer
        // and at most two control messages, which live for longer than this call and which the kernel only reads.
        let result = unsafe { libc::sendmmsg(self.udp.raw(), headers.as_mut_ptr(), count, 0) };
        Errno::result(result).map(|taken| usize::try_from(taken).unwrap_or(0))
    }
}

/// Returns the number of datagrams of `segment` bytes in `length` bytes; an empty range is one empty datagram.
fn count(length: usize, segment: usize) -> usize {
    match segment {
        0 => 1,
        segment => length.div_ceil(segment).max(1),
    }
}

/// Returns true if the error concerns segmentation, so that single datagrams may pass (`udp_send_skb` of the kernel).
fn is_about_cutting(e: Errno) -> bool {
    is_for_good(e) || matches!(e, Errno::EINVAL | Errno::EMSGSIZE)
}

/// Returns true if the kernel may have refused the source address: it is not local any more, or has no route.
fn is_about_source(e: Errno) -> bool {
    matches!(
        e,
        Errno::EINVAL
            | Errno::EADDRNOTAVAIL
            | Errno::ENODEV
            | Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
    )
}

/// Returns true if the outgoing interface cannot segment: no checksums in the network card, or a transformation such
/// as IPsec.
fn is_for_good(e: Errno) -> bool {
    matches!(e, Errno::EIO | Errno::EOPNOTSUPP)
}

/// Returns true if the kernel supports `UDP_SEGMENT`; otherwise it would send the whole packet as one datagram.
fn knows_segments(udp: &Udp) -> bool {
    let mut value: libc::c_int = 0;
    let Ok(mut length) = libc::socklen_t::try_from(size_of_val(&value)) else {
        return false;
    };
    // SAFETY: the pointers lead to one integer and its length, which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            udp.raw(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the packets of one run, as (range, segment).
    fn packets(sender: &mut UdpSender, run: &Run) -> Vec<(Range<usize>, Option<u16>)> {
        let to = sender.udp.to_kernel(run.to).unwrap();
        let mut packets = Vec::new();
        sender.plan(run, (&to, None), |_, m| packets.push((m.range, m.segment)));
        packets
    }

    #[test]
    fn a_run_is_cut_in_packets_the_kernel_takes() {
        let udp = Udp::bind(Some([127, 0, 0, 1].into()), 0).unwrap();
        let mut sender = udp.sender();
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        for segment in [
            0, 1, 7, 1_023, 1_024, 1_444, 9_472, 40_000, 65_507, 65_535, 70_000,
        ] {
            for length in [
                0, 1, 6, 7, 8, 1_444, 65_507, 65_508, 92_416, 92_417, 300_000,
            ] {
                let run = Run {
                    to,
                    range: 5..5 + length,
                    segment,
                };
                for cuts in [true, false] {
                    sender.cuts = cuts;
                    let mut end = 5;
                    let mut datagrams = 0;
                    for (range, cut) in packets(&mut sender, &run) {
                        assert_eq!(range.start, end, "{run:?}");
                        end = range.end;
                        let step = cut.map_or(0, usize::from);
                        datagrams += count(range.len(), step);
                        assert!(cut.is_none() || (cuts && step == segment));
                        let fits = range.len() <= MAX_PAYLOAD && count(range.len(), step) <= 64;
                        assert!(cut.is_none() || fits, "{run:?}: {range:?}");
                    }
                    assert_eq!((end, datagrams), (5 + length, run.datagrams()), "{run:?}");
                }
            }
        }
    }
}
