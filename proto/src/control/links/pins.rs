//! Pins: names bound to the keys that they are first seen with. Only where anyone may join: elsewhere the secret decides who may
//! bear a name, and nothing reads the binding.

use std::collections::BTreeMap;

use crate::ids::PeerName;
use crate::limits::MAX_PINS;
use crate::topology::record::SignedRecord;

use super::effect::LinkEffect;
use crate::control::note::Note;

/// The pins of a router, at most [`MAX_PINS`]; when full no further name is bound.
#[derive(Debug)]
pub(super) struct Pins {
    keys: BTreeMap<PeerName, [u8; 32]>,
    /// True if names are bound at all.
    strict: bool,
    /// True if it was said that no further names are bound.
    told_full: bool,
}

impl Pins {
    pub(super) fn new(keys: BTreeMap<PeerName, [u8; 32]>, strict: bool) -> Self {
        Self {
            keys,
            strict,
            told_full: false,
        }
    }

    pub(super) fn keys(&self) -> &BTreeMap<PeerName, [u8; 32]> {
        &self.keys
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Binds the name in an identity record to its key. Returns the effect.
    pub(super) fn bind(&mut self, record: &SignedRecord) -> Option<LinkEffect> {
        let (name, key) = record
            .as_identity()
            .map(|body| (body.name, body.sign_key))?;
        if !self.strict || self.keys.contains_key(&name) {
            return None;
        }
        if self.keys.len() >= MAX_PINS {
            let told = core::mem::replace(&mut self.told_full, true);
            let warning = format!(
                "{MAX_PINS} names are bound to keys; further names are not: mesh forget NAME makes room"
            );
            return (!told).then_some(LinkEffect::Note(Note::Warn(warning)));
        }
        self.keys.insert(name, key);
        Some(LinkEffect::Pin(name, key))
    }

    /// Frees a name. Returns true if it was bound.
    pub(super) fn release(&mut self, name: PeerName) -> bool {
        let was_bound = self.keys.remove(&name).is_some();
        if was_bound {
            self.told_full = false;
        }
        was_bound
    }
}
