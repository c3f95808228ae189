//! What the lanes report, and the sessions and direct paths they need.

use std::net::SocketAddr;

use crate::forward::Via as LaneVia;
use crate::forward::{Collected, LaneEvent};
use crate::ids::PeerId;
use crate::limits::{MAX_SESSIONS, SESSION_IDLE};
use crate::session::{Directory, SessionOutput, SessionStatus, Via};
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::wire::datagram::Kind;

use super::probe::Probe;
use super::publish::is_link_local;
use super::{Control, Output};

struct KnownKeys<'a>(&'a Lsdb);

impl Directory for KnownKeys<'_> {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        let body = self.0.identity(peer);
        body.is_some_and(|body| body.dh_key == *dh_key)
    }
}

impl Control {
    /// A lane met something it cannot decide alone.
    pub fn handle_lane(&mut self, event: LaneEvent, now: Instant) {
        match event {
            LaneEvent::NeedSession(peer) => self.want_session(peer, now),
            LaneEvent::Handshake { via, bytes } => self.take_handshake(via, &bytes, now),
            LaneEvent::Confirmed { index, .. } => self.sessions.confirmed(index, now),
            LaneEvent::EndpointSeen { peer, address } => self.endpoint_seen(peer, address, now),
            LaneEvent::Probe {
                peer,
                via: LaneVia::Direct(from),
                body,
                ..
            } => self.take_probe(peer, from, &body, now),
            // A probe tests an underlay path; one that was relayed tests nothing.
            LaneEvent::Probe { .. } => {}
            // The sender will notice the silence, or has begun a handshake already.
            LaneEvent::UnknownIndex { .. } => {}
        }
        self.flush(now);
    }

    fn take_handshake(&mut self, via: LaneVia, bytes: &[u8], now: Instant) {
        let via = match via {
            LaneVia::Direct(from) => Via::Direct(from),
            LaneVia::Relay(_) => Via::Relayed,
        };
        let directory = KnownKeys(self.gossip.lsdb());
        // Refusals are counted where they are found.
        let _ = self
            .sessions
            .handle_datagram(bytes, via, &directory, now, &mut *self.entropy);
    }

    fn want_session(&mut self, peer: PeerId, now: Instant) {
        if self.wanted.len() >= MAX_SESSIONS && !self.wanted.contains_key(&peer) {
            return;
        }
        let Some(dh_key) = self.body_of(&peer).map(|body| body.dh_key) else {
            return;
        };
        self.wanted.insert(peer, now);
        self.suggest_addresses(peer);
        self.sessions.want(peer, dh_key, now, &mut *self.entropy);
    }

    fn endpoint_seen(&mut self, peer: PeerId, address: SocketAddr, now: Instant) {
        if self.may_go_direct(&peer) {
            self.paths.seen(peer, address);
            if !self.needs_path(&peer, now) {
                return;
            }
            // Ask back at once: a peer behind NAT can be answered only where it just came from, and one that moved is not
            // where it was.
            let probe = self.paths.roam(&peer, address, now, &mut *self.entropy);
            if let Some(probe) = probe {
                self.seal_probe(&peer, address, probe, now);
            }
        }
    }

    /// Without discovery only explicit links carry data, so that a chain stays a chain.
    pub(super) fn may_go_direct(&self, peer: &PeerId) -> bool {
        self.config.discovery || self.is_beside(peer)
    }

    pub(super) fn suggest_addresses(&mut self, peer: PeerId) {
        if self.may_go_direct(&peer) {
            let addresses = self.addresses_of(&peer);
            self.paths.suggest(peer, &addresses);
        }
    }

