//! Upkeep: what ends because of time or of others.

use super::links::Retry;
use super::neighbours::SpareLink;
use super::paths::Direct;
use super::{ControlChange, ControlParts, Note};
use crate::ids::PeerId;
use crate::link::AlertCode;
use crate::time::Instant;

impl ControlParts {
    /// Takes note that a peer does not answer where it did: another address, a relay or a new handshake may reach it.
    pub(super) fn path_died(&mut self, peer: PeerId, now: Instant) {
        self.paths.died(peer, now, &mut *self.entropy);
        if self.links.release(&peer) {
            self.follow(ControlChange::RouteReleased);
        }
        self.follow(ControlChange::PathDied);
        self.suggest_addresses(peer);
        self.links.set_direct(&peer, false, now);
        // A path that nobody uses fell silent because nobody asked; the next frame asks again.
        if self.paths.needs_path(&peer, &self.links, now)
            && let Some(dh_key) = self.dh_key(&peer)
        {
            self.sessions.renew(peer, dh_key, now, &mut *self.entropy);
        }
    }

    /// Releases kept routes to peers that no longer answer, and to those without a link in time.
    pub(super) fn tick_graceful_restart(&mut self, now: Instant) {
        let paths = &self.paths;
        let asked = |peer: &PeerId| paths.direct(peer).map(Direct::asked);
        for peer in self.links.expired_routes(asked, now) {
            if self.links.release(&peer) {
                self.follow(ControlChange::RouteReleased);
            }
        }
    }

    /// Looks at the packets that the lanes saw come back through the mesh.
    pub(super) fn tick_looped(&mut self, now: Instant) {
        let looped = self.routing.forwarder().underlay().take_looped();
        for address in looped.into_keys() {
            if let Some(warning) = self.paths.looped(address.ip(), &self.links, now) {
                self.note(Note::Warn(warning));
            }
        }
    }

    /// Keeps the sessions with neighbours, and forgets those that no frame needs.
    pub(super) fn keep_sessions(&mut self, now: Instant) {
        let neighbours: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        for peer in neighbours {
            // Begins a handshake only where one is due: no keys, or keys that grow old.
            if let Some(dh_key) = self.dh_key(&peer) {
                self.sessions.want(peer, dh_key, now, &mut *self.entropy);
            }
        }
        let (paths, around, _) = self.with_paths();
        for peer in paths.idle(around, now) {
            self.sessions.forget(peer);
            self.paths.forget(peer, now, &mut *self.entropy);
            self.follow(ControlChange::SessionForgotten);
        }
    }

    /// Tells the other ends which links are wanted here, and ends those that no end wants or that are too many.
    pub(super) fn prune_links(&mut self, now: Instant) {
        if !self.neighbours.selects() {
            return;
        }
        let peers: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        let (mut spare, mut kept) = (Vec::new(), 0);
        for peer in peers {
            let Some(conn) = self.links.of_peer(&peer) else {
                continue;
            };
            let wanted = self.neighbours.wants_link(&peer);
            kept += usize::from(wanted && self.paths.direct(&peer).is_some());
            if let Some(unwanted_there) = self.links.set_wanted(conn, wanted, now) {
                spare.push(SpareLink {
                    peer,
                    conn,
                    unwanted_there,
                });
            }
        }
        self.drain_links(now);
        let (unwanted, too_many) = self.neighbours.superfluous(spare, kept, self.view());
        for conn in unwanted {
            self.links.say_bye(conn, "both ends have links enough", now);
        }
        if let Some(conn) = too_many {
            self.links.refuse(conn, AlertCode::Full);
            let why = "this router has links enough";
            self.links.close(conn, why, Retry::Slowly, now);
        }
        self.drain_links(now);
    }
}
