//! Bytes on the wire: IPv4, UDP and TCP headers, acknowledgements and retransmissions included.

use std::collections::BTreeMap;

use mesh_proto::wire::datagram::{Header, Kind};

/// IPv4 and UDP headers of a datagram.
const UDP: u64 = 28;
/// IPv4 and TCP headers with timestamps of a segment; also the length of a bare acknowledgement.
pub(crate) const TCP: u64 = 52;
/// Further bytes of options in a SYN.
const SYN_OPTIONS: u64 = 8;
/// Length from which a probe is one of the path MTU.
const LONG_PROBE: usize = 500;
/// Payload of a full segment on Ethernet, with timestamps.
pub(crate) const SEGMENT: usize = 1448;

/// Bytes sent by one router, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    by_kind: BTreeMap<&'static str, u64>,
}

impl Bytes {
    pub(crate) fn add(&mut self, kind: &'static str, bytes: u64) {
        *self.by_kind.entry(kind).or_default() += bytes;
    }

    pub(crate) fn datagram(&mut self, bytes: &[u8]) {
        self.add(kind(bytes), bytes.len() as u64 + UDP);
    }

    pub(crate) fn first_segment(&mut self) {
        self.add("tcp: open and close", TCP + SYN_OPTIONS);
    }

    pub(crate) fn last_segment(&mut self) {
        self.add("tcp: open and close", TCP);
    }

    /// Counts one write to a connection; `lost` of its segments are sent twice.
    pub(crate) fn written(&mut self, bytes: usize, lost: usize) {
        let segments = segments(bytes) as u64;
        self.add("tcp: payload", bytes as u64);
        self.add("tcp: headers", segments * TCP);
        let again = lost.min(1) * bytes.min(SEGMENT);
        self.add("tcp: sent again", again as u64 + lost as u64 * TCP);
    }

    pub(crate) fn acknowledged(&mut self, times: u64) {
        self.add("tcp: bare acknowledgements", times * TCP);
    }

    pub(crate) fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, bytes) in &other.by_kind {
            self.add(kind, *bytes);
        }
    }

    /// Returns the bytes sent since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let left = |(kind, bytes): (&&'static str, &u64)| {
            let before = earlier.by_kind.get(kind).copied().unwrap_or(0);
            (*kind, bytes.saturating_sub(before))
        };
        Self {
            by_kind: self.by_kind.iter().map(left).collect(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.by_kind.iter().map(|(kind, bytes)| (*kind, *bytes))
    }
}

/// Returns the number of segments of a write.
pub(crate) fn segments(bytes: usize) -> usize {
    bytes.div_ceil(SEGMENT)
}

fn kind(datagram: &[u8]) -> &'static str {
    match Header::parse(datagram).map(|h| h.kind) {
        Ok(Kind::Probe) if datagram.len() >= LONG_PROBE => "udp: probes of a size",
        Ok(Kind::Probe) => "udp: probes",
        Ok(Kind::Init | Kind::Response | Kind::Cookie) => "udp: session handshakes",
        Ok(Kind::Data) => "udp: frames",
        Ok(Kind::Relay) => "udp: relayed",
        Ok(Kind::Flood) => "udp: broadcasts",
        _ => "udp: other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_repetitions_count() {
        let mut bytes = Bytes::default();
        bytes.written(SEGMENT + 1, 0);
        assert_eq!(bytes.total(), 1449 + 2 * 52);
        let before = bytes.clone();
        bytes.written(10, 1);
        bytes.acknowledged(1);
        assert_eq!(bytes.since(&before).total(), 62 + 62 + 52);
        bytes.datagram(&[0; 10]);
        assert_eq!(
            bytes.iter().find(|(k, _)| *k == "udp: other").unwrap().1,
            38
        );
    }
}
