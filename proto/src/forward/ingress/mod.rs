//! Ingress: datagrams from other routers to the local port, and on to further routers.

mod authenticate;
mod deliver;
mod flood;
mod network_flood;
mod relay;

use core::net::SocketAddr;
use std::sync::Mutex;

use self::authenticate::Authenticator;
use self::deliver::deliver;
use self::flood::FloodHistory;
use self::relay::Passage;
use super::lane::LaneNetwork;
use super::transmit::Transmitter;
use super::{Counter, Counters, DropReason, LaneEvent, Via, lock};
use crate::fdb::Owner;
use crate::fragment::{Fragment, Reassembled, Reassembly};
use crate::ids::PeerId;
use crate::limits::{MAX_DATAGRAM, MAX_HANDSHAKE};
use crate::network::NetworkLabel;
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

    /// Processes one datagram received from address `from`; it is decrypted in place. `default` is the network of
    /// frames without a label.
    pub(super) fn receive<'a>(
        &'a self,
        default: LaneNetwork<'a>,
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
            default,
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
    default: LaneNetwork<'a>,
    tx: Transmitter<'a>,
}

impl Reception<'_> {
    fn datagram_in(&mut self, via: Via, datagram: Datagram<'_>) {
        match datagram.header().kind {
            Kind::Relay => self.relay_in(via, datagram),
            Kind::Flood | Kind::NetworkFlood => self.flood_in(via, datagram),
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
            let from = (sender, opened.header.hop_limit);
            self.flooded(opened.header.kind, from, opened.body);
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
            Kind::Data => self.data_in(peer, header.label, opened.body),
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
        // Relay and floods are hop by hop: the neighbour itself fragments them, so they never arrive relayed, and have
        // no label.
        let is_allowed = |fragment: &Fragment<'_>| {
            fragment.kind == Kind::Data
                || (matches!(via, Via::Direct(_)) && header.label.is_default())
        };
        let Some(fragment) = Fragment::decode(body).filter(is_allowed) else {
            self.drop(DropReason::Malformed);
            return;
        };
        let now = self.tx.view().now;
        let (session, label) = (header.receiver, header.label);
        let pushed = lock(&self.pipeline.reassembly).push(session, label, &fragment, now);
        let (kind, mut content) = match pushed {
            Ok(None) => return,
            Ok(Some(Reassembled { kind, content })) => (kind, content),
            Err(_) => return self.drop(DropReason::FragmentRefused),
        };
        self.tx.view().counters.count(Counter::DatagramsReassembled);
        match kind {
            Kind::Relay => self.relayed((sender, header.hop_limit), &mut content),
            Kind::Flood | Kind::NetworkFlood => {
                self.flooded(kind, (sender, header.hop_limit), &content);
            }
            _ => self.data_in(sender, label, &content),
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

    /// Processes the body of Data that `peer` sealed for this router: delivers its frames in the network to which this
    /// router assigned the label, if the peer announces members there.
    fn data_in(&mut self, peer: PeerId, label: NetworkLabel, body: &[u8]) {
        let network = match label.is_default() {
            true => Some(self.default),
            false => self.tx.view().labelled(label),
        };
        match network {
            None => self.drop(DropReason::UnknownLabel),
            Some(network) if !network.has_member(peer) => self.drop(DropReason::NotMember),
            Some(network) => deliver(network, &mut self.tx, Owner::Peer(peer), body),
        }
    }

    /// Processes the content of a neighbour's Flood or NetworkFlood datagram: delivers it to the local port and
    /// forwards it down the tree.
    fn flooded(&mut self, kind: Kind, from: (PeerId, u8), body: &[u8]) {
        let floods = &self.pipeline.floods;
        if kind == Kind::NetworkFlood {
            network_flood::take(floods, &mut self.tx, from, body);
            return;
        }
        match floods.admit(self.tx.view(), body) {
            Ok((origin, frames)) => {
                deliver(self.default, &mut self.tx, Owner::Peer(origin), frames);
                flood::forward(&mut self.tx, (kind, origin), from, body);
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn drop(&self, reason: DropReason) {
        self.tx.view().counters.drop(reason);
    }
}
