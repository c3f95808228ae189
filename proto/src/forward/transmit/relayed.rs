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
