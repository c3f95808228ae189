//! TCP connections from their opening to their end: what the shell reports, and what their links say.

use std::net::SocketAddr;

use super::dial::NO_ROOM;
use super::links::{Due, Slot};
use super::strangers::Entry;
use super::targets::{Retry, TargetKey};
use super::{Control, Ending, Note, Output};
use crate::ids::ConnId;
use crate::limits;
use crate::link::{AlertCode, Link, LinkConfig, LinkError, LinkEvent, LinkRole};
use crate::source::Source;
use crate::time::Instant;
use crate::wire::message::LinkMessage;

impl Control {
    /// Somebody dialled us. The shell gets a handle, or `None` when nothing is to be had here: reset it at once.
    pub fn handle_accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId> {
        match self.knock(from, now) {
            Entry::Open => {
                let conn = self.new_conn();
                self.open_link(conn, from, LinkRole::Acceptor, now);
                Some(conn)
            }
            Entry::Penalised if self.penalty_alerts.take(now) => Some(self.tell_penalty(now)),
            Entry::Penalised | Entry::Refused => None,
        }
    }

    /// Somebody dialled us by a way that is none; only said to the operator.
    pub fn handle_refused(&mut self, from: SocketAddr, why: &str, now: Instant) {
        self.links.remember_failed(from, why.to_owned(), now);
    }

    /// Tells the dialler that it is to wait; nothing is kept of the connection.
    fn tell_penalty(&mut self, now: Instant) -> ConnId {
        let (conn, config) = (self.new_conn(), self.link_config());
        let mut link = Link::new(LinkRole::Acceptor, &config, now, &mut *self.entropy);
        link.refuse(AlertCode::Penalty);
        while let Some(bytes) = link.poll_transmit() {
            self.outputs.push_back(Output::Send { conn, bytes });
        }
        let ending = Ending::Told;
        self.outputs.push_back(Output::Close { conn, ending });
        conn
    }

    fn link_config(&self) -> LinkConfig {
        LinkConfig {
            identity: self.config.identity.clone(),
            secret: self.config.secret.clone(),
            record: self.gossip.introduction().clone(),
            features: 0,
        }
    }

