//! Whether an authenticated peer is let in.
//!
//! Only what the peer proves about itself decides; nothing learnt by gossip from third parties refuses a link. Where
//! anyone may join, a name belongs to the key that it was first seen with, or else to the neighbour that bears it. Where a
//! secret guards the mesh, two routers of one name are an operator's mistake, of which `mesh status` warns.

use std::collections::BTreeMap;

use crate::crypto::identity::peer_id;
use crate::crypto::secret::SecretKind;
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_LINKS_PER_SOURCE, MAX_PINS};
use crate::link::AlertCode;
use crate::source::Source;
use crate::time::Instant;
use crate::topology::record::SignedRecord;

use super::targets::Retry;
use super::{Control, Note, Output};

/// What to do with a link whose peer has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Accept,
    /// Refuse it, for this reason.
    Refuse(AlertCode),
}

/// What is known about a name.
#[derive(Clone, Copy, Debug)]
pub struct NameClaims<'a> {
    /// Our own name and identity.
    pub me: (PeerName, PeerId),
    /// Keys that names were first seen with.
    pub pins: &'a BTreeMap<PeerName, [u8; 32]>,
    /// The neighbour that bears the name now, if any.
    pub holder: Option<PeerId>,
    /// Whether names are bound: where anyone may join they are, where a secret guards the mesh that decides.
    pub strict: bool,
}

/// Whether `peer` may bear `name`.
pub fn judge_name(name: PeerName, sign_key: &[u8; 32], claims: &NameClaims<'_>) -> Verdict {
    let peer = peer_id(sign_key);
    if peer == claims.me.1 {
        return Verdict::Refuse(AlertCode::SelfConnection);
    }
    if !claims.strict {
        return Verdict::Accept;
    }
    let belongs_to_it = match claims.pins.get(&name) {
        _ if name == claims.me.0 => false,
        Some(key) => key == sign_key,
        None => claims.holder.is_none_or(|holder| holder == peer),
    };
    if belongs_to_it {
        Verdict::Accept
    } else {
        Verdict::Refuse(AlertCode::NameConflict)
    }
}

/// Which of two links to one peer stays, the same on both ends: of two that crossed, the one dialled by the lower identity;
/// else the older. A link that fell silent, or that belongs to an earlier start of the peer, always goes.
pub fn newer_stays(existing: Existing, new_dialler: PeerId, peer_restarted: bool) -> bool {
    peer_restarted || existing.silent || (existing.fresh && new_dialler < existing.dialler)
}

/// The link that is there already.
#[derive(Clone, Copy, Debug)]
pub struct Existing {
    /// Who dialled it.
    pub dialler: PeerId,
    /// Whether nothing was heard on it for a while.
    pub silent: bool,
    /// Whether it came up so lately that the other one may have been dialled before.
    pub fresh: bool,
}

impl Control {
    /// A peer has proved who it is: let it in or refuse it.
    pub(super) fn admit(&mut self, conn: ConnId, peer: PeerId, record: SignedRecord, now: Instant) {
        // Asked before it counts itself.
        let has_place = self.has_place(conn, peer, now);
        if let Some(slot) = self.links.get_mut(conn) {
            slot.peer = Some(peer);
        }
        self.answered(conn, peer, now);
        let verdict = match self.judge(&record) {
            Verdict::Accept => match self.judge_duplicate(conn, peer, &record, now) {
                Verdict::Accept if !has_place || self.is_one_too_many(conn, &peer) => {
                    Verdict::Refuse(AlertCode::Full)
                }
                verdict => verdict,
            },
            refuse @ Verdict::Refuse(_) => refuse,
        };
        let Some(slot) = self.links.get_mut(conn) else {
            return;
        };
        match verdict {
            Verdict::Accept => {
                slot.link.accept();
                self.pin(&record);
                self.gossip.take(record, None, now);
                self.drain_gossip(now);
            }
            Verdict::Refuse(code) => {
                slot.link.refuse(code);
                if code == AlertCode::Duplicate {
                    self.targets.satisfied(conn, peer, now);
                }
            }
        }
    }

    /// Whether there is a place for a peer that dialled us. One that is known gets that of another.
    pub(super) fn has_place(&mut self, conn: ConnId, peer: PeerId, now: Instant) -> bool {
        let Some(slot) = self.links.get(conn).filter(|slot| !slot.outbound) else {
            return true;
        };
        // In place of its own, which goes.
        if self.links.of_peer(&peer).is_some() {
            return true;
        }
        let source = Source::of(slot.address);
        if self.is_familiar(&peer, now) {
            return self.links.has_room() || self.make_room(now);
        }
        self.links.has_room() && self.links.of_source(source) < MAX_LINKS_PER_SOURCE
    }

    /// Whether somebody dialled us who finds us through others just as well.
    fn is_one_too_many(&self, conn: ConnId, peer: &PeerId) -> bool {
        let inbound = self.links.get(conn).is_some_and(|slot| !slot.outbound);
        inbound && self.links.of_peer(peer).is_none() && self.has_enough_without(peer)
    }

    fn judge(&self, record: &SignedRecord) -> Verdict {
        let Some(body) = record.as_identity() else {
            return Verdict::Refuse(AlertCode::BadRecord);
        };
        let mut neighbours = self.links.neighbours().map(|(peer, _)| *peer);
        let holder = neighbours.find(|peer| {
            self.body_of(peer)
                .is_some_and(|b| b.name == body.name && b.sign_key != body.sign_key)
        });
        let claims = NameClaims {
            me: (self.config.name, self.me),
            pins: &self.config.pins,
            holder,
            strict: self.config.secret.kind() == SecretKind::Open,
        };
        judge_name(body.name, &body.sign_key, &claims)
    }

