//! Virtio header: `struct virtio_net_hdr` in front of each frame of a port with offloads (VIRTIO 1.2 §5.1.6).
//!
//! The legacy layout of 10 bytes, in host byte order, as used by Linux for TAP devices and packet sockets:
//!
//! ```text
//! byte  0     flags: 1 = the checksum is unfinished
//! byte  1     segmentation: 0 none, 1 TCPv4, 4 TCPv6, 5 UDP (separate datagrams); 0x80 added: TCP with ECN
//! bytes 2–3   length of all headers
//! bytes 4–5   payload bytes of each segment but the last
//! bytes 6–7   start of the checksummed part, from the start of the frame
//! bytes 8–9   offset of the checksum in that part
//! ```

/// Length of the header, in bytes.
pub const VIRTIO_HEADER_LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const ECN: u8 = 0x80;

/// Kind of segmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Segmentation {
    /// None: an ordinary frame.
    #[default]
    None,
    /// TCP segments over IPv4.
    Tcp4,
    /// TCP segments over IPv6.
    Tcp6,
    /// UDP datagrams, each with a header of its own (`UDP_SEGMENT`), over IPv4 or IPv6.
    Udp,
}

/// Decoded header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VirtioHeader {
    /// True if the checksum field holds the sum of the pseudo-header only.
    pub needs_checksum: bool,
    /// Kind of segmentation.
    pub segmentation: Segmentation,
    /// True for TCP with a CWR flag, which only the first segment may have.
    pub ecn: bool,
    /// Length of all headers, in bytes from the start of the frame; a hint.
    pub header_len: u16,
    /// Payload bytes of each segment but the last; 0 without segmentation.
    pub segment_size: u16,
    /// Start of the checksummed part, in bytes from the start of the frame.
    pub checksum_start: u16,
    /// Offset of the checksum in that part, in bytes.
    pub checksum_offset: u16,
}

/// Error: the header requests an unknown segmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown virtio segmentation {0:#04x}")]
pub struct UnknownSegmentation(pub u8);

impl VirtioHeader {
    /// Header of an ordinary frame without remaining work.
    pub const PLAIN: Self = Self {
        needs_checksum: false,
        segmentation: Segmentation::None,
        ecn: false,
        header_len: 0,
        segment_size: 0,
        checksum_start: 0,
        checksum_offset: 0,
    };

    /// Decodes a header.
    ///
    /// # Errors
    /// [`UnknownSegmentation`] if it requests an unknown segmentation. Unknown flags are hints and ignored.
    pub fn parse(bytes: &[u8; VIRTIO_HEADER_LEN]) -> Result<Self, UnknownSegmentation> {
        let [flags, segmentation, l0, l1, s0, s1, c0, c1, o0, o1] = *bytes;
        Ok(Self {
            needs_checksum: flags & NEEDS_CHECKSUM != 0,
            segmentation: match segmentation & !ECN {
                0 => Segmentation::None,
                1 => Segmentation::Tcp4,
                4 => Segmentation::Tcp6,
                5 => Segmentation::Udp,
                _ => return Err(UnknownSegmentation(segmentation)),
            },
            ecn: segmentation & ECN != 0,
            header_len: u16::from_ne_bytes([l0, l1]),
            segment_size: u16::from_ne_bytes([s0, s1]),
            checksum_start: u16::from_ne_bytes([c0, c1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// Encodes the header for the kernel.
    pub fn encode(&self) -> [u8; VIRTIO_HEADER_LEN] {
        let segmentation = match self.segmentation {
            Segmentation::None => 0,
            Segmentation::Tcp4 => 1,
            Segmentation::Tcp6 => 4,
            Segmentation::Udp => 5,
        };
        let mut out = [0; VIRTIO_HEADER_LEN];
        out[0] = if self.needs_checksum {
            NEEDS_CHECKSUM
        } else {
            0
        };
        out[1] = segmentation | if self.ecn { ECN } else { 0 };
        out[2..4].copy_from_slice(&self.header_len.to_ne_bytes());
        out[4..6].copy_from_slice(&self.segment_size.to_ne_bytes());
        out[6..8].copy_from_slice(&self.checksum_start.to_ne_bytes());
        out[8..].copy_from_slice(&self.checksum_offset.to_ne_bytes());
        out
    }

    /// Returns true if the frame needs no offload work.
    pub fn is_plain(&self) -> bool {
        !self.needs_checksum && self.segmentation == Segmentation::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_headers_parse() {
        for segmentation in [
            Segmentation::None,
            Segmentation::Tcp4,
            Segmentation::Tcp6,
            Segmentation::Udp,
        ] {
            let header = VirtioHeader {
                needs_checksum: true,
                segmentation,
                ecn: segmentation == Segmentation::Tcp4,
                header_len: 66,
                segment_size: 1324,
                checksum_start: 34,
                checksum_offset: 16,
            };
            assert_eq!(VirtioHeader::parse(&header.encode()), Ok(header));
        }
        assert!(VirtioHeader::parse(&[0; VIRTIO_HEADER_LEN]).is_ok_and(|h| h.is_plain()));
    }

    #[test]
    fn a_segmentation_we_do_not_know_is_refused() {
        let mut bytes = VirtioHeader::PLAIN.encode();
        bytes[1] = 3;
        assert_eq!(VirtioHeader::parse(&bytes), Err(UnknownSegmentation(3)));
    }
}
