//! Opening, admission and end of a link.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_LINKS_PER_SOURCE};
use crate::link::{AlertCode, Link, LinkConfig, LinkRole};
use crate::source::Source;
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::SignedRecord;
use crate::wire::message::LinkMessage;
use crate::wire::topic::{RecordKey, Topic};

use super::admission::{Existing, LinkVerdict, NameClaims, judge_name, newer_stays};
use super::effect::{Ending, LinkEffect, LinkEnd, Retry};
use super::strangers::Knock;
use super::{LinkSlot, Links};

/// Verdict on a connection that was dialled to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It may go on to a handshake.
    Open,
    /// It is told to wait, and nothing is kept of it.
    Penalise,
    /// It is reset.
    Reset,
}

impl Links {
    /// Decides on a connection from this address; `known` gathers the addresses of routers that are known otherwise.
    pub(crate) fn knock(
        &mut self,
        from: SocketAddr,
        known: impl FnOnce() -> Vec<SocketAddr>,
        now: Instant,
    ) -> Opening {
        let source = Source::of(from);
        let linked = self.table.known_sources(now);
        let others = || linked.chain(known().into_iter().map(Source::of)).collect();
        let familiar = &mut self.familiar;
        // Gathered only where it matters: most connections need no more than their share.
        let is_known = || familiar.knows_source(source, others, now);
        match self.strangers.knock(source, is_known, now) {
            Knock::Open => Opening::Open,
            Knock::Penalised if self.penalty_alerts.take(now) => Opening::Penalise,
            Knock::Penalised | Knock::Refused => Opening::Reset,
        }
    }

    /// Takes note of an inbound connection that was refused, for the report.
    pub(crate) fn refused_inbound(&mut self, from: SocketAddr, why: &str, now: Instant) {
        self.table.remember_failed(from, why.to_owned(), now);
    }

    /// Tells a dialler that it is to wait; nothing is kept of the connection.
    pub(crate) fn penalise(
        &mut self,
        conn: ConnId,
        config: &LinkConfig,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let mut link = Link::new(LinkRole::Acceptor, config, now, entropy);
        link.refuse(AlertCode::Penalty);
        while let Some(bytes) = link.poll_transmit() {
            self.effects.push_back(LinkEffect::Send(conn, bytes));
        }
        self.effects
            .push_back(LinkEffect::Close(conn, Ending::Alerted));
    }

    /// Opens a link on a new connection.
    pub(crate) fn open(
        &mut self,
        (conn, address): (ConnId, SocketAddr),
        role: LinkRole,
        config: &LinkConfig,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let outbound = matches!(role, LinkRole::Dialler);
        let link = Link::new(role, config, now, entropy);
        let slot = LinkSlot::new(link, address, outbound, now);
        if let Some(evicted) = self.table.insert(conn, slot) {
            let why = "made room for newer connections";
            self.close(evicted, why, Retry::Later, now);
        }
        self.effects.push_back(LinkEffect::Opened);
    }

    // Admission

    /// Returns true if this router was linked to that one before, or `is_known` knows it.
    pub(crate) fn is_familiar(
        &self,
        peer: &PeerId,
        is_known: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> bool {
        is_known(peer) || self.familiar.knows(peer, now)
    }

    /// Returns true if there is a place for a peer that dialled us. One that is known gets that of another.
    pub(crate) fn has_place(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        is_known: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> bool {
        let Some(slot) = self.get(conn).filter(|slot| !slot.is_outbound()) else {
            return true;
        };
        // In place of its own, which goes.
        if self.of_peer(&peer).is_some() {
            return true;
        }
        let source = Source::of(slot.address());
        if self.is_familiar(&peer, &is_known, now) {
            return self.has_room() || self.make_room(is_known, now);
        }
        self.has_room() && self.table.of_source(source) < MAX_LINKS_PER_SOURCE
    }

    /// Takes note that the peer of a connection has proved who it is.
    pub(crate) fn authenticated(&mut self, conn: ConnId, peer: PeerId) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.peer = Some(peer);
        }
    }

    /// Judges an authenticated peer by what it proves of itself; `lsdb` has the names of the neighbours.
    pub(crate) fn judge(
        &self,
        conn: ConnId,
        peer: PeerId,
        record: &SignedRecord,
        lsdb: &Lsdb,
        now: Instant,
    ) -> LinkVerdict {
        let Some(body) = record.as_identity() else {
            return LinkVerdict::Refuse(AlertCode::BadRecord);
        };
        let mut neighbours = self.neighbours().map(|(peer, _)| *peer);
        let holder = neighbours.find(|peer| {
            lsdb.identity(peer)
                .is_some_and(|b| b.name == body.name && b.sign_key != body.sign_key)
        });
        let claims = NameClaims {
            me: self.me,
            pins: self.pins.keys(),
            holder,
            strict: self.pins.is_strict(),
        };
        match judge_name(body.name, &body.sign_key, &claims) {
            LinkVerdict::Accept if !self.stays(conn, peer, has_restarted(record, lsdb), now) => {
                LinkVerdict::Refuse(AlertCode::Duplicate)
            }
            verdict => verdict,
        }
    }