    fn judge_duplicate(
        &self,
        conn: ConnId,
        peer: PeerId,
        record: &SignedRecord,
        now: Instant,
    ) -> Verdict {
        let restarted = self
            .gossip
            .epoch_of(&peer)
            .is_some_and(|epoch| record.version().epoch > epoch);
        if self.stays(conn, peer, restarted, now) {
            Verdict::Accept
        } else {
            Verdict::Refuse(AlertCode::Duplicate)
        }
    }

    /// Two links to one peer may come up at once, each admitted before the other was there: one is closed here, the
    /// same on both ends. Whether `conn` is the one that stays.
    pub(super) fn settle_duplicate(&mut self, conn: ConnId, peer: PeerId, now: Instant) -> bool {
        let Some(old) = self.links.of_peer(&peer).filter(|old| *old != conn) else {
            return true;
        };
        let stays = self.stays(conn, peer, false, now);
        let (goes, why) = (
            if stays { old } else { conn },
            "another link to the same router is kept",
        );
        if !stays {
            self.targets.satisfied(conn, peer, now);
        }
        self.drop_link(goes, why, Retry::Later, now);
        stays
    }

    fn stays(&self, conn: ConnId, peer: PeerId, restarted: bool, now: Instant) -> bool {
        let existing = self
            .links
            .of_peer(&peer)
            .filter(|old| *old != conn)
            .and_then(|old| self.links.get(old));
        let (Some(existing), Some(new)) = (existing, self.links.get(conn)) else {
            return true;
        };
        let dialler = |outbound: bool| if outbound { self.me } else { peer };
        let existing = Existing {
            dialler: dialler(existing.outbound),
            silent: existing.seems_silent(now),
            fresh: existing
                .up_since()
                .is_none_or(|up| now.since(up) < HANDSHAKE_TIMEOUT),
        };
        newer_stays(existing, dialler(new.outbound), restarted)
    }

    /// Binds a name to the key it is first seen with. Only where anyone may join: elsewhere the secret decides who may
    /// bear a name, and nobody would read the binding.
    fn pin(&mut self, record: &SignedRecord) {
        let Some((name, key)) = record.as_identity().map(|body| (body.name, body.sign_key)) else {
            return;
        };
        if self.config.secret.kind() != SecretKind::Open || self.config.pins.contains_key(&name) {
            return;
        }
        if self.config.pins.len() >= MAX_PINS {
            if !core::mem::replace(&mut self.pins_full, true) {
                self.note(Note::Warn(format!(
                    "{MAX_PINS} names are bound to keys; further names are not: mesh forget NAME makes room"
                )));
            }
            return;
        }
        self.config.pins.insert(name, key);
        self.outputs.push_back(Output::Pin(name, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(
        pins: &BTreeMap<PeerName, [u8; 32]>,
        holder: Option<PeerId>,
        strict: bool,
    ) -> NameClaims<'_> {
        NameClaims {
            me: (PeerName([2; 6]), peer_id(&[9; 32])),
            pins,
            holder,
            strict,
        }
    }

    #[test]
    fn names_are_bound_to_keys() {
        let mut pins = BTreeMap::new();
        let (name, key) = (PeerName([4; 6]), [1; 32]);
        let conflict = Verdict::Refuse(AlertCode::NameConflict);
        assert_eq!(
            judge_name(name, &key, &claims(&pins, None, true)),
            Verdict::Accept
        );
        assert_eq!(
            judge_name(name, &[9; 32], &claims(&pins, None, true)),
            Verdict::Refuse(AlertCode::SelfConnection)
        );
        assert_eq!(
            judge_name(PeerName([2; 6]), &key, &claims(&pins, None, true)),
            conflict
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&[7; 32])), true)),
            conflict
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&[7; 32])), false)),
            Verdict::Accept,
            "the secret decides"
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&key)), true)),
            Verdict::Accept
        );
        let pinned = BTreeMap::from([(name, key)]);
        assert_eq!(
            judge_name(name, &key, &claims(&pinned, Some(peer_id(&[7; 32])), true)),
            Verdict::Accept,
            "it was there first"
        );
        pins.insert(name, [8; 32]);
        assert_eq!(judge_name(name, &key, &claims(&pins, None, true)), conflict);
        assert_eq!(
            judge_name(name, &key, &claims(&pins, None, false)),
            Verdict::Accept
        );
    }

    #[test]
    fn both_ends_keep_the_same_one_of_two_crossing_links() {
        let (a, b) = (PeerId([1; 16]), PeerId([2; 16]));
        let link = |dialler| Existing {
            dialler,
            silent: false,
            fresh: true,
        };
        // One end saw a's link first, the other b's: both end with the one a dialled.
        assert!(!newer_stays(link(a), b, false));
        assert!(newer_stays(link(b), a, false));
        assert!(
            !newer_stays(link(a), a, false),
            "a second link of the same dialler is not needed"
        );
        assert!(newer_stays(
            Existing {
                silent: true,
                ..link(a)
            },
            b,
            false
        ));
        assert!(newer_stays(link(a), b, true));
        let settled = Existing {
            fresh: false,
            ..link(b)
        };
        assert!(
            !newer_stays(settled, a, false),
            "a link that works is not given up for one like it"
        );
    }
}
