//! Routers that are no longer dialled because the operator said so: `mesh forget` holds for targets and for discovery, until `mesh connect`.
//!
//! It is about dialling only. A link that is up stays, and a forgotten router may dial this one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::targets::{self, DialTo, TargetKey};
use super::{Control, Output};
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits::MAX_FORGOTTEN;

/// What was forgotten, as typed, and who that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// As typed.
    pub target: String,
    /// The router behind it, where it was known.
    pub peer: Option<PeerId>,
}

/// What became of one word of `mesh forget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgot {
    /// It is not dialled any more.
    Done,
    /// The same, but there is a link, which stays while it lives.
    Linked,
    /// No target, router or pinned name is called so.
    Unknown,
}

/// All that was forgotten, the oldest first; at most [`MAX_FORGOTTEN`], of more the oldest go.
#[derive(Debug, Default)]
pub(super) struct Forgets(Vec<Forgotten>);

impl Forgets {
    pub(super) fn new(mut all: Vec<Forgotten>) -> Self {
        all.drain(..all.len().saturating_sub(MAX_FORGOTTEN));
        Self(all)
    }

    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.0.iter().any(|f| f.peer.as_ref() == Some(peer))
    }

    /// Whether an address was forgotten of which it was not known who is there.
    pub(super) fn has_address(&self, address: SocketAddr, port: u16) -> bool {
        let unknown = self.0.iter().filter(|f| f.peer.is_none());
        let mut addresses = unknown.filter_map(|f| address_of(&f.target, port));
        addresses.any(|forgotten| forgotten == address)
    }

    fn has_word(&self, target: &str) -> bool {
        self.0.iter().any(|f| f.target == target)
    }

    fn add(&mut self, forgotten: Forgotten) {
        self.0.retain(|f| *f != forgotten);
        self.0.push(forgotten);
        self.0.drain(..self.0.len().saturating_sub(MAX_FORGOTTEN));
    }

    /// Whether there was anything to take out.
    fn retain(&mut self, keep: impl Fn(&Forgotten) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(keep);
        self.0.len() != before
    }
}

fn address_of(target: &str, port: u16) -> Option<SocketAddr> {
    match targets::parse_target(target, port) {
        Ok(DialTo::Address(address)) => Some(address),
        _ => None,
    }
}

impl Control {
    /// `mesh forget`: no longer dials these, neither as targets nor by discovery; live links stay. Of a name that is bound
    /// to a key, that is forgotten. What became of each, in their order.
    pub fn forget(&mut self, targets: &[String]) -> Vec<Forgot> {
        let done = targets.iter().map(|text| self.forget_one(text)).collect();
        self.save_targets();
        self.save_forgotten();
        done
    }

    fn forget_one(&mut self, text: &str) -> Forgot {
        let peers = self.called(text);
        let was_target = self.targets.forget(text);
        if self.unpin(text) && !was_target {
            return Forgot::Done;
        }
        if !was_target && peers.is_empty() {
            // An address may be one that discovery has yet to learn.
            if address_of(text, self.config.port).is_none() {
                return match self.forgotten.has_word(text) {
                    true => Forgot::Done,
                    false => Forgot::Unknown,
                };
            }
        }
        let is_linked = peers.iter().any(|p| self.links.of_peer(p).is_some());
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

    /// The router that an operator means: the one that answered for a target, or that is linked at an address, or of a name or
    /// nickname.
    fn called(&self, text: &str) -> Vec<PeerId> {
        let answered = self.targets.answered(text);
        if let Some(peer) = answered.filter(|peer| *peer != self.me) {
            return vec![peer];
        }
        let name: Option<PeerName> = text.parse().ok();
        let address = address_of(text, self.config.port);
        let is_meant = |peer: &PeerId| {
            let Some(body) = self.gossip.identity(peer) else {
                return false;
            };
            let slot = self.links.of_peer(peer).and_then(|c| self.links.get(c));
            let linked = slot.map(|slot| slot.address);
            body.nickname == text
                || Some(body.name) == name
                || address.is_some_and(|a| body.endpoints.contains(&a) || linked == Some(a))
        };
        let known = self.routes.known().filter(|peer| *peer != self.me);
        known.filter(is_meant).collect()
    }

    fn unpin(&mut self, text: &str) -> bool {
        let Ok(name) = text.parse::<PeerName>() else {
            return false;
        };
        let was_pinned = self.config.pins.remove(&name).is_some();
        if was_pinned {
            self.pins_full = false;
            self.outputs.push_back(Output::Unpin(name));
        }
        was_pinned
    }

    /// What is connected is not forgotten any more, by whatever name it was.
    pub(super) fn remember_targets(&mut self, targets: &[String]) {
        let peers: Vec<PeerId> = targets.iter().flat_map(|t| self.called(t)).collect();
        let is_kept = |f: &Forgotten| {
            !targets.contains(&f.target) && !f.peer.is_some_and(|p| peers.contains(&p))
        };
        // Other words for the same router go with it.
        let named: Vec<PeerId> = self
            .forgotten
            .0
            .iter()
            .filter(|f| !is_kept(f))
            .filter_map(|f| f.peer)
            .collect();
        let changed = self
            .forgotten
            .retain(|f| is_kept(f) && !f.peer.is_some_and(|p| named.contains(&p)));
        if changed {
            self.save_forgotten();
        }
    }

    /// A target of the operator turned out to be this router.
    pub(super) fn remember_peer(&mut self, conn: ConnId, peer: PeerId) {
        let is_explicit = matches!(self.targets.key_of(conn), Some(TargetKey::Explicit(_)));
        if is_explicit && self.forgotten.retain(|f| f.peer != Some(peer)) {
            self.save_forgotten();
        }
    }

    fn save_forgotten(&mut self) {
        let all = self.forgotten.0.clone();
        self.outputs.push_back(Output::Forgotten(all));
    }

    /// The words that were forgotten, each once.
    pub(super) fn forgotten_words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.forgotten.0.iter().map(|f| f.target.clone()).collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}
