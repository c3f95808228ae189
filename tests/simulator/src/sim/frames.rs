//! Frames of containers: each has a unique number, and a marker that must never be visible outside.

use std::net::Ipv4Addr;

use mesh_proto::ids::Mac;

use super::network::HostId;
use super::offloads::{self, SegmentFlow};

/// Marker in every frame, which must not appear on any wire.
pub(crate) const MARKER: &[u8; 16] = b"\xf7cleartext-frame";

/// Unique number of a frame.
pub(crate) type FrameId = u64;

const ETHERNET: usize = 14;
const ARP: usize = 28;
/// IEEE 802 local experimental EtherType.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
pub(crate) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];

/// Source of frames: the interface of a container.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) ip: Ipv4Addr,
    pub(crate) mac: Mac,
}

/// A frame that was sent.
#[derive(Clone, Debug)]
pub(crate) struct SentFrame {
    pub(crate) from: HostId,
    pub(crate) bytes: Vec<u8>,
}

/// All frames sent by containers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By number.
    sent: Vec<SentFrame>,
}

impl Ledger {
    /// Returns a frame of at least `size` bytes, recorded as sent.
    pub(crate) fn frame(
        &mut self,
        from: HostId,
        source: Mac,
        to: Mac,
        size: usize,
    ) -> (FrameId, Vec<u8>) {
        let mut bytes = ethernet(source, to, ETHERTYPE);
        self.finish(&mut bytes, size);
        self.note(from, bytes)
    }

    /// Returns a gratuitous ARP announcement (RFC 5227) with its number in the padding.
    pub(crate) fn announcement(
        &mut self,
        from: HostId,
        source: Mac,
        ip: [u8; 4],
    ) -> (FrameId, Vec<u8>) {
        self.arp(from, (source, ip), ip)
    }

    /// Returns an ARP request of a station with its number in the padding.
    pub(crate) fn request(
        &mut self,
        from: HostId,
        source: &Station,
        target: Ipv4Addr,
    ) -> (FrameId, Vec<u8>) {
        self.arp(from, (source.mac, source.ip.octets()), target.octets())
    }

    fn arp(
        &mut self,
        from: HostId,
        (source, ip): (Mac, [u8; 4]),
        target: [u8; 4],
    ) -> (FrameId, Vec<u8>) {
        let mut bytes = ethernet(source, Mac::BROADCAST, ETHERTYPE_ARP);
        bytes.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        bytes.extend_from_slice(&source.0);
        bytes.extend_from_slice(&ip);
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&target);
        self.finish(&mut bytes, 0);
        self.note(from, bytes)
    }

    /// Returns the payloads and frames of `count` TCP segments with at least `size` bytes of payload each, recorded as
    /// sent.
    pub(crate) fn burst(
        &mut self,
        from: HostId,
        pair: &SegmentFlow,
        count: u16,
        size: usize,
    ) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut payloads, mut frames, mut before) = (Vec::new(), Vec::new(), 0);
        for index in 0..count {
            let mut payload = Vec::new();
            self.finish(&mut payload, size);
            let frame = offloads::segment(pair, index, before, &payload);
            frames.push(self.note(from, frame).1);
            before += payload.len();
            payloads.push(payload);
        }
        (payloads, frames)
    }

    fn finish(&self, bytes: &mut Vec<u8>, size: usize) {
        bytes.reserve(size.saturating_sub(bytes.len()) + 2 * MARKER.len());
        bytes.extend_from_slice(MARKER);
        bytes.extend_from_slice(&self.next().to_be_bytes());
        while bytes.len() < size {
            bytes.extend_from_slice(MARKER);
        }
    }

    fn note(&mut self, from: HostId, bytes: Vec<u8>) -> (FrameId, Vec<u8>) {
        let id = self.next();
        let sent = SentFrame {
            from,
            bytes: bytes.clone(),
        };
        self.sent.push(sent);
        (id, bytes)
    }

    /// Returns the number of the next frame.
    fn next(&self) -> FrameId {
        self.sent.len() as FrameId
    }

    pub(crate) fn sent(&self, id: FrameId) -> Option<&SentFrame> {
        self.sent.get(usize::try_from(id).ok()?)
    }

    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }
}

fn ethernet(source: Mac, to: Mac, ethertype: [u8; 2]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80);
    bytes.extend_from_slice(&to.0);
    bytes.extend_from_slice(&source.0);
    bytes.extend_from_slice(&ethertype);
    bytes
}

/// Returns the number of a container's frame; `None` for any other bytes.
pub(crate) fn id_of(frame: &[u8]) -> Option<FrameId> {
    let ethertype = frame.get(12..14)?;
    let skip = if ethertype == ETHERTYPE_ARP {
        ETHERNET + ARP
    } else if ethertype == ETHERTYPE_IPV4 {
        offloads::HEADERS
    } else {
        ETHERNET
    };
    let rest = frame.get(skip..)?.strip_prefix(MARKER)?;
    rest.first_chunk().map(|id| u64::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_known_by_their_number() {
        let mut ledger = Ledger::default();
        let mac = Mac([2; 6]);
        let (a, first) = ledger.frame(0, mac, Mac::BROADCAST, 200);
        let (b, second) = ledger.announcement(0, mac, [10, 0, 0, 1]);
        assert_ne!(a, b);
        assert_eq!(id_of(&first), Some(a));
        assert_eq!(id_of(&second), Some(b));
        assert!(first.len() >= 200);
        assert_eq!(ledger.sent(b).map(|s| &s.bytes), Some(&second));
        for end in 0..38 {
            assert_eq!(id_of(&first[..end]), None);
        }
    }
}
