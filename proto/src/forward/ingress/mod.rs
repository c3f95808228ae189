//! Ingress: datagrams from other routers to the local port, and on to further routers.

mod authenticate;
mod deliver;
mod flood;
mod relay;

use core::net::SocketAddr;
use std::sync::Mutex;

use self::authenticate::Authenticator;
use self::deliver::deliver;
use self::flood::FloodHistory;
use self::relay::Passage;
use super::bridge::BridgeTables;
use super::transmit::Transmitter;
use super::{Counter, Counters, DropReason, LaneEvent, Via, lock};
use crate::fdb::Owner;
use crate::fragment::{Fragment, Reassembled, Reassembly};
use crate::ids::PeerId;
use crate::limits::{MAX_DATAGRAM, MAX_HANDSHAKE};
use crate::time::Instant;
use crate::wire::datagram::{Datagram, HEADER_LEN, Header, Kind, TAG_LEN};

/// State of ingress, shared by all lanes.
#[derive(Debug)]
pub(super) struct IngressPipeline {
    authenticator: Authenticator,
    floods: FloodHistory,
    reassembly: Mutex<Reassembly>,
}

impl IngressPipeline {
    pub(super) fn new() -> Self {
        Self {
            authenticator: Authenticator::new(),
            floods: FloodHistory::new(),
            reassembly: Mutex::default(),
        }
    }

    /// Processes one datagram received from address `from`; it is decrypted in place.
    pub(super) fn receive<'a>(
        &'a self,
        tables: &'a BridgeTables,
        tx: Transmitter<'a>,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        let fits = bytes.len() <= MAX_DATAGRAM;
        let Some(datagram) = Datagram::parse(bytes).ok().filter(|_| fits) else {
            tx.view().counters.drop(DropReason::Malformed);
            return;
        };
        let mut reception = Reception {
            pipeline: self,
            tables,
            tx,
        };
        reception.datagram_in(Via::Direct(from), datagram);
    }

    /// Drops incomplete datagrams whose fragments did not arrive in time.
    pub(super) fn sweep(&self, counters: &Counters, now: Instant) {
        let mut reassembly = lock(&self.reassembly);
        reassembly.expire(now);
        counters.drop_many(DropReason::FragmentLost, reassembly.take_lost());
    }

    /// Returns the number of incomplete datagrams in reassembly, and the bytes of their fragments.
    pub(super) fn partials(&self) -> (usize, usize) {
        let reassembly = lock(&self.reassembly);
        (reassembly.len(), reassembly.bytes())
    }
}

/// Context of one received datagram.
struct Reception<'a> {
    pipeline: &'a IngressPipeline,
    tables: &'a BridgeTables,
    tx: Transmitter<'a>,
}

impl Reception<'_> {
    fn datagram_in(&mut self, via: Via, datagram: Datagram<'_>) {
        match datagram.header().kind {
            Kind::Relay => self.relay_in(via, datagram),
            Kind::Flood => self.flood_in(via, datagram),
            _ => self.end_to_end_in(via, datagram),
        }
    }

    fn relay_in(&mut self, via: Via, datagram: Datagram<'_>) {
        let Some(clear_len) = datagram.bytes().len().checked_sub(HEADER_LEN + TAG_LEN) else {
            self.drop(DropReason::Malformed);
            return;
        };
        let authenticator = &self.pipeline.authenticator;
        if let Some((sender, opened)) = authenticator.open(&mut self.tx, via, datagram, clear_len) {
            self.relayed((sender, opened.header.hop_limit), opened.clear);
        }
    }

    fn flood_in(&mut self, via: Via, datagram: Datagram<'_>) {
        let authenticator = &self.pipeline.authenticator;
        if let Some((sender, opened)) = authenticator.open(&mut self.tx, via, datagram, 0) {
            self.flooded((sender, opened.header.hop_limit), opened.body);
        }
    }

    /// Processes a datagram that is addressed to this router, received directly or relayed.
    fn end_to_end_in(&mut self, via: Via, datagram: Datagram<'_>) {
        let header = datagram.header();
        if header.kind.is_handshake() {
            self.handshake_in(via, datagram.bytes());
            return;
        }
        let authenticator = &self.pipeline.authenticator;
        let Some((peer, opened)) = authenticator.open(&mut self.tx, via, datagram, 0) else {
            return;
        };
        match header.kind {
            Kind::Data => self.deliver(Owner::Peer(peer), opened.body),
            Kind::Fragment => self.fragment_in(via, peer, header, opened.body),
            Kind::Probe => self.tx.out().event(LaneEvent::Probe {
                peer,
                via,
                index: header.receiver,
                body: opened.body.to_vec(),
            }),
            _ => self.drop(DropReason::Malformed),
        }
    }

    fn handshake_in(&mut self, via: Via, datagram: &[u8]) {
        if datagram.len() > MAX_HANDSHAKE {
            self.drop(DropReason::Malformed);
            return;
        }
        self.tx.out().event(LaneEvent::Handshake {
            via,
            bytes: datagram.to_vec(),
        });
    }

    /// Takes an authenticated fragment; once all fragments are there, processes the reassembled datagram.
    fn fragment_in(&mut self, via: Via, sender: PeerId, header: Header, body: &[u8]) {
        // Relay and Flood are hop by hop: the neighbour itself fragments them, so they never arrive relayed.
        let is_allowed =
            |fragment: &Fragment<'_>| fragment.kind == Kind::Data || matches!(via, Via::Direct(_));
        let Some(fragment) = Fragment::decode(body).filter(is_allowed) else {
            self.drop(DropReason::Malformed);
            return;
        };
        let now = self.tx.view().now;
        let pushed = lock(&self.pipeline.reassembly).push(header.receiver, &fragment, now);
        let (kind, mut content) = match pushed {
            Ok(None) => return,
            Ok(Some(Reassembled { kind, content })) => (kind, content),
            Err(_) => return self.drop(DropReason::FragmentRefused),
        };
        self.tx.view().counters.count(Counter::DatagramsReassembled);
        match kind {
            Kind::Relay => self.relayed((sender, header.hop_limit), &mut content),
            Kind::Flood => self.flooded((sender, header.hop_limit), &content),
            _ => self.deliver(Owner::Peer(sender), &content),
        }
    }

    /// Processes the content of a neighbour's Relay datagram: opens the inner datagram if it is for this router, and
    /// forwards it otherwise.
    fn relayed(&mut self, (sender, hop_limit): (PeerId, u8), content: &mut [u8]) {
        let Some((destination, inner)) = relay::split(content) else {
            self.drop(DropReason::Malformed);
            return;
        };
        if destination == self.tx.view().snapshot.me {
            self.end_to_end_in(Via::Relay(sender), inner);
            return;
        }
        let passage = Passage {
            sender,
            hop_limit,
            destination,
            inner: inner.header(),
        };
        relay::forward(&mut self.tx, &passage, content);
    }

    /// Processes the content of a neighbour's Flood datagram: delivers it to the local port and forwards it down the
    /// tree.
    fn flooded(&mut self, from: (PeerId, u8), body: &[u8]) {
        match self.pipeline.floods.admit(self.tx.view(), body) {
            Ok((origin, frames)) => {
                self.deliver(Owner::Peer(origin), frames);
                flood::forward(&mut self.tx, origin, from, body);
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn deliver(&mut self, owner: Owner, body: &[u8]) {
        deliver(self.tables, &mut self.tx, owner, body);
    }

    fn drop(&self, reason: DropReason) {
        self.tx.view().counters.drop(reason);
    }
}
