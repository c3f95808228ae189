//! C structures of one message: its header, and control messages with the segment length, the local address and the
//! interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;

/// Returns a header without pointers.
pub(super) fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is a plain C struct of integers and pointers; all-zero (null) is a valid value of it.
    unsafe { std::mem::zeroed() }
}

/// Empty part.
pub(super) const EMPTY_PART: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// Length of two control messages: an `int` (24 bytes with header and padding), and an address with an interface
/// (40).
const CONTROL_LEN: usize = 64;

/// Buffer for the control messages of one message, aligned for their headers.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer([u8; CONTROL_LEN]);

impl ControlBuffer {
    pub(super) const EMPTY: Self = Self([0; CONTROL_LEN]);

    /// Requests segmentation of the message by the kernel, if a segment length is given, and the source address.
    pub(super) fn ask(
        &mut self,
        header: &mut libc::msghdr,
        segment: Option<u16>,
        source: Option<PacketInfo>,
    ) {
        let mut used = 0;
        if let Some(segment) = segment {
            used = self.push(used, (libc::SOL_UDP, libc::UDP_SEGMENT), segment);
        }
        match source {
            Some(PacketInfo::V4(info)) => {
                used = self.push(used, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
            }
            Some(PacketInfo::V6(info)) => {
                used = self.push(used, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
            }
            None => {}
        }
        if used > 0 {
            self.attach(header);
            header.msg_controllen = used as _;
        }
    }

    /// Appends a control message after the first `used` bytes. Returns the new number of used bytes.
    fn push<T: Copy>(
        &mut self,
        used: usize,
        (level, kind): (libc::c_int, libc::c_int),
        value: T,
    ) -> usize {
        let Ok(payload) = libc::c_uint::try_from(size_of::<T>()) else {
            return used;
        };
        // SAFETY: the macros compute lengths.
        let (length, space) = unsafe { (libc::CMSG_LEN(payload), libc::CMSG_SPACE(payload)) };
        let end = used + usize::try_from(space).unwrap_or(usize::MAX - used);
        if end > CONTROL_LEN {
            return used;
        }
        // SAFETY: `used` is a sum of `CMSG_SPACE`s, so the place is aligned for a `cmsghdr` as the array is, and the
        // header with its payload ends at or before `end`, which is within the array.
        unsafe {
            let message = self.0.as_mut_ptr().add(used).cast::<libc::cmsghdr>();
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = length as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
        }
        end
    }

    /// Points the header to this buffer, to be filled by the kernel.
    pub(super) fn attach(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
    }
}

/// Source address of a message, in the form of the socket's family.
#[derive(Clone, Copy)]
pub(super) enum PacketInfo {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl PacketInfo {
    pub(super) fn v4(ip: Ipv4Addr) -> Self {
        Self::V4(libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(ip.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })
    }

    pub(super) fn v6(ip: Ipv6Addr) -> Self {
        Self::V6(libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: ip.octets(),
            },
            ipi6_ifindex: 0,
        })
    }
}

/// Metadata of a received message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Length of the merged segments (`UDP_GRO`), in bytes; `None` if the message is one datagram.
    pub(super) segment: Option<usize>,
    /// Local address to which it was sent.
    pub(super) local: Option<IpAddr>,
    /// Interface index; 0 if unknown.
    pub(super) link: u32,
}

/// Parses the control messages of a received message.
///
/// # Safety
/// The header's control pointer and length must be as set by the kernel, and that memory must still be valid.
pub(super) unsafe fn ancillary(header: &libc::msghdr) -> Ancillary {
    let mut ancillary = Ancillary::default();
    // SAFETY: the caller vouches for the memory; the kernel wrote whole control messages into it, and the macros do not
    // leave the length it gave. What is read of each is as long as its type has it, which its length is compared with.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = payload::<libc::c_int>(message);
                    ancillary.segment = segment.and_then(|s| usize::try_from(s).ok());
                    ancillary.segment = ancillary.segment.filter(|s| *s > 0);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let Some(info) = payload::<libc::in_pktinfo>(message) {
                        let octets = info.ipi_spec_dst.s_addr.to_ne_bytes();
                        ancillary.local = Some(IpAddr::from(octets));
                        ancillary.link = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    if let Some(info) = payload::<libc::in6_pktinfo>(message) {
                        let ip = IpAddr::from(info.ipi6_addr.s6_addr);
                        ancillary.local = Some(ip.to_canonical());
                        ancillary.link = info.ipi6_ifindex;
                    }
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
    ancillary
}

/// Returns the payload of a control message as a `T`; `None` if it is shorter.
///
/// # Safety
/// The message must be complete, and every byte pattern must be a valid `T`.
unsafe fn payload<T: Copy>(message: &libc::cmsghdr) -> Option<T> {
    let length = libc::c_uint::try_from(size_of::<T>()).ok()?;
    // SAFETY: the caller vouches for the message, whose length is looked at before its payload is read.
    unsafe {
        let is_there = message.cmsg_len >= libc::CMSG_LEN(length) as _;
        is_there.then(|| libc::CMSG_DATA(message).cast::<T>().read_unaligned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_have_the_room_they_need() {
        let address = libc::c_uint::try_from(size_of::<libc::in6_pktinfo>()).unwrap();
        // SAFETY: the macro computes a length.
        let needed = unsafe { libc::CMSG_SPACE(4) + libc::CMSG_SPACE(address) };
        assert!(usize::try_from(needed).unwrap() <= CONTROL_LEN);
    }

    #[test]
    fn control_messages_are_parsed_and_only_a_merged_message_has_a_segment() {
        let (mut header, mut control) = (empty_header(), ControlBuffer::EMPTY);
        // SAFETY: the header leads nowhere.
        assert_eq!(unsafe { ancillary(&header.msg_hdr) }, Ancillary::default());
        for ip in ["192.0.2.1", "2001:db8::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let source = match ip {
                IpAddr::V4(ip) => PacketInfo::v4(ip),
                IpAddr::V6(ip) => PacketInfo::v6(ip),
            };
            for segment in [None, Some(1_400)] {
                control.ask(&mut header.msg_hdr, segment, Some(source));
                let expected = Ancillary {
                    local: Some(ip),
                    ..Ancillary::default()
                };
                // SAFETY: the header leads to `control`, which holds whole control messages.
                assert_eq!(unsafe { ancillary(&header.msg_hdr) }, expected);
            }
        }
    }
}
