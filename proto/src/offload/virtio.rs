//! The header in front of each frame of a port with offloads: `struct virtio_net_hdr`, VIRTIO 1.2 §5.1.6.
//!
//! The legacy layout of 10 bytes, in the byte order of the host, as Linux' TAP devices and packet sockets use it:
//!
//! ```text
//! byte  0     flags: 1 = the checksum is unfinished
//! byte  1     segmentation: 0 none, 1 TCPv4, 4 TCPv6, 5 UDP (each datagram alone); 0x80 added: TCP with ECN
//! bytes 2–3   length of all headers
//! bytes 4–5   payload bytes of each segment but the last
//! bytes 6–7   where the checksummed part begins, from the start of the frame
//! bytes 8–9   where in that part the checksum lies
//! ```

/// Bytes of the header.
pub const VIRTIO_HEADER_LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const ECN: u8 = 0x80;

/// How a super-frame is to be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Segmentation {
    /// Not at all: an ordinary frame.
    #[default]
    None,
    /// In TCP segments over IPv4.
    Tcp4,
    /// In TCP segments over IPv6.
    Tcp6,
    /// In UDP datagrams, each with a header of its own (`UDP_SEGMENT`), over either.
    Udp,
}

/// The header, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VirtioHeader {
    /// The checksum field holds the sum of the pseudo-header only; the rest is to be added.
    pub needs_checksum: bool,
    /// How the frame is to be cut.
    pub segmentation: Segmentation,
    /// The frame carries TCP with a CWR flag that only its first segment may have.
    pub ecn: bool,
    /// Length of all headers, in bytes from the start of the frame; a hint.
    pub header_len: u16,
    /// Payload bytes of each segment but the last; 0 when not to be cut.
    pub segment_size: u16,
    /// Where the checksummed part begins, in bytes from the start of the frame.
    pub checksum_start: u16,
    /// Where in that part the checksum lies, in bytes.
    pub checksum_offset: u16,
}

/// The header asks for something this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown virtio segmentation {0:#04x}")]
pub struct UnknownSegmentation(pub u8);

impl VirtioHeader {
    /// The header of an ordinary frame with nothing left to do.
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
    /// When it asks for a segmentation we do not know; flags we do not know are hints and ignored.
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

    /// The header as the kernel reads it.
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

    /// Whether the frame is complete as it is.
    pub fn is_plain(&self) -> bool {
        !self.needs_checksum && self.segmentation == Segmentation::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_parsed() {
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
