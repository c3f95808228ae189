//! Dials: the operator's targets, where to dial each target, and what follows from the ends of dials and links.

use std::net::SocketAddr;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits::{MAX_CANDIDATES, MAX_TARGETS};
use crate::time::Instant;

use super::forgotten::address_of;
use super::target_text::{DialTo, parse_target};
use super::{Forgot, Forgotten, NeighbourEffect, Neighbours, TargetKey};
use crate::control::links::{LinkSlot, Retry};
use crate::control::view::ControlView;

/// Error of a target that is not linked although it answers.
pub(crate) const NO_ROOM: &str = "this router has as many links as it may";

impl Neighbours {
    /// Adds targets, or replaces the whole list.
    ///
    /// # Errors
    /// A sentence naming the first target that is malformed or does not fit; nothing is changed then.
    pub(crate) fn connect(
        &mut self,
        targets: &[String],
        replace: bool,
        view: ControlView<'_>,
        now: Instant,
    ) -> Result<(), String> {
        for target in targets {
            parse_target(target, self.port)?;
        }
        let kept = match replace {
            true => 0,
            false => self.targets.explicit().count(),
        };
        if kept + targets.len() > MAX_TARGETS {
            return Err(format!(
                "too many targets: a router keeps at most {MAX_TARGETS}"
            ));
        }
        if replace {
            self.targets.retain_explicit(targets);
        }
        self.remember_targets(targets, view);
        self.targets.add_explicit(targets.iter().cloned(), now);
        self.save_targets();
        Ok(())
    }

    /// Hands out the explicit targets, to be kept.
    pub(crate) fn save_targets(&mut self) {
        let targets = self.explicit().map(str::to_owned).collect();
        self.effects.push_back(NeighbourEffect::Targets(targets));
    }

    /// Hands out what was forgotten, to be kept.
    pub(crate) fn save_forgotten(&mut self) {
        let all = self.forgotten.all().to_vec();
        self.effects.push_back(NeighbourEffect::Forgotten(all));
    }

    /// Forgets what an operator calls so; `was_pinned` says that a name was freed.
    pub(crate) fn forget(&mut self, text: &str, was_pinned: bool, view: ControlView<'_>) -> Forgot {
        let peers = self.called(text, view);
        let was_target = self.targets.forget(text);
        if was_pinned && !was_target {
            return Forgot::Done;
        }
        // An address may be one that discovery has yet to learn.
        if !was_target && peers.is_empty() && address_of(text, self.port).is_none() {
            return match self.forgotten.has_word(text) {
                true => Forgot::Done,
                false => Forgot::Unknown,
            };
        }
        let is_linked = peers.iter().any(|p| view.links.of_peer(p).is_some());
        if peers.is_empty() {
            self.forgotten.add(Forgotten {
                target: text.to_owned(),
                peer: None,
            });
        }
        for peer in peers {
            self.targets.forget_discovered(peer);
            self.forgotten.add(Forgotten {
                target: text.to_owned(),
                peer: Some(peer),
            });
        }
        match is_linked {
            true => Forgot::Linked,
            false => Forgot::Done,
        }
    }

    /// Returns the routers that an operator means: the one that answered for a target, or those that are linked at an address,
    /// or of a name or nickname.
    fn called(&self, text: &str, view: ControlView<'_>) -> Vec<PeerId> {
        let answered = self.targets.answered(text);
        if let Some(peer) = answered.filter(|peer| *peer != self.me) {
            return vec![peer];
        }
        let name: Option<PeerName> = text.parse().ok();
        let address = address_of(text, self.port);
        let is_meant = |peer: &PeerId| {
            let Some(body) = view.gossip.identity(peer) else {
                return false;
            };
            let linked = view.links.to(peer).map(LinkSlot::address);
            body.nickname == text
                || Some(body.name) == name
                || address.is_some_and(|a| body.endpoints.contains(&a) || linked == Some(a))
        };
        let known = view.routes.known().filter(|peer| *peer != self.me);
        known.filter(is_meant).collect()
    }

    /// Remembers what is connected, by whatever name it was forgotten.
    fn remember_targets(&mut self, targets: &[String], view: ControlView<'_>) {
        let peers: Vec<PeerId> = targets.iter().flat_map(|t| self.called(t, view)).collect();
        let is_kept = |f: &Forgotten| {
            !targets.contains(&f.target) && !f.peer.is_some_and(|p| peers.contains(&p))
        };
        // Other words for the same router go with it.
        let all = self.forgotten.all().iter();
        let named: Vec<PeerId> = all.filter(|f| !is_kept(f)).filter_map(|f| f.peer).collect();
        let changed = self
            .forgotten
            .retain(|f| is_kept(f) && !f.peer.is_some_and(|p| named.contains(&p)));
        if changed {
            self.save_forgotten();
        }
    }

    // Dials

    /// Returns the targets that are due, each with the number of its dials in a row.
    pub(crate) fn due(&self, now: Instant) -> Vec<(TargetKey, usize)> {
        self.targets.due(now)
    }

    /// Dials a target that is due.
    pub(crate) fn dial(
        &mut self,
        conn: ConnId,
        (key, row): (&TargetKey, usize),
        view: ControlView<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let (to, others) = self.ways_to(key, row, view);
        self.targets.dialling(key, conn);
        let Some(to) = to else {
            let why = "no address of that router is known";
            self.failed(conn, why, Retry::Slowly, now, entropy);
            return;
        };
        let is_explicit = matches!(key, TargetKey::Explicit(_));
        let can_make_room = || {
            let is_known = |peer: &PeerId| self.knows(peer);
            view.links.least_needed(is_known, now).is_some()
        };
        if view.links.has_room() || is_explicit && can_make_room() {
            self.effects
                .push_back(NeighbourEffect::Dial { conn, to, others });
        } else {
            self.failed(conn, NO_ROOM, Retry::Slowly, now, entropy);
        }
    }

