//! Fragmentation of IPv4 packets (RFC 791 section 3.2), as in a router.

use super::ethernet::EthernetView;
use super::ipv4::{FRAGMENT_UNIT, Ipv4View, MIN_HEADER, MORE_FRAGMENTS};
use crate::checksum::checksum_of;

/// Bit of an option's type for options copied to all fragments.
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// Longest options of a header, in bytes.
const MAX_OPTIONS: usize = 40;

/// Fragments of one frame, each a complete frame with the Ethernet header and VLAN tags of the original.
///
/// Checksums of the transport layer must be complete, because a fragment cannot be completed later.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    link: &'a [u8],
    packet: Ipv4View<'a>,
    copied: Ipv4Options,
    /// Longest IP packet of a fragment, in bytes.
    mtu: usize,
    /// Bytes of the payload already in fragments.
    done: usize,
}

/// Options of all fragments but the first, padded to words.
#[derive(Clone, Copy, Debug)]
struct Ipv4Options {
    bytes: [u8; MAX_OPTIONS],
    len: usize,
}

impl<'a> Fragments<'a> {
    /// Fragments the IPv4 packet in `frame` into packets of at most `mtu` bytes; a fragment may be fragmented again.
    ///
    /// `None` if the frame has no complete IPv4 packet, DF is set, `mtu` has no room for eight bytes behind the
    /// header, or the packet ends beyond the largest possible offset.
    pub fn new(frame: &'a [u8], mtu: u16) -> Option<Self> {
        let view = EthernetView::new_checked(frame).ok()?;
        let link = frame.get(..frame.len() - view.payload().len())?;
        let is_ipv4 = view.ethertype() == super::ethernet::IPV4;
        let packet = Ipv4View::new_checked(view.payload()).filter(|_| is_ipv4)?;
        let mtu = usize::from(mtu);
        let end = usize::from(packet.offset()) * FRAGMENT_UNIT + packet.payload().len();
        let room = MIN_HEADER + packet.options().len() + FRAGMENT_UNIT;
        if packet.dont_fragment() || mtu < room || end > usize::from(u16::MAX) {
            return None;
        }
        Some(Self {
            link,
            packet,
            copied: Ipv4Options::copied(packet.options()),
            mtu,
            done: 0,
        })
    }

    /// Returns the payload of the next fragment behind `options`, and true if more follows.
    fn next_piece(&self, options: &[u8]) -> Option<(&'a [u8], bool)> {
        let rest = self.packet.payload().get(self.done..)?;
        let room = self.mtu.checked_sub(MIN_HEADER + options.len())?;
        if rest.len() <= room {
            return Some((rest, false));
        }
        let piece = rest.get(..room - room % FRAGMENT_UNIT)?;
        Some((piece, true))
    }
}

impl Iterator for Fragments<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let first = self.done == 0;
        if !first && self.done >= self.packet.payload().len() {
            return None;
        }
        let options = if first {
            self.packet.options()
        } else {
            self.copied.as_slice()
        };
        let (piece, more) = self.next_piece(options)?;
        let header_len = MIN_HEADER + options.len();
        let total = u16::try_from(header_len + piece.len()).ok()?;
        let words = u8::try_from(header_len / 4).ok()?;
        let offset = u16::try_from(self.done / FRAGMENT_UNIT).ok()?;
        let mut header = *self.packet.fixed();
        header[0] = 0x40 | words;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        // Offset and MF continue those of the packet, which may be a fragment itself; both were checked in `new`.
        let more = if more { MORE_FRAGMENTS } else { 0 };
        let flags = u16::from_be_bytes([header[6], header[7]]).saturating_add(offset) | more;
        header[6..8].copy_from_slice(&flags.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum_of(&[&header, options]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        // An empty packet gives one fragment.
        self.done += piece.len().max(1);
        Some([self.link, &header, options, piece].concat())
    }
}

impl Ipv4Options {
    /// Returns the options in `all` whose copied bit is set, up to the first malformed one.
    fn copied(all: &[u8]) -> Self {
        let mut copied = Self {
            bytes: [0; MAX_OPTIONS],
            len: 0,
        };
        let mut rest = all;
        while let Some((&kind, tail)) = rest.split_first() {
            let len = match kind {
                END_OF_OPTIONS => break,
                NO_OPERATION => {
                    rest = tail;
                    continue;
                }
                _ => tail.first().map_or(0, |len| usize::from(*len)),
            };
            let Some((option, tail)) = rest.split_at_checked(len).filter(|_| len >= 2) else {
                break;
            };
            if kind & COPIED != 0 {
                copied.push(option);
            }
            rest = tail;
        }
        copied.len = copied.len.next_multiple_of(4);
        copied
    }

    fn push(&mut self, option: &[u8]) {
        let end = self.len + option.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(option);
            self.len = end;
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "ipv4_fragment_tests.rs"]
mod tests;