    /// The underlay addresses a peer announces, and those its neighbours dialled it at.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let mut addresses = self.gossip.addresses_of(peer);
        addresses.retain(|a| !is_link_local(a.ip()) && self.leads_out(*a));
        addresses
    }

    /// A link came up: its other end is a neighbour, so a session and a direct path are wanted at once.
    pub(super) fn begin_paths(
        &mut self,
        peer: PeerId,
        tcp: SocketAddr,
        outbound: bool,
        now: Instant,
    ) {
        self.suggest_addresses(peer);
        self.paths.search_anew(&peer);
        let udp = self.udp_address(&peer, tcp, outbound);
        if self.paths.direct(&peer).is_none() {
            self.paths.prefer(peer, udp);
        }
        if let Some(dh_key) = self.body_of(&peer).map(|body| body.dh_key) {
            self.sessions.want(peer, dh_key, now, &mut *self.entropy);
        }
        self.probe(&peer, now);
    }

    /// Where we dialled, the UDP port is the one we dialled; an inbound link shows only the host.
    pub(super) fn udp_address(&self, peer: &PeerId, tcp: SocketAddr, outbound: bool) -> SocketAddr {
        if outbound {
            return tcp;
        }
        let announced = self.body_of(peer).and_then(|b| b.endpoints.first());
        let port = announced.map_or(self.config.port, SocketAddr::port);
        let mut address = tcp;
        address.set_port(port);
        address
    }

    /// Carries out what the session machine asks for.
    pub(super) fn drain_sessions(&mut self, now: Instant) {
        while let Some(output) = self.sessions.poll_output() {
            match output {
                SessionOutput::Send { peer, via, bytes } => {
                    self.send_handshake(peer, via, &bytes, now);
                }
                SessionOutput::Challenge { to, bytes } => {
                    self.send_datagram(to, bytes);
                }
                SessionOutput::Changed(peer) => {
                    self.rebuild(now);
                    if self.needs_path(&peer, now) {
                        self.probe(&peer, now);
                    }
                }
            }
        }
    }

    /// An answer goes back the way its question came; a first message goes wherever the peer may be.
    fn send_handshake(&mut self, peer: PeerId, via: Option<Via>, bytes: &[u8], now: Instant) {
        match via {
            Some(Via::Direct(to)) => self.send_datagram(to, bytes.to_vec()),
            Some(Via::Relayed) => self.send_by_path(peer, bytes, now),
            None if self.paths.direct(&peer).is_some() => self.send_by_path(peer, bytes, now),
            None => {
                for to in self.paths.candidates(&peer).to_vec() {
                    if self.leads_out(to) {
                        self.send_datagram(to, bytes.to_vec());
                        self.send_spare(&peer, to, bytes, now);
                    }
                }
                self.send_by_path(peer, bytes, now);
            }
        }
    }

    fn send_datagram(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let source = self.sources.of(to);
        self.outputs
            .push_back(Output::Datagram { to, source, bytes });
    }

    /// Sends a complete datagram by the path the lanes would take; without one it is lost, and repeated in time.
    fn send_by_path(&mut self, peer: PeerId, bytes: &[u8], now: Instant) {
        let mut out = Collected::default();
        let sent = self
            .forwarder
            .send_to_peer(&self.snapshot, peer, bytes, now, &mut out);
        if sent.is_ok() {
            for (to, bytes) in out.datagrams() {
                self.send_datagram(to, bytes);
            }
        }
    }

    pub(super) fn seal_probe(&mut self, peer: &PeerId, to: SocketAddr, probe: Probe, now: Instant) {
        self.seal_payload(peer, to, &probe.encode(), now);
    }

    /// Sends a payload of kind Probe straight to an address.
    pub(super) fn seal_payload(
        &mut self,
        peer: &PeerId,
        to: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        if !self.leads_out(to) {
            return;
        }
        if let Some(bytes) = self.sealed(peer, payload, now) {
            self.send_datagram(to, bytes);
        }
    }

    /// A datagram of kind Probe with this payload.
    pub(super) fn sealed(&self, peer: &PeerId, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let transport = self.sessions.current(*peer)?;
        let mut bytes = Vec::with_capacity(64);
        let sealed = transport.seal(Kind::Probe, 1, &[], payload, now, &mut bytes);
        sealed.is_ok().then_some(bytes)
    }

    /// Probes what must be probed, drops what fell silent, lets go of what nobody uses.
    pub(super) fn keep_sessions(&mut self, now: Instant) {
        let neighbours: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        for peer in neighbours {
            // Begins a handshake only where one is due: no keys, or keys that grow old.
            if let Some(dh_key) = self.body_of(&peer).map(|body| body.dh_key) {
                self.sessions.want(peer, dh_key, now, &mut *self.entropy);
            }
        }
        let mut idle: Vec<PeerId> = self
            .sessions
            .statuses()
            .filter(|s| is_idle(s, now))
            .map(|s| s.peer)
            .collect();
        idle.retain(|peer| !self.is_beside(peer) && !self.wanted.contains_key(peer));
        for peer in idle {
            self.sessions.forget(peer);
            self.paths.forget(&peer);
            self.follow_direct(peer, now);
            self.snapshot_dirty = true;
        }
    }
}

/// Whether a session carried no frame for so long that its peer can have it anew.
fn is_idle(status: &SessionStatus<'_>, now: Instant) -> bool {
    let Some(transport) = status.current else {
        return false;
    };
    let stats = transport.stats();
    let last = stats
        .last_frame_sent
        .max(stats.last_frame_received)
        .unwrap_or(transport.established());
    now.since(last) > SESSION_IDLE
}
