//! Routers that are no longer dialled because the operator said so: `mesh forget` holds for targets and for discovery, until
//! `mesh connect`.
//!
//! It is about dialling only. A link that is up stays, and a forgotten router may dial this one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::target_text::{DialTo, parse_target};
use crate::ids::PeerId;
use crate::limits::MAX_FORGOTTEN;

/// Target that was forgotten, as typed, with the peer that it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// As typed.
    pub target: String,
    /// The router behind it, where it was known.
    pub peer: Option<PeerId>,
}

/// Outcome of one word of `mesh forget`.
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
pub(crate) struct Forgets(Vec<Forgotten>);

impl Forgets {
    /// Returns all, the oldest first.
    pub(crate) fn all(&self) -> &[Forgotten] {
        &self.0
    }

    pub(crate) fn new(mut all: Vec<Forgotten>) -> Self {
        all.drain(..all.len().saturating_sub(MAX_FORGOTTEN));
        Self(all)
    }

    pub(crate) fn has(&self, peer: &PeerId) -> bool {
        self.0.iter().any(|f| f.peer.as_ref() == Some(peer))
    }

    /// Returns true if an address was forgotten whose router was not known.
    pub(crate) fn has_address(&self, address: SocketAddr, port: u16) -> bool {
        let unknown = self.0.iter().filter(|f| f.peer.is_none());
        let mut addresses = unknown.filter_map(|f| address_of(&f.target, port));
        addresses.any(|forgotten| forgotten == address)
    }

    pub(crate) fn has_word(&self, target: &str) -> bool {
        self.0.iter().any(|f| f.target == target)
    }

    pub(crate) fn add(&mut self, forgotten: Forgotten) {
        self.0.retain(|f| *f != forgotten);
        self.0.push(forgotten);
        self.0.drain(..self.0.len().saturating_sub(MAX_FORGOTTEN));
    }

    /// Removes all but those to keep. Returns true if any went.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Forgotten) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(keep);
        self.0.len() != before
    }
}

pub(crate) fn address_of(target: &str, port: u16) -> Option<SocketAddr> {
    match parse_target(target, port) {
        Ok(DialTo::Address(address)) => Some(address),
        _ => None,
    }
}
