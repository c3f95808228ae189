//! Relaying: encapsulation at the first router, and forwarding by the routers on the way.

use sha2::{Digest, Sha256};

use super::arrival::{Arrival, SEALED, SendError};
use super::encap::Encap;
use super::snapshot::{NextHop, Snapshot, Unreachable};
use super::{Counter, DropReason, Forwarder, Outbox, Via, lock};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::session::transport::DeadKey;
use crate::time::Instant;
use crate::wire::datagram::{HEADER_LEN, Header, Kind, PEER_ID_LEN, TAG_LEN, split_relay};

impl Forwarder {
    /// Sends a complete datagram, such as a handshake message, to `peer`, directly or through the next hop.
    ///
    /// # Errors
    /// [`SendError`] if there is no path, or if `datagram` is of a kind that goes hop by hop.
    pub fn send_to_peer(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        datagram: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        if !is_end_to_end(datagram) {
            return Err(SendError::Malformed);
        }
        self.dispatch(snap, peer, now, out, |buffer| {
            buffer.extend_from_slice(datagram);
            Ok(())
        })
    }

    /// Sends the datagram that `fill` appends, directly or encapsulated.
    pub(super) fn dispatch(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        now: Instant,
        out: &mut dyn Outbox,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), DeadKey>,
    ) -> Result<(), SendError> {
        let outgoing = out.outgoing();
        let encap = Encap::begin(snap, peer, now, outgoing)?;
        if let Err(error) = fill(outgoing.buffer()) {
            encap.abandon(outgoing);
            return Err(error.into());
        }
        encap.send(self, now, outgoing)?;
        Ok(())
    }

    /// Processes a Relay datagram: opens the inner datagram if it is for this router, and forwards it otherwise.
    pub(super) fn relay_in(
        &self,
        snap: &Snapshot,
        arrival: Arrival,
        datagram: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let Some(clear_len) = datagram.len().checked_sub(HEADER_LEN + TAG_LEN) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        let Some((sender, opened)) = self.open(snap, arrival, datagram, clear_len, now, out) else {
            return;
        };
        let hop_limit = opened.header.hop_limit;
        if let Some(clear) = datagram.get_mut(HEADER_LEN..HEADER_LEN + clear_len) {
            self.relayed(snap, (sender, hop_limit), clear, now, out);
        }
    }

    /// Processes the content of a neighbour's Relay datagram: the destination and the inner datagram.
    pub(super) fn relayed(
        &self,
        snap: &Snapshot,
        (sender, hop_limit): (PeerId, u8),
        clear: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let Some((destination, inner)) =
            split_relay(clear).filter(|(_, inner)| is_end_to_end(inner))
        else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        if destination != snap.me {
            match self.next_hop(snap, sender, destination, hop_limit, inner, now) {
                Ok((hop, hops)) => self.pass_on(hop, hops, clear, now, out),
                Err(PassError::Drop(reason)) => self.counters.drop(reason),
                Err(PassError::Unreachable(why)) => self.undelivered(why.into(), now, out),
            }
            return;
        }
        if let Some(inner) = clear.get_mut(PEER_ID_LEN..) {
            self.end_to_end_in(snap, Via::Relay(sender), inner, now, out);
        }
    }

    fn next_hop<'s>(
        &self,
        snap: &'s Snapshot,
        sender: PeerId,
        destination: PeerId,
        hop_limit: u8,
        inner: &[u8],
        now: Instant,
    ) -> Result<(NextHop<'s>, u8), PassError> {
        let hops = hop_limit
            .min(MAX_HOPS)
            .checked_sub(1)
            .ok_or(PassError::Drop(DropReason::HopLimit))?;
        let hop = snap
            .next_hop(destination, now)
            .map_err(PassError::Unreachable)?;
        if hop.peer == sender {
            return Err(PassError::Drop(DropReason::RelayBack));
        }
        if !self.is_first_passage(destination, inner, now) {
            return Err(PassError::Drop(DropReason::RelayDuplicate));
        }
        Ok((hop, hops))
    }

    fn pass_on(
        &self,
        hop: NextHop<'_>,
        hops: u8,
        clear: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let outgoing = out.outgoing();
        let sent = if SEALED + clear.len() > hop.datagram {
            self.send_hop_fragmented(hop, (Kind::Relay, hops), clear, now, outgoing)
        } else {
            let start = outgoing.end();
            let buffer = outgoing.buffer();
            let sealed = hop
                .transport
                .seal(Kind::Relay, hops, clear, &[], now, buffer);
            sealed
                .map(|()| outgoing.commit(hop.address, start))
                .map_err(SendError::from)
        };
        match sent {
            Ok(()) => self.counters.count(Counter::Relayed),
            Err(error) => self.undelivered(error, now, out),
        }
    }

    /// Records that `inner` is relayed to `destination`. Returns false if it was relayed before.
    pub(super) fn is_first_passage(&self, destination: PeerId, inner: &[u8], now: Instant) -> bool {
        let Ok(header) = Header::parse(inner) else {
            return false;
        };
        if header.kind.is_handshake() {
            let digest: [u8; 32] = Sha256::new()
                .chain_update(destination.0)
                .chain_update(inner)
                .finalize()
                .into();
            return lock(&self.relayed_handshakes).is_fresh(digest);
        }
        let stream = (destination, header.receiver);
        lock(&self.relay_seen).is_fresh(stream, 0, header.counter, now)
    }
}

enum PassError {
    Drop(DropReason),
    Unreachable(Unreachable),
}

/// Returns true if `datagram` is of a kind that two routers exchange end to end.
fn is_end_to_end(datagram: &[u8]) -> bool {
    Header::parse(datagram).is_ok_and(|h| {
        h.kind.is_handshake() || matches!(h.kind, Kind::Data | Kind::Probe | Kind::Fragment)
    })
}
