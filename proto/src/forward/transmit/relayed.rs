//! Datagrams that this router relayed lately; each is relayed at most once, so that a routing loop ends.

use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::forward::duplicates::{Duplicates, RecentMessages};
use crate::forward::lock;
use crate::ids::{PeerId, SessionIndex};
use crate::time::Instant;
use crate::wire::datagram::Header;

/// Windows of relayed datagrams by destination and receiver index, and digests of relayed handshake messages.
#[derive(Debug)]
pub(super) struct RelayHistory {
    datagrams: Mutex<Duplicates<(PeerId, SessionIndex)>>,
    handshakes: Mutex<RecentMessages>,
}

impl RelayHistory {
    pub(super) fn new() -> Self {
        Self {
            datagrams: Mutex::new(Duplicates::new()),
            handshakes: Mutex::new(RecentMessages::default()),
        }
    }

    /// Records that the datagram `inner`, with this header, is relayed to `destination`. Returns false if it was
    /// relayed before.
    pub(super) fn is_fresh(
        &self,
        destination: PeerId,
        header: &Header,
        inner: &[u8],
        now: Instant,
    ) -> bool {
        if header.kind.is_handshake() {
            let digest: [u8; 32] = Sha256::new()
                .chain_update(destination.0)
                .chain_update(inner)
                .finalize()
                .into();
            return lock(&self.handshakes).is_fresh(digest);
        }
        let stream = (destination, header.receiver);
        lock(&self.datagrams).is_fresh(stream, 0, header.counter, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::datagram::Kind;

    const A: PeerId = PeerId([1; 16]);
    const B: PeerId = PeerId([2; 16]);
    const T0: Instant = Instant::from_nanos(0);

    fn header(kind: Kind, counter: u64) -> Header {
        Header {
            kind,
            hop_limit: 16,
            label: crate::network::NetworkLabel::DEFAULT,
            receiver: SessionIndex(7),
            counter,
        }
    }

    #[test]
    fn a_datagram_is_relayed_once_to_each_destination() {
        let history = RelayHistory::new();
        let data = header(Kind::Data, 5);
        assert!(history.is_fresh(A, &data, b"any", T0));
        assert!(!history.is_fresh(A, &data, b"any", T0));
        assert!(history.is_fresh(B, &data, b"any", T0));
        assert!(history.is_fresh(A, &header(Kind::Data, 6), b"any", T0));
    }

    #[test]
    fn handshake_messages_are_known_by_their_bytes() {
        let history = RelayHistory::new();
        let init = header(Kind::Init, 5);
        assert!(history.is_fresh(A, &init, b"one", T0));
        assert!(history.is_fresh(A, &init, b"other", T0));
        assert!(!history.is_fresh(A, &init, b"one", T0));
        assert!(history.is_fresh(B, &init, b"one", T0));
    }
}
