//! I4: no router forwards a relayed datagram or a broadcast twice.

use std::collections::HashSet;

use mesh_proto::wire::datagram::{HEADER_LEN, Header, Kind, TAG_LEN, split_relay};

use super::{Check, Violation};
use crate::sim::frames::FrameId;
use crate::sim::network::HostId;

const NAME: &str = "I4 forward once";

/// Identity of a relayed datagram: destination, receiver index and counter of the inner datagram.
pub(crate) type RelayKey = ([u8; 16], u32, u64);

/// All forwarded datagrams and broadcasts.
#[derive(Debug, Default)]
pub(crate) struct ForwardOnce {
    relays: HashSet<(HostId, RelayKey)>,
    broadcasts: HashSet<(HostId, u64, FrameId)>,
}

impl ForwardOnce {
    /// Checks a datagram that a router sends.
    pub(crate) fn sent(&mut self, from: HostId, datagram: &[u8]) -> Check {
        if let Some(key) = relay_key(datagram)
            && !self.relays.insert((from, key))
        {
            let detail = format!("router {from} relayed {key:?} twice");
            return Err(Violation::new(NAME, detail));
        }
        Ok(())
    }

    /// Checks a received broadcast that a router's process forwards.
    pub(crate) fn flooded(&mut self, by: HostId, incarnation: u64, frame: FrameId) -> Check {
        if self.broadcasts.insert((by, incarnation, frame)) {
            return Ok(());
        }
        let detail = format!("router {by} forwarded broadcast {frame} twice");
        Err(Violation::new(NAME, detail))
    }
}

/// Returns the key of a relayed datagram with data; `None` for any other.
pub(crate) fn relay_key(datagram: &[u8]) -> Option<RelayKey> {
    let header = Header::parse(datagram).ok()?;
    if header.kind != Kind::Relay {
        return None;
    }
    let clear = datagram.get(HEADER_LEN..datagram.len().saturating_sub(TAG_LEN))?;
    let (to, inner) = split_relay(clear)?;
    let inner = Header::parse(inner).ok()?;
    (!inner.kind.is_handshake()).then_some((to.0, inner.receiver.0, inner.counter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_proto::ids::SessionIndex;
    use mesh_proto::network::NetworkLabel;

    fn relay(outer: u64, inner: u64) -> Vec<u8> {
        let header = |kind, counter| Header {
            kind,
            hop_limit: 3,
            label: NetworkLabel::DEFAULT,
            receiver: SessionIndex(1),
            counter,
        };
        let mut out = header(Kind::Relay, outer).encode().to_vec();
        out.extend_from_slice(&[5; 16]);
        out.extend_from_slice(&header(Kind::Data, inner).encode());
        out.extend_from_slice(&[0; 2 * TAG_LEN]);
        out
    }

    #[test]
    fn one_inner_datagram_passes_a_router_once() {
        let mut forwarded = ForwardOnce::default();
        assert!(forwarded.sent(1, &relay(1, 1)).is_ok());
        assert!(forwarded.sent(1, &relay(2, 2)).is_ok());
        assert!(forwarded.sent(2, &relay(1, 1)).is_ok());
        assert!(forwarded.sent(1, &relay(3, 1)).is_err());
    }

    #[test]
    fn one_broadcast_leaves_a_router_once_per_start() {
        let mut forwarded = ForwardOnce::default();
        assert!(forwarded.flooded(1, 1, 7).is_ok());
        assert!(forwarded.flooded(1, 2, 7).is_ok());
        assert!(forwarded.flooded(1, 1, 7).is_err());
    }
}
