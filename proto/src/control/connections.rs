//! TCP connections from their opening to their end: what the shell reports, and what their links say.

use std::net::SocketAddr;

use super::links::admission::LinkVerdict;
use super::links::{Due, LinkSlot, Opening, Retry};
use super::neighbours::NO_ROOM;
use super::{Control, ControlChange, Ending, Note, Output};
use crate::ids::{ConnId, PeerId};
use crate::limits;
use crate::link::{AlertCode, LinkConfig, LinkError, LinkEvent, LinkRole};
use crate::time::Instant;
use crate::topology::record::SignedRecord;
use crate::wire::message::LinkMessage;

impl Control {
    // What the shell reports

    /// Takes a connection that was dialled from this address. Returns its handle, or `None` to reset it at once.
    pub fn handle_accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId> {
        let neighbours = &self.parts.neighbours;
        let known = || neighbours.known_addresses();
        match self.parts.links.knock(from, known, now) {
            Opening::Open => {
                let conn = self.parts.links.new_conn();
                self.open_link(conn, from, LinkRole::Acceptor, now);
                Some(conn)
            }
            Opening::Penalise => {
                let (conn, config) = (self.parts.links.new_conn(), self.link_config());
                self.parts
                    .links
                    .penalise(conn, &config, now, &mut *self.parts.entropy);
                self.parts.drain_links(now);
                Some(conn)
            }
            Opening::Reset => None,
        }
    }

    /// Takes note of a connection that came by a way that is none; only said to the operator.
    pub fn handle_refused(&mut self, from: SocketAddr, why: &str, now: Instant) {
        self.parts.links.refused_inbound(from, why, now);
    }

