//! Keys of one network that this router holds.

use std::collections::VecDeque;
use std::sync::Arc;

use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::limits::{MAX_BURNT_NETWORK_KEYS, MAX_NETWORK_KEYS, NETWORK_KEY_LINGER};
use mesh_proto::network::{NetworkId, NetworkKeyPrint};
use mesh_proto::time::Instant;

/// Key that this router holds.
#[derive(Debug)]
pub(super) struct HeldKey {
    pub(super) key: Arc<NetworkKey>,
    pub(super) print: NetworkKeyPrint,
    /// True if it is to be replaced, as a router may have it that is no member any more, or for its age.
    pub(super) stale: bool,
    /// True if it will replace another one, and seals nowhere yet.
    pub(super) next: bool,
    /// True if it has sealed, here or elsewhere.
    is_used: bool,
    /// Time at which it was asked for, or made: those who left before it may have it.
    pub(super) since: Instant,
    /// Time at which it came.
    pub(super) learnt: Instant,
    /// Time at which it last sealed, here or elsewhere, or came.
    useful: Instant,
}

/// Keys that this router holds, at most [`MAX_NETWORK_KEYS`].
#[derive(Debug)]
pub(super) struct HeldKeys {
    network: NetworkId,
    keys: Vec<HeldKey>,
    /// Stale keys that were erased, oldest first: they never seal again.
    burnt: VecDeque<NetworkKeyPrint>,
}

impl HeldKeys {
    /// Creates the table without keys.
    pub(super) fn new(network: NetworkId) -> Self {
        Self {
            network,
            keys: Vec::new(),
            burnt: VecDeque::new(),
        }
    }

    /// Adds a key, if there is room for it. `since` is the time at which it was asked for or made. Returns its
    /// fingerprint, if it was added.
    pub(super) fn add(
        &mut self,
        key: NetworkKey,
        stale: bool,
        since: Instant,
        now: Instant,
    ) -> Option<NetworkKeyPrint> {
        let print = key.print(&self.network);
        // Datagrams name a key by its short id, which must lead to one key only.
        let is_taken = self.keys.iter().any(|held| held.key.id() == key.id());
        if is_taken || self.keys.len() >= MAX_NETWORK_KEYS {
            return None;
        }
        self.keys.push(HeldKey {
            key: Arc::new(key),
            print,
            stale: stale || self.burnt.contains(&print),
            next: false,
            is_used: false,
            since,
            learnt: now,
            useful: now,
        });
        Some(print)
    }

    /// Returns the key with this fingerprint.
    pub(super) fn get(&self, print: NetworkKeyPrint) -> Option<&HeldKey> {
        self.keys.iter().find(|held| held.print == print)
    }

    /// Returns all keys, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut HeldKey> {
        self.keys.iter_mut()
    }

    /// Returns all keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &HeldKey> {
        self.keys.iter()
    }

    /// Returns true if the key is known to be replaced, held or not.
    pub(super) fn is_stale(&self, print: NetworkKeyPrint) -> bool {
        self.burnt.contains(&print) || self.get(print).is_some_and(|held| held.stale)
    }

    /// Takes note that the key seals, here or elsewhere.
    pub(super) fn note_use(&mut self, print: NetworkKeyPrint, now: Instant) {
        let held = self.keys.iter_mut().find(|held| held.print == print);
        if let Some(held) = held {
            (held.useful, held.is_used, held.next) = (now, true, false);
        }
    }

    /// Takes note that the key will replace another one, unless it did so before.
    pub(super) fn note_next(&mut self, print: NetworkKeyPrint) {
        let held = self.keys.iter_mut().find(|held| held.print == print);
        if let Some(held) = held {
            held.next = !held.is_used;
        }
    }

    /// Takes note that the key is to be replaced.
    pub(super) fn note_stale(&mut self, print: NetworkKeyPrint) {
        if let Some(held) = self.keys.iter_mut().find(|held| held.print == print) {
            held.stale = true;
        }
    }

    /// Erases the keys that have not sealed for a while, apart from `kept`. Returns true if there were any.
    pub(super) fn erase_unused(&mut self, kept: Option<NetworkKeyPrint>, now: Instant) -> bool {
        let is_over =
            |held: &HeldKey| Some(held.print) != kept && now >= held.useful + NETWORK_KEY_LINGER;
        let before = self.keys.len();
        while let Some(at) = self.keys.iter().position(is_over) {
            self.erase_at(at);
        }
        self.keys.len() != before
    }

    /// Erases keys until there is room for `more`, but none of those in `kept`: first those that have not sealed for
    /// the longest time.
    pub(super) fn make_room(&mut self, more: usize, kept: &[NetworkKeyPrint]) {
        while self.keys.len() + more > MAX_NETWORK_KEYS {
            let others = self.keys.iter().enumerate();
            let others = others.filter(|(_, held)| !kept.contains(&held.print));
            let oldest = others.min_by_key(|(_, held)| held.useful);
            let Some((at, _)) = oldest else {
                return;
            };
            self.erase_at(at);
        }
    }

    fn erase_at(&mut self, at: usize) {
        let held = self.keys.swap_remove(at);
        if held.stale && !self.burnt.contains(&held.print) {
            if self.burnt.len() >= MAX_BURNT_NETWORK_KEYS {
                self.burnt.pop_front();
            }
            self.burnt.push_back(held.print);
        }
    }
}
