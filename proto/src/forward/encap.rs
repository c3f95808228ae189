//! A datagram to one peer while it is built: sent directly, or encapsulated in a Relay datagram for the next hop.

use core::net::SocketAddr;

use super::snapshot::{FirstHop, Snapshot, Unreachable};
use super::{Forwarder, Outgoing};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::session::transport::{DeadKey, Draft, Transport};
use crate::time::Instant;
use crate::wire::datagram::{HEADER_LEN, Kind, RELAY_OVERHEAD};

/// Encapsulation of the end-to-end datagram at the end of an [`Outgoing`].
pub(super) struct Encap<'s> {
    peer: PeerId,
    address: SocketAddr,
    /// Longest end-to-end datagram that fits the path without fragmentation, in bytes.
    room: usize,
    start: usize,
    relay: Option<Relay<'s>>,
}

struct Relay<'s> {
    transport: &'s Transport,
    draft: Draft,
    inner: usize,
}

impl<'s> Encap<'s> {
    /// Begins a datagram to `peer` on its current path; the caller appends the end-to-end datagram to the buffer.
    pub(super) fn begin(
        snap: &'s Snapshot,
        peer: PeerId,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<Self, Unreachable> {
        let start = out.end();
        let first_hop = snap.first_hop(peer, now)?;
        let (address, room, relay) = match first_hop {
            FirstHop::Direct(address, datagram) => (address, datagram, None),
            FirstHop::Relay(hop) => {
                let buffer = out.buffer();
                let draft = hop.transport.begin(Kind::Relay, MAX_HOPS, buffer);
                buffer.extend_from_slice(&peer.0);
                let inner = buffer.len();
                let transport = hop.transport;
                let relay = Relay {
                    transport,
                    draft,
                    inner,
                };
                let room = hop.datagram.saturating_sub(RELAY_OVERHEAD);
                (hop.address, room, Some(relay))
            }
        };
        Ok(Self {
            peer,
            address,
            room,
            start,
            relay,
        })
    }

    /// Returns the longest end-to-end datagram that fits the path without fragmentation, in bytes.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Completes and sends the datagram.
    ///
    /// # Errors
    /// [`DeadKey`] if the keys of the next hop are exhausted or expired; the buffer is then as before.
    pub(super) fn send(
        self,
        forwarder: &Forwarder,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), DeadKey> {
        if let Some(relay) = self.relay {
            let buffer = out.buffer();
            let inner = buffer.get(relay.inner..).unwrap_or_default();
            // Recorded as relayed, so that a routing loop that leads back here ends here.
            forwarder.is_first_passage(self.peer, inner, now);
            let clear_len = buffer.len() - self.start - HEADER_LEN;
            let sealed = relay.transport.finish(relay.draft, clear_len, now, buffer);
            if sealed.is_err() {
                buffer.truncate(self.start);
            }
            sealed?;
        }
        out.commit(self.address, self.start);
        Ok(())
    }

    /// Removes the datagram from the buffer.
    pub(super) fn abandon(self, out: &mut Outgoing) {
        out.buffer().truncate(self.start);
    }
}
