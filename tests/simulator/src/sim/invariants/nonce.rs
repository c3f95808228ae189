//! I9: per sender and receiver index, no counter is used for two different datagrams.

use std::collections::HashMap;

use mesh_proto::limits::MAX_HOPS;
use mesh_proto::wire::datagram::{HEADER_LEN, Header, Kind, TAG_LEN, split_relay};

use super::{Check, Violation};
use crate::sim::network::HostId;
use crate::sim::trace::fingerprint;

const NAME: &str = "I9 nonce";

/// All sealed datagrams, by key and counter.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    /// Datagrams by sender and receiver index: of hop sessions, and of direct end-to-end sessions.
    seen: HashMap<(HostId, u32, u64), u64>,
    /// End-to-end datagrams in envelopes, by destination: the sender is not visible in them.
    inner: HashMap<([u8; 16], u32, u64), u64>,
}

impl Nonces {
    /// Checks a datagram that a router sends.
    pub(crate) fn sent(&mut self, from: HostId, datagram: &[u8]) -> Check {
        let Ok(header) = Header::parse(datagram) else {
            return Ok(());
        };
        if header.kind.is_handshake() {
            return Ok(());
        }
        let key = (from, header.receiver.0, header.counter);
        let print = fingerprint(datagram);
        if *self.seen.entry(key).or_insert(print) != print {
            return Err(Violation::new(NAME, format!("router {from}: {header:?}")));
        }
        // Only at the first hop: later, the ciphertext may have been damaged, which relays leave to the receiver.
        if header.kind == Kind::Relay && header.hop_limit == MAX_HOPS {
            return self.inner(datagram);
        }
        Ok(())
    }

    fn inner(&mut self, datagram: &[u8]) -> Check {
        let clear = datagram.get(HEADER_LEN..datagram.len().saturating_sub(TAG_LEN));
        let Some((to, inner)) = clear.and_then(split_relay) else {
            return Ok(());
        };
        let Ok(header) = Header::parse(inner) else {
            return Ok(());
        };
        if header.kind.is_handshake() {
            return Ok(());
        }
        let key = (to.0, header.receiver.0, header.counter);
        let print = fingerprint(inner);
        if *self.inner.entry(key).or_insert(print) != print {
            return Err(Violation::new(NAME, format!("relayed to {to}: {header:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_proto::ids::SessionIndex;
    use mesh_proto::network::NetworkLabel;

    fn datagram(kind: Kind, counter: u64, body: &[u8]) -> Vec<u8> {
        let header = Header {
            kind,
            hop_limit: MAX_HOPS,
            label: NetworkLabel::DEFAULT,
            receiver: SessionIndex(7),
            counter,
        };
        let mut out = header.encode().to_vec();
        out.extend_from_slice(body);
        out.extend_from_slice(&[0; TAG_LEN]);
        out
    }

    #[test]
    fn a_counter_may_not_carry_two_bodies() {
        let mut nonces = Nonces::default();
        assert!(nonces.sent(0, &datagram(Kind::Data, 1, b"a")).is_ok());
        assert!(nonces.sent(0, &datagram(Kind::Data, 2, b"b")).is_ok());
        assert!(nonces.sent(1, &datagram(Kind::Data, 1, b"b")).is_ok());
        assert!(nonces.sent(0, &datagram(Kind::Data, 1, b"a")).is_ok());
        assert!(nonces.sent(0, &datagram(Kind::Data, 1, b"b")).is_err());
    }

    #[test]
    fn nor_may_one_inside_an_envelope() {
        let mut nonces = Nonces::default();
        let relay = |counter, inner: &[u8]| {
            let mut body = vec![9; 16];
            body.extend_from_slice(inner);
            datagram(Kind::Relay, counter, &body)
        };
        let first = datagram(Kind::Data, 1, b"a");
        assert!(nonces.sent(0, &relay(1, &first)).is_ok());
        assert!(nonces.sent(3, &relay(8, &first)).is_ok());
        let second = datagram(Kind::Data, 1, b"b");
        let mut passed_on = relay(9, &second);
        passed_on[1] -= 1;
        assert!(nonces.sent(3, &passed_on).is_ok(), "damaged on its way");
        assert!(nonces.sent(0, &relay(2, &second)).is_err());
    }
}