    /// Lets the peer of a connection in, and binds its name to its key.
    pub(crate) fn accept(&mut self, conn: ConnId, record: &SignedRecord) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.link.accept();
        }
        self.effects.extend(self.pins.bind(record));
    }

    /// Refuses the peer of a connection.
    pub(crate) fn refuse(&mut self, conn: ConnId, code: AlertCode) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.link.refuse(code);
        }
    }

    /// Takes note of a handshake with a wrong secret.
    pub(crate) fn wrong_secret(&mut self, conn: ConnId, now: Instant) {
        let source = self.get(conn).map(|slot| Source::of(slot.address()));
        if let Some(source) = source {
            self.strangers.failed(source, now);
        }
    }

    /// Frees a name that is bound to a key. Returns true if it was.
    pub(crate) fn unpin(&mut self, name: PeerName) -> bool {
        self.pins.release(name)
    }

    // Up

    /// Returns the other link to the same peer, if there is one, and true if `conn` is the one that stays, the same on both
    /// ends: two links may come up at once, each admitted before the other was there.
    pub(crate) fn rival(&self, conn: ConnId, peer: PeerId, now: Instant) -> Option<(ConnId, bool)> {
        let old = self.of_peer(&peer).filter(|old| *old != conn)?;
        Some((old, self.stays(conn, peer, false, now)))
    }

    fn stays(&self, conn: ConnId, peer: PeerId, restarted: bool, now: Instant) -> bool {
        let existing = self
            .of_peer(&peer)
            .filter(|old| *old != conn)
            .and_then(|old| self.get(old));
        let (Some(existing), Some(new)) = (existing, self.get(conn)) else {
            return true;
        };
        let me = self.me.1;
        let dialler = |slot: &LinkSlot| if slot.is_outbound() { me } else { peer };
        let since = existing.up_since();
        let existing = Existing {
            dialler: dialler(existing),
            silent: existing.seems_silent(now),
            fresh: since.is_none_or(|up| now.since(up) < HANDSHAKE_TIMEOUT),
        };
        newer_stays(existing, dialler(new), restarted)
    }

    /// Sets a link up; `direct` says if datagrams go directly to the peer. Returns true if its route was kept.
    pub(crate) fn set_up(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        direct: bool,
        now: Instant,
    ) -> bool {
        self.table.set_up(conn, peer, now);
        if let Some(slot) = self.table.get_mut(conn) {
            slot.set_direct(direct, now);
            let address = slot.address();
            slot.send(&LinkMessage::Observed(address));
            self.table.forget_failed(address);
        }
        self.graceful_restart.release(&peer)
    }

    // End

    /// Ends a link.
    pub(crate) fn close(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        let told = self.drain(conn);
        let Some((slot, lost)) = self.table.remove(conn) else {
            return;
        };
        let ending = match slot.peer() {
            None if !slot.is_outbound() && !told => Ending::Abort,
            None => Ending::Alerted,
            Some(_) => Ending::Orderly,
        };
        self.effects.push_back(LinkEffect::Close(conn, ending));
        if !slot.is_outbound() && !slot.is_up() {
            self.table
                .remember_failed(slot.address(), error.to_owned(), now);
        }
        if let Some(peer) = lost {
            self.familiar.parted(peer, &slot, now);
        }
        self.effects.push_back(LinkEffect::Ended(LinkEnd {
            conn,
            lost,
            address: slot.address(),
            error: error.to_owned(),
            retry,
        }));
    }

    /// Ends a link in good order: the other end is told why.
    pub(crate) fn say_bye(&mut self, conn: ConnId, reason: &str, now: Instant) {
        let reason_there = reason.to_owned();
        self.send(
            conn,
            &LinkMessage::Bye {
                reason: reason_there,
            },
        );
        self.close(conn, reason, Retry::Later, now);
    }

    /// Ends all links in good order: the router is about to stop.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        let conns: Vec<(ConnId, bool)> = self
            .iter()
            .map(|(conn, slot)| (conn, slot.is_up()))
            .collect();
        for (conn, is_up) in conns {
            if is_up {
                let reason = "that router was stopped".to_owned();
                self.send(conn, &LinkMessage::Bye { reason });
            }
            self.close(conn, "this router is stopping", Retry::Later, now);
        }
    }

    /// Ends the link that is needed least, for a router that is known. Returns true if there was one.
    pub(crate) fn make_room(&mut self, is_known: impl Fn(&PeerId) -> bool, now: Instant) -> bool {
        let Some(conn) = self.least_needed(is_known, now) else {
            return false;
        };
        let reason = "made room for a router that was linked before";
        self.say_bye(conn, reason, now);
        true
    }

    /// Returns the link that goes when a router that is known needs its place: of those that others dialled and that are not
    /// known themselves, the youngest of the source with most of them.
    pub(crate) fn least_needed(
        &self,
        is_known: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Option<ConnId> {
        let mut crowds = BTreeMap::<Source, Vec<(Instant, ConnId)>>::new();
        for (conn, slot) in self.iter().filter(|(_, slot)| !slot.is_outbound()) {
            let Some(peer) = slot.peer() else { continue };
            if self.is_familiar(&peer, &is_known, now) {
                continue;
            }
            let crowd = crowds.entry(Source::of(slot.address())).or_default();
            crowd.push((slot.opened(), conn));
        }
        let youngest = |crowd: &Vec<_>| crowd.iter().max().copied();
        let biggest = crowds
            .into_values()
            .max_by_key(|crowd| (crowd.len(), youngest(crowd)))?;
        youngest(&biggest).map(|(_, conn)| conn)
    }
}

/// Returns true if an identity record is of a later run than the one in the database.
fn has_restarted(record: &SignedRecord, lsdb: &Lsdb) -> bool {
    let known = lsdb.get(RecordKey::new(record.origin(), Topic::IDENTITY));
    known.is_some_and(|known| record.version().epoch > known.version().epoch)
}
