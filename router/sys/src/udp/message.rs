//! The C structures of one message: its header, and the control message with the length of its segments.

use nix::libc;

/// A header that leads nowhere yet.
pub(super) fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is a plain C struct of integers and pointers; all-zero (null) is a valid value of it.
    unsafe { std::mem::zeroed() }
}

/// A part of no bytes.
pub(super) const EMPTY_PART: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// Bytes of one control message of an `int`, which is as much as one of a `u16` takes: 16 of header, 8 with padding.
const CONTROL_LEN: usize = 24;

/// Room for one control message, aligned as its header must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_LEN]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_LEN]);

    /// Writes `UDP_SEGMENT` and points the header at it.
    pub(super) fn ask_to_cut(&mut self, header: &mut libc::msghdr, segment: u16) {
        self.attach(header);
        let payload = libc::c_uint::from(u16::BITS / 8);
        // SAFETY: `header` leads to `self`, which is aligned for a `cmsghdr` and longer than one with a `u16`; the macros
        // compute addresses inside it only, and all writes are within those 24 bytes.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(header);
            if let Some(message) = message.as_mut() {
                message.cmsg_level = libc::SOL_UDP;
                message.cmsg_type = libc::UDP_SEGMENT;
                message.cmsg_len = libc::CMSG_LEN(payload) as _;
                libc::CMSG_DATA(message)
                    .cast::<u16>()
                    .write_unaligned(segment);
            }
            header.msg_controllen = libc::CMSG_SPACE(payload) as _;
        }
    }

    /// Points the header at this room, for the kernel to write into.
    pub(super) fn attach(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
    }
}

/// The length of the segments the kernel merged (`UDP_GRO`), in bytes; none when the message is one datagram.
///
/// # Safety
/// The header's control pointer and length are as the kernel left them, and that memory is still there.
pub(super) unsafe fn merged_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the caller vouches for the memory; the kernel wrote whole control messages into it, and the macros do not
    // leave the length it gave.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let is_int = message.cmsg_len >= libc::CMSG_LEN(4) as _;
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO) && is_int {
                let segment = libc::CMSG_DATA(message)
                    .cast::<libc::c_int>()
                    .read_unaligned();
                return usize::try_from(segment).ok().filter(|s| *s > 0);
            }
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_has_the_room_it_needs() {
        // SAFETY: the macro computes a length.
        let needed = unsafe { libc::CMSG_SPACE(4) };
        assert_eq!(usize::try_from(needed), Ok(CONTROL_LEN));
    }

    #[test]
    fn only_a_merged_message_has_a_segment() {
        let (mut header, mut control) = (empty_header(), Control::EMPTY);
        // SAFETY: the header leads nowhere.
        assert_eq!(unsafe { merged_segment(&header.msg_hdr) }, None);
        control.ask_to_cut(&mut header.msg_hdr, 1_400);
        // SAFETY: the header leads to `control`, which holds one whole control message of another type.
        assert_eq!(unsafe { merged_segment(&header.msg_hdr) }, None);
    }
}