    /// Returns where to dial a target, and where else. Where its router answers by UDP it most likely answers by TCP.
    fn ways_to(
        &self,
        key: &TargetKey,
        row: usize,
        view: ControlView<'_>,
    ) -> (Option<DialTo>, Vec<SocketAddr>) {
        match key {
            TargetKey::Explicit(text) => {
                let peer = self.targets.peer_at(key);
                let answering = peer.and_then(|peer| self.answering_address(&peer, view));
                let to = parse_target(text, self.port).ok();
                (to, answering.into_iter().collect())
            }
            TargetKey::Discovered(peer) => {
                let mut addresses = self.addresses_of(peer, view);
                if let Some(first) = self.answering_address(peer, view) {
                    addresses.retain(|address| *address != first);
                    addresses.insert(0, first);
                }
                // At each try another one comes first: one that answers may be a router that is not sought.
                let first = row.checked_rem(addresses.len()).unwrap_or(0);
                addresses.rotate_left(first);
                addresses.truncate(MAX_CANDIDATES);
                let mut addresses = addresses.into_iter();
                (addresses.next().map(DialTo::Address), addresses.collect())
            }
        }
    }

    /// Returns the addresses of a discovered peer: its own, those at which others reach it, then those from before the start.
    fn addresses_of(&self, peer: &PeerId, view: ControlView<'_>) -> Vec<SocketAddr> {
        let mut addresses = view.addresses_of(peer);
        addresses.retain(|a| !self.forgotten.has_address(*a, self.port));
        for before in self.warm_start.addresses(peer) {
            if !addresses.contains(before) && !self.forgotten.has_address(*before, self.port) {
                addresses.push(*before);
            }
        }
        addresses
    }

    /// Returns the address of the announced ones, or with the announced port, at which `peer` answers by UDP.
    fn answering_address(&self, peer: &PeerId, view: ControlView<'_>) -> Option<SocketAddr> {
        let direct = view.paths.direct(peer)?.address;
        let known = self.addresses_of(peer, view);
        if known.contains(&direct) {
            return Some(direct);
        }
        let port = known.first().map_or(self.port, SocketAddr::port);
        Some(SocketAddr::new(direct.ip(), port))
    }

    // What follows

    /// Takes note of the address that a dial reached. Returns true if its target is an explicit one.
    pub(crate) fn reached(&mut self, conn: ConnId, to: SocketAddr) -> bool {
        self.targets.reached(conn, to);
        self.is_explicit(conn)
    }

    fn is_explicit(&self, conn: ConnId) -> bool {
        matches!(self.targets.key_of(conn), Some(TargetKey::Explicit(_)))
    }

    /// Takes note that `peer` has proved that it is the one at the address that `conn` dialled: it may live now where another
    /// router was, or have an address that means another host elsewhere.
    pub(crate) fn answered(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        view: ControlView<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some(TargetKey::Discovered(sought)) = self.targets.key_of(conn) else {
            return;
        };
        if [*sought, self.me].contains(&peer) {
            return;
        }
        let addresses = self.addresses_of(sought, view).len();
        let others = view.routes.is_reachable(&peer).then_some(addresses);
        self.targets
            .answered_by_another(conn, peer, others, now, entropy);
    }

    /// Takes note of a link to `peer`: the targets that it satisfies need no dial.
    pub(crate) fn satisfied(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        self.targets.satisfied(conn, peer, now);
    }

    /// Takes note of a link to `peer` that is up: it is not forgotten any more if the operator's target was this router.
    pub(crate) fn linked(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        if self.is_explicit(conn) && self.forgotten.retain(|f| f.peer != Some(peer)) {
            self.save_forgotten();
        }
        self.satisfied(conn, peer, now);
    }

    /// Takes note that the other end has links enough, and is within reach through others.
    pub(crate) fn declined(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        view: ControlView<'_>,
        now: Instant,
    ) {
        if view.routes.is_reachable(&peer) {
            self.selection.declined(peer, now);
            self.targets.declined(conn, peer, now);
        }
    }

    /// Takes note that the dial or link of `conn` ended.
    pub(crate) fn failed(
        &mut self,
        conn: ConnId,
        error: &str,
        retry: Retry,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.targets.failed(conn, error, retry, now, entropy);
    }

    /// Takes note that the last link to `peer` ended.
    pub(crate) fn lost(
        &mut self,
        peer: PeerId,
        error: &str,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.targets.lost(peer, error, now, entropy);
    }

    /// Dials failed targets soon: the host has other addresses than before.
    pub(crate) fn try_again(&mut self, now: Instant) {
        self.targets.try_again(now);
    }

    /// Looks again at targets whose answer came from where the answering peer should not be.
    pub(crate) fn doubt_targets(&mut self, view: ControlView<'_>, now: Instant) {
        let is_own = |peer: PeerId, address: SocketAddr| {
            let linked = view.links.to(&peer).map(|slot| slot.address().ip());
            let announced = view.gossip.identity(&peer);
            linked == Some(address.ip())
                || announced
                    .is_some_and(|body| body.endpoints.iter().any(|e| e.ip() == address.ip()))
        };
        self.targets.doubt(is_own, now);
    }
}
