//! `connect`, `forget`, and the dials that are due.

use std::net::SocketAddr;

use super::targets::{self, DialTo, Retry, TargetKey};
use super::{Control, Output};
use crate::ids::{ConnId, PeerId};
use crate::limits;
use crate::time::Instant;

/// Why a target is not linked although it answers.
pub(super) const NO_ROOM: &str = "this router has as many links as it may";

impl Control {
    /// `mesh connect`: adds targets, or replaces the whole list.
    ///
    /// # Errors
    /// A sentence naming the first target that is malformed or does not fit; nothing is changed then.
    pub fn connect(
        &mut self,
        targets: &[String],
        replace: bool,
        now: Instant,
    ) -> Result<(), String> {
        for target in targets {
            targets::parse_target(target, self.config.port)?;
        }
        let kept = if replace {
            0
        } else {
            self.targets.explicit().count()
        };
        if kept + targets.len() > limits::MAX_TARGETS {
            return Err(format!(
                "too many targets: a router keeps at most {}",
                limits::MAX_TARGETS
            ));
        }
        if replace {
            self.targets.retain_explicit(targets);
        }
        self.remember_targets(targets);
        self.targets.add_explicit(targets.iter().cloned(), now);
        self.save_targets();
        self.dial_due(now);
        self.flush(now);
        Ok(())
    }

    /// The explicit targets, as typed.
    pub fn explicit_targets(&self) -> Vec<String> {
        self.targets.explicit().map(str::to_owned).collect()
    }

    pub(super) fn save_targets(&mut self) {
        let targets = self.explicit_targets();
        self.outputs.push_back(Output::Targets(targets));
    }

    pub(super) fn dial_due(&mut self, now: Instant) {
        for (key, row) in self.targets.due(now) {
            let (to, others) = self.ways_to(&key, row);
            let conn = self.new_conn();
            self.targets.dialling(&key, conn);
            match to {
                Some(to)
                    if self.links.has_room()
                        || matches!(key, TargetKey::Explicit(_))
                            && self.least_needed(now).is_some() =>
                {
                    self.outputs.push_back(Output::Dial { conn, to, others });
                }
                Some(_) => self.dial_failed(conn, NO_ROOM, Retry::Slowly, now),
                None => self.dial_failed(
                    conn,
                    "no address of that router is known",
                    Retry::Slowly,
                    now,
                ),
            }
        }
    }

    /// Looks again at targets whose answer came from where the answering peer should not be.
    pub(super) fn doubt_targets(&mut self, now: Instant) {
        let (links, lsdb) = (&self.links, self.gossip.lsdb());
        let is_own = |peer: PeerId, address: SocketAddr| {
            let conn = links.of_peer(&peer).and_then(|conn| links.get(conn));
            let linked = conn.is_some_and(|slot| slot.address.ip() == address.ip());
            let announced = lsdb
                .identity(&peer)
                .is_some_and(|body| body.endpoints.iter().any(|e| e.ip() == address.ip()));
            linked || announced
        };
        self.targets.doubt(is_own, now);
    }

    pub(super) fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    pub(super) fn dial_failed(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        self.targets
            .failed(conn, error, retry, now, &mut *self.entropy);
    }

    /// `peer` has proved that it is who answers at the address that `conn` dialled: it may live now where another router
    /// was, or have an address that means another host elsewhere.
    pub(super) fn answered(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        let Some(TargetKey::Discovered(sought)) = self.targets.key_of(conn) else {
            return;
        };
        if [*sought, self.me].contains(&peer) {
            return;
        }
        let addresses = self.discovered_addresses(sought).len();
        let others = self.routes.is_reachable(&peer).then_some(addresses);
        self.targets
            .answered_by_another(conn, peer, others, now, &mut *self.entropy);
    }

    /// Where to dial a target, and where else. Where its router answers by UDP it most likely answers by TCP.
    fn ways_to(&self, key: &TargetKey, row: usize) -> (Option<DialTo>, Vec<SocketAddr>) {
        match key {
            TargetKey::Explicit(text) => {
                let peer = self.targets.peer_at(key);
                let answering = peer.and_then(|peer| self.answering_address(&peer));
                let to = targets::parse_target(text, self.config.port).ok();
                (to, answering.into_iter().collect())
            }
            TargetKey::Discovered(peer) => {
                let mut addresses = self.discovered_addresses(peer);
                if let Some(first) = self.answering_address(peer) {
                    addresses.retain(|address| *address != first);
                    addresses.insert(0, first);
                }
                // At each try another one comes first: one that answers may be a router that is not sought.
                let first = row.checked_rem(addresses.len()).unwrap_or(0);
                addresses.rotate_left(first);
                addresses.truncate(limits::MAX_CANDIDATES);
                let mut addresses = addresses.into_iter();
                (addresses.next().map(DialTo::Address), addresses.collect())
            }
        }
    }

    /// The addresses of a discovered peer: its own, those others reach it at, then where it answered before the start.
    pub(super) fn discovered_addresses(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let mut addresses = self.addresses_of(peer);
        let port = self.config.port;
        addresses.retain(|a| !self.forgotten.has_address(*a, port));
        for before in self.memory.addresses(peer) {
            if !addresses.contains(before) && !self.forgotten.has_address(*before, port) {
                addresses.push(*before);
            }
        }
        addresses
    }
}