    /// A dial succeeded. Many may be under way at once: one that finds no room is closed.
    pub fn handle_connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant) {
        self.targets.reached(conn, to);
        let explicit = matches!(self.targets.key_of(conn), Some(TargetKey::Explicit(_)));
        if self.links.has_room() || explicit && self.make_room(now) {
            self.open_link(conn, to, LinkRole::Dialler, now);
            return;
        }
        let ending = Ending::Abort;
        self.outputs.push_back(Output::Close { conn, ending });
        self.dial_failed(conn, NO_ROOM, Retry::Slowly, now);
        self.flush(now);
    }

    pub(super) fn open_link(
        &mut self,
        conn: ConnId,
        address: SocketAddr,
        role: LinkRole,
        now: Instant,
    ) {
        let config = self.link_config();
        let outbound = matches!(role, LinkRole::Dialler);
        let link = Link::new(role, &config, now, &mut *self.entropy);
        let evicted = self
            .links
            .insert(conn, Slot::new(link, address, outbound, now));
        if let Some(evicted) = evicted {
            self.drop_link(
                evicted,
                "made room for newer connections",
                Retry::Later,
                now,
            );
        }
        self.tell_linked();
        self.pump_link(conn, now);
        self.flush(now);
    }

    /// Bytes arrived on a connection.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            let before = slot.link.records();
            slot.link.handle_bytes(bytes, now, &mut *self.entropy);
            // A damaged length makes the link wait for bytes that mean nothing: those are no sign of life.
            if slot.link.records() != before {
                slot.heard(now);
            }
            self.pump_link(conn, now);
        }
        self.flush(now);
    }

    /// The shell wrote `bytes` bytes of a connection to its socket.
    pub fn handle_written(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            slot.written(bytes);
        }
        self.flush(now);
    }

    /// A connection ended, or a dial failed.
    pub fn handle_closed(&mut self, conn: ConnId, error: &str, now: Instant) {
        if self.links.get(conn).is_some() {
            self.keep_route(conn, now);
            self.drop_link(conn, error, Retry::Later, now);
        } else {
            self.dial_failed(conn, error, Retry::Later, now);
        }
        self.flush(now);
    }

    /// Moves what a link has to say to where it belongs.
    pub(super) fn pump_link(&mut self, conn: ConnId, now: Instant) {
        while let Some(event) = self
            .links
            .get_mut(conn)
            .and_then(|slot| slot.link.poll_event())
        {
            match event {
                LinkEvent::Authenticated { record, peer } => self.admit(conn, peer, record, now),
                LinkEvent::Up => self.link_up(conn, now),
                LinkEvent::Message(message) => self.handle_message(conn, message, now),
                LinkEvent::Closed(error) => self.link_failed(conn, &error, now),
            }
        }
        self.drain_link(conn);
    }

    /// Hands over what a link has to say; whether there was something.
    pub(super) fn drain_link(&mut self, conn: ConnId) -> bool {
        let Some(slot) = self.links.get_mut(conn) else {
            return false;
        };
        let mut any = false;
        while let Some(bytes) = slot.link.poll_transmit() {
            slot.queued(bytes.len());
            self.outputs.push_back(Output::Send { conn, bytes });
            any = true;
        }
        any
    }

    /// A message arrived on a link that is up. Nothing in it, however wrong, ends the link.
    pub(super) fn handle_message(&mut self, conn: ConnId, message: LinkMessage, now: Instant) {
        match message {
            LinkMessage::Ping { nonce } => self.links.send(conn, &LinkMessage::Pong { nonce }),
            LinkMessage::Pong { nonce } => {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.ponged(nonce, now);
                }
            }
            LinkMessage::Wanted(wanted) => self.take_wanted(conn, wanted, now),
            LinkMessage::Observed(address) => self.take_observed(conn, address, now),
            LinkMessage::Bye { reason } => {
                self.drop_link(conn, &printable(&reason), Retry::Later, now);
            }
            message => {
                self.gossip.message(conn, message, now, &mut *self.entropy);
                self.drain_gossip(now);
            }
        }
    }

    fn take_observed(&mut self, conn: ConnId, address: SocketAddr, now: Instant) {
        let Some(peer) = self.links.get(conn).and_then(|slot| slot.peer) else {
            return;
        };
        // TCP sees our ephemeral port; what others may dial is the address with our own port.
        let address = SocketAddr::new(address.ip(), self.config.port);
        if self.observed.saw(peer, address, false, now) {
            self.refresh_endpoints();
        }
    }

    fn link_up(&mut self, conn: ConnId, now: Instant) {
        let Some(slot) = self.links.get(conn) else {
            return;
        };
        let Some(peer) = slot.peer else { return };
        let (address, outbound) = (slot.address, slot.outbound);
        if !self.settle_duplicate(conn, peer, now) {
            return;
        }
        self.links.set_up(conn, peer, now);
        self.tell_linked();
        self.keep_no_longer(&peer);
        let direct = self.paths.direct(&peer).is_some();
        if let Some(slot) = self.links.get_mut(conn) {
            slot.set_direct(direct, now);
        }
        self.links.forget_failed(address);
        self.remember_peer(conn, peer);
        self.targets.satisfied(conn, peer, now);
        self.begin_paths(peer, address, outbound, now);
        self.links.send(conn, &LinkMessage::Observed(address));
        self.gossip.link_up(conn, peer, outbound);
        self.drain_gossip(now);
        let who = self.display(&peer);
        self.note(Note::Info(format!("link to {who} at {address} is up")));
        self.topology_dirty = true;
        self.neighbours_dirty = true;
    }

    fn link_failed(&mut self, conn: ConnId, error: &LinkError, now: Instant) {
        if *error == LinkError::WrongSecret {
            let source = self.links.get(conn).map(|slot| Source::of(slot.address));
            if let Some(source) = source {
                self.strangers.failed(source, now);
            }
        }
        let retry = match error.alert() {
            Some(AlertCode::SelfConnection) if self.is_at_own_address(conn) => Retry::Never,
            // Elsewhere than at our own addresses it is a clone of this router, and will be somebody else again.
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
            let address = self.links.get(conn).map(|slot| slot.address);
            let other = |(c, slot): (ConnId, &Slot)| c != conn && (slot.up || slot.peer.is_some());
            if let Some(address) = address.filter(|_| !self.links.iter().any(other)) {
                self.gossip.refused_as_duplicate(address, now);
                self.drain_gossip(now);
            }
            // The link that there is already is as good as the one that was dialled.
            if self.links.of_peer(&peer).is_some() {
                self.answered(conn, peer, now);
                self.targets.satisfied(conn, peer, now);
            }
        }
        let declined = error.refused_by(AlertCode::Full);
        if let Some(peer) = declined {
            self.answered(conn, peer, now);
            self.was_declined(conn, peer, now);
        }
        self.drop_link(conn, &error.to_string(), retry, now);
        if declined.is_some() {
            self.discover(now);
        }
    }

    /// Ends the link that is needed least, for a router that is known; whether there was one.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let Some(conn) = self.least_needed(now) else {
            return false;
        };
        let reason = "made room for a router that was linked before".to_owned();
        if let Some(slot) = self.links.get_mut(conn) {
            slot.send(&LinkMessage::Bye {
                reason: reason.clone(),
            });
        }
        self.drop_link(conn, &reason, Retry::Later, now);
        true
    }

    fn is_at_own_address(&self, conn: ConnId) -> bool {
        let address = self.links.get(conn).map(|slot| slot.address.ip());
        let own = self.gossip.own_endpoints();
        address.is_some_and(|ip| ip.is_loopback() || own.iter().any(|e| e.ip() == ip))
    }

    /// Ends a link: tells the shell, its target, and whoever routed through it.
    pub(super) fn drop_link(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        let told = self.drain_link(conn);
        let Some((slot, lost)) = self.links.remove(conn) else {
            return;
        };
        self.gossip.link_down(conn);
        self.tell_linked();
        let ending = match slot.peer {
            None if !slot.outbound && !told => Ending::Abort,
            None => Ending::Told,
            Some(_) => Ending::Orderly,
        };
        self.outputs.push_back(Output::Close { conn, ending });
        self.dial_failed(conn, error, retry, now);
        if !slot.outbound && !slot.up {
            self.links
                .remember_failed(slot.address, error.to_owned(), now);
        }
        if let Some(peer) = lost {
            self.familiar.parted(peer, &slot, now);
            let who = self.display(&peer);
            self.note(Note::Info(format!(
                "link to {who} at {} ended: {error}",
                slot.address
            )));
            self.targets.lost(peer, error, now, &mut *self.entropy);
            if self.observed.forget(&peer) {
                self.refresh_endpoints();
            }
            self.topology_dirty = true;
            self.neighbours_dirty = true;
        }
    }

    pub(super) fn tick_links(&mut self, now: Instant) {
        let mut work = Vec::new();
        for (conn, slot) in self.links.iter_mut() {
            slot.link.handle_timeout(now);
            work.push((conn, slot.due(now, &mut *self.entropy)));
        }
        for (conn, due) in work {
            for item in due {
                self.link_due(conn, &item, now);
            }
            self.pump_link(conn, now);
        }
    }

    fn link_due(&mut self, conn: ConnId, due: &Due, now: Instant) {
        match due {
            Due::Silent => {
                let silence = self.links.get(conn).map(|slot| slot.silence(now));
                let silence = silence.unwrap_or(limits::DEAD_AFTER).as_secs_f32();
                self.keep_route(conn, now);
                self.drop_link(
                    conn,
                    &format!("nothing heard for {silence:.1} s"),
                    Retry::Later,
                    now,
                );
            }
            Due::Ping(nonce) => {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.send(&LinkMessage::Ping { nonce: *nonce });
                }
            }
            Due::Digest => {
                self.gossip.compare(conn);
                self.drain_gossip(now);
            }
        }
    }
}

/// The text without control characters, which could write anything on an operator's terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