    /// Takes a dial that succeeded. Many may be under way at once: one that finds no room is closed.
    pub fn handle_connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant) {
        let is_explicit = self.parts.neighbours.reached(conn, to);
        if self.parts.links.has_room() || is_explicit && self.make_room(now) {
            self.open_link(conn, to, LinkRole::Dialler, now);
            return;
        }
        let ending = Ending::Abort;
        self.parts.outputs.push_back(Output::Close { conn, ending });
        self.parts
            .neighbours
            .failed(conn, NO_ROOM, Retry::Slowly, now, &mut *self.parts.entropy);
        self.parts.flush(now);
    }

    /// Takes bytes that arrived on a connection.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        if self
            .parts
            .links
            .receive(conn, bytes, now, &mut *self.parts.entropy)
        {
            self.pump_link(conn, now);
        }
        self.parts.flush(now);
    }

    /// Takes note that the shell wrote `bytes` bytes of a connection to its socket.
    pub fn handle_written(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        self.parts.links.written(conn, bytes);
        self.parts.flush(now);
    }

    /// Takes note that a connection ended, or a dial failed.
    pub fn handle_closed(&mut self, conn: ConnId, error: &str, now: Instant) {
        if self.parts.links.get(conn).is_some() {
            self.keep_route(conn, now);
            self.drop_link(conn, error, Retry::Later, now);
        } else {
            self.parts
                .neighbours
                .failed(conn, error, Retry::Later, now, &mut *self.parts.entropy);
        }
        self.parts.flush(now);
    }

    /// Ends all links in good order; the router is about to stop.
    pub fn shut_down(&mut self, now: Instant) {
        self.parts.links.shut_down(now);
        self.parts.drain_links(now);
    }

    // A link

    fn link_config(&self) -> LinkConfig {
        LinkConfig {
            identity: self.parts.config.identity.clone(),
            secret: self.parts.config.secret.clone(),
            record: self.parts.gossip.introduction().clone(),
            features: 0,
        }
    }

    pub(super) fn open_link(
        &mut self,
        conn: ConnId,
        address: SocketAddr,
        role: LinkRole,
        now: Instant,
    ) {
        let config = self.link_config();
        self.parts.links.open(
            (conn, address),
            role,
            &config,
            now,
            &mut *self.parts.entropy,
        );
        self.parts.drain_links(now);
        self.pump_link(conn, now);
        self.parts.flush(now);
    }

    /// Moves what a link has to say to where it belongs.
    fn pump_link(&mut self, conn: ConnId, now: Instant) {
        while let Some(event) = self.parts.links.poll_event(conn) {
            match event {
                LinkEvent::Authenticated { record, peer } => self.admit(conn, peer, record, now),
                LinkEvent::Up => self.link_up(conn, now),
                LinkEvent::Message(message) => self.handle_message(conn, message, now),
                LinkEvent::Closed(error) => self.link_failed(conn, &error, now),
            }
        }
        self.parts.links.drain(conn);
        self.parts.drain_links(now);
    }

    /// Takes a message from a link that is up. Nothing in it, however wrong, ends the link.
    pub(super) fn handle_message(&mut self, conn: ConnId, message: LinkMessage, now: Instant) {
        match message {
            LinkMessage::Ping { nonce } => {
                self.parts.links.send(conn, &LinkMessage::Pong { nonce });
            }
            LinkMessage::Pong { nonce } => self.parts.links.ponged(conn, nonce, now),
            LinkMessage::KeepLink(keeps) => self.parts.links.set_peer_wants(conn, keeps, now),
            LinkMessage::Observed(address) => {
                if let Some(peer) = self.parts.links.peer_of(conn) {
                    // TCP sees our ephemeral port; others may dial the address with our own port.
                    let address = SocketAddr::new(address.ip(), self.parts.config.port);
                    self.parts.paths.observed(peer, address, false, now);
                    self.parts.drain_paths(now);
                }
            }
            LinkMessage::Bye { reason } => {
                self.drop_link(conn, &printable(&reason), Retry::Later, now);
            }
            message => {
                self.parts
                    .gossip
                    .message(conn, message, now, &mut *self.parts.entropy);
                self.parts.drain_gossip(now);
            }
        }
    }

    /// Lets a peer in that has proved who it is, or refuses it.
    fn admit(&mut self, conn: ConnId, peer: PeerId, record: SignedRecord, now: Instant) {
        // Asked before it counts itself.
        let has_place = self.has_place(conn, peer, now);
        self.parts.links.authenticated(conn, peer);
        self.answered(conn, peer, now);
        let lsdb = self.parts.gossip.lsdb();
        let verdict = match self.parts.links.judge(conn, peer, &record, lsdb, now) {
            LinkVerdict::Accept if !has_place || self.is_one_too_many(conn, &peer) => {
                LinkVerdict::Refuse(AlertCode::Full)
            }
            verdict => verdict,
        };
        if self.parts.links.get(conn).is_none() {
            return;
        }
        match verdict {
            LinkVerdict::Accept => {
                self.parts.links.accept(conn, &record);
                self.parts.drain_links(now);
                self.parts.gossip.take(record, None, now);
                self.parts.drain_gossip(now);
            }
            LinkVerdict::Refuse(code) => {
                self.parts.links.refuse(conn, code);
                if code == AlertCode::Duplicate {
                    self.parts.neighbours.satisfied(conn, peer, now);
                }
            }
        }
    }

    /// Returns true if there is a place for a peer that dialled us. One that is known gets that of another.
    pub(super) fn has_place(&mut self, conn: ConnId, peer: PeerId, now: Instant) -> bool {
        let neighbours = &self.parts.neighbours;
        let is_known = |peer: &PeerId| neighbours.knows(peer);
        let has_place = self.parts.links.has_place(conn, peer, is_known, now);
        self.parts.drain_links(now);
        has_place
    }

    /// Returns true for a peer that dialled us and finds us through others just as well.
    fn is_one_too_many(&self, conn: ConnId, peer: &PeerId) -> bool {
        let inbound = self
            .parts
            .links
            .get(conn)
            .is_some_and(|slot| !slot.is_outbound());
        let is_linked = self.parts.links.of_peer(peer).is_some();
        inbound
            && !is_linked
            && self
                .parts
                .neighbours
                .has_enough_without(peer, self.parts.view())
    }

    /// Takes note that `peer` has proved that it is the one at the address that `conn` dialled.
    fn answered(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        let (neighbours, view, entropy) = self.parts.with_neighbours();
        neighbours.answered(conn, peer, view, now, entropy);
    }

    fn link_up(&mut self, conn: ConnId, now: Instant) {
        let Some(slot) = self.parts.links.get(conn) else {
            return;
        };
        let Some(peer) = slot.peer() else { return };
        let (address, outbound) = (slot.address(), slot.is_outbound());
        if !self.settle_duplicate(conn, peer, now) {
            return;
        }
        let is_direct = self.parts.paths.direct(&peer).is_some();
        if self.parts.links.set_up(conn, peer, is_direct, now) {
            self.parts.follow(ControlChange::RouteReleased);
        }
        self.parts.tell_linked();
        self.parts.neighbours.linked(conn, peer, now);
        self.parts.drain_neighbours();
        self.begin_paths(peer, (address, outbound), now);
        self.parts.gossip.link_up(conn, peer, outbound);
        self.parts.drain_gossip(now);
        let who = self.parts.gossip.display(&peer);
        self.parts
            .note(Note::Info(format!("link to {who} at {address} is up")));
        self.parts.follow(ControlChange::LinkUp);
    }

    /// Closes one of two links to one peer, the same on both ends. Returns true if `conn` is the one that stays.
    fn settle_duplicate(&mut self, conn: ConnId, peer: PeerId, now: Instant) -> bool {
        let Some((old, stays)) = self.parts.links.rival(conn, peer, now) else {
            return true;
        };
        if !stays {
            self.parts.neighbours.satisfied(conn, peer, now);
        }
        let goes = if stays { old } else { conn };
        let why = "another link to the same router is kept";
        self.drop_link(goes, why, Retry::Later, now);
        stays
    }

    /// Begins a session and the search for a direct path to a peer whose link came up.
    fn begin_paths(&mut self, peer: PeerId, link: (SocketAddr, bool), now: Instant) {
        self.parts.suggest_addresses(peer);
        let udp = self
            .parts
            .view()
            .udp_address(&peer, link, self.parts.config.port);
        self.parts.paths.begin(peer, udp);
        if let Some(dh_key) = self.parts.dh_key(&peer) {
            self.parts
                .sessions
                .want(peer, dh_key, now, &mut *self.parts.entropy);
        }
        self.parts.probe(&peer, now);
    }

    fn link_failed(&mut self, conn: ConnId, error: &LinkError, now: Instant) {
        if *error == LinkError::WrongSecret {
            self.parts.links.wrong_secret(conn, now);
        }
        let retry = match error.alert() {
            Some(AlertCode::SelfConnection) if self.is_at_own_address(conn) => Retry::Never,
            // Elsewhere than at our own addresses it is a duplicate of this router, and will be another router again.
            Some(
                AlertCode::SelfConnection
                | AlertCode::NameConflict
                | AlertCode::Version
                | AlertCode::WrongSecret
                | AlertCode::Penalty,
            ) => Retry::Slowly,
            _ => Retry::Later,
        };
        if let Some(peer) = error.refused_by(AlertCode::Duplicate) {
            self.refused_as_duplicate(conn, now);
            // The link that there is already is as good as the one that was dialled.
            if self.parts.links.of_peer(&peer).is_some() {
                self.answered(conn, peer, now);
                self.parts.neighbours.satisfied(conn, peer, now);
            }
        }
        let declined = error.refused_by(AlertCode::Full);
        if let Some(peer) = declined {
            self.answered(conn, peer, now);
            let (neighbours, view, _) = self.parts.with_neighbours();
            neighbours.declined(conn, peer, view, now);
        }
        self.drop_link(conn, &error.to_string(), retry, now);
        if declined.is_some() {
            self.parts.discover(now);
        }
    }

    /// Takes note that a peer refuses a link because it has one to us already. If we have none at all, a duplicate identity
    /// has it.
    fn refused_as_duplicate(&mut self, conn: ConnId, now: Instant) {
        let address = self.parts.links.get(conn).map(LinkSlot::address);
        let is_other =
            |(c, slot): (ConnId, &LinkSlot)| c != conn && (slot.is_up() || slot.peer().is_some());
        if let Some(address) = address
            && !self.parts.links.iter().any(is_other)
        {
            self.parts.gossip.refused_as_duplicate(address, now);
            self.parts.drain_gossip(now);
        }
    }

    fn is_at_own_address(&self, conn: ConnId) -> bool {
        let address = self.parts.links.get(conn).map(|slot| slot.address().ip());
        let own = self.parts.gossip.own_endpoints();
        address.is_some_and(|ip| ip.is_loopback() || own.iter().any(|e| e.ip() == ip))
    }

    // The end of a link

    /// Ends the link that is needed least, for a router that is known. Returns true if there was one.
    fn make_room(&mut self, now: Instant) -> bool {
        let neighbours = &self.parts.neighbours;
        let is_known = |peer: &PeerId| neighbours.knows(peer);
        let made = self.parts.links.make_room(is_known, now);
        self.parts.drain_links(now);
        made
    }

    pub(super) fn drop_link(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        self.parts.links.close(conn, error, retry, now);
        self.parts.drain_links(now);
    }

    /// Keeps the route to the peer of a link that is about to be dropped if datagrams go directly to it.
    fn keep_route(&mut self, conn: ConnId, now: Instant) {
        let paths = &self.parts.paths;
        let rtt = |peer: &PeerId| Some(paths.direct(peer)?.rtt);
        if let Some(peer) = self.parts.links.keep(conn, rtt, now) {
            self.parts.paths.prove(&peer, now, &mut *self.parts.entropy);
            self.parts.drain_paths(now);
        }
    }

    pub(super) fn tick_links(&mut self, now: Instant) {
        for (conn, due) in self.parts.links.tick(now, &mut *self.parts.entropy) {
            for item in due {
                self.link_due(conn, &item, now);
            }
            self.pump_link(conn, now);
        }
    }

    fn link_due(&mut self, conn: ConnId, due: &Due, now: Instant) {
        match due {
            Due::Silent => {
                let silence = self.parts.links.get(conn).map(|slot| slot.silence(now));
                let silence = silence.unwrap_or(limits::DEAD_AFTER).as_secs_f32();
                self.keep_route(conn, now);
                let why = format!("nothing heard for {silence:.1} s");
                self.drop_link(conn, &why, Retry::Later, now);
            }
            Due::Ping(nonce) => self
                .parts
                .links
                .send(conn, &LinkMessage::Ping { nonce: *nonce }),
            Due::Digest => {
                self.parts.gossip.compare(conn);
                self.parts.drain_gossip(now);
            }
        }
    }
}

/// Returns the text without control characters, which could write anything on an operator's terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
