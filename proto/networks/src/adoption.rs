//! Choice of what this router states.
//!
//! It always states the networks that it created, those in which it has containers, and the removals that it made. What
//! it knows besides it *adopts*, when for a while no router within reach states it: those with lower ids have the
//! first turn, as far as they know it, each one second longer. Of several that adopted one, the one with the lowest id
//! goes on, unless a member or the author states it itself. This takes no messages other than the statements.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    ADOPT_AFTER, ADOPT_STEP, ADOPT_STEPS, MAX_NETWORKS_STATEMENT, MAX_STATED_NETWORKS,
    MAX_STATED_TOMBSTONES,
};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use super::definition::NetworkDefinition;
use super::labels::LabelTable;
use super::ledger::{self, KnownNetwork, NetworkLedger, Tombstone};
use super::origins::Origins;
use super::statement::{AROUND, MEMBERSHIP, NetworkMembership, NetworksStatement, REMOVAL};

/// All that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knowledge<'a> {
    pub(crate) me: PeerId,
    pub(crate) ledger: &'a NetworkLedger,
    pub(crate) origins: &'a Origins,
    pub(crate) labels: &'a LabelTable,
    pub(crate) idle: &'a BTreeSet<NetworkId>,
}

/// Networks and removals that this router adopted.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    adopted: BTreeSet<NetworkId>,
    /// Those that no router within reach states, and since when.
    unstated: BTreeMap<NetworkId, Instant>,
}

/// Statement of this router.
#[derive(Debug)]
pub(crate) struct OwnStatement {
    pub(crate) statement: NetworksStatement,
    /// Networks that have no room in it.
    pub(crate) left_out: usize,
}

impl Knowledge<'_> {
    /// Returns true if this router states the network in any case.
    fn is_own(&self, id: &NetworkId, known: &KnownNetwork) -> bool {
        known.definition.version.author == self.me || self.labels.used().contains_key(id)
    }

    /// Returns true if the removal need not be stated by anybody.
    fn is_over(&self, id: &NetworkId, stone: &Tombstone, now: Instant) -> bool {
        stone.is_expired(now) && !self.origins.is_stated(id)
    }

    /// Returns true if a further network of this router has room in its statement.
    pub(crate) fn has_room(&self, definition: &NetworkDefinition) -> bool {
        let bytes = ledger::encoded(definition);
        let live = self.ledger.live().iter();
        let own = live.filter(|(id, known)| self.is_own(id, known));
        let (count, size) = own.fold((1, bytes), |(count, size), (_, known)| {
            (count + 1, size + known.bytes)
        });
        let removals = MAX_STATED_TOMBSTONES * REMOVAL;
        count <= MAX_STATED_NETWORKS && self.around() + removals + size <= MAX_NETWORKS_STATEMENT
    }

    /// Returns the bytes of a statement without definitions and removals, at most.
    fn around(&self) -> usize {
        AROUND + self.labels.used().len() * MEMBERSHIP
    }
}

impl Adoption {
    /// Decides which networks and removals to adopt, and which no longer.
    pub(crate) fn review(&mut self, known: Knowledge<'_>, now: Instant) {
        let (me, origins) = (known.me, known.origins);
        let below = origins.below(&me, ADOPT_STEPS);
        let patience = ADOPT_AFTER + ADOPT_STEP * below;
        for (id, network) in known.ledger.live() {
            if known.is_own(id, network) {
                self.leave(id);
                continue;
            }
            let author = network.definition.version.author;
            let is_first =
                |peer: &PeerId| *peer < me || *peer == author || origins.is_member(id, peer);
            let mut stating = origins.stating_here(id).peekable();
            let is_stated = stating.peek().is_some();
            self.decide(*id, is_stated, stating.any(is_first), patience, now);
        }
        for (id, stone) in known.ledger.gone() {
            let author = stone.version.author;
            if author == me || known.is_over(id, stone, now) {
                self.leave(id);
                continue;
            }
            let is_first = |peer: &PeerId| *peer < me || *peer == author;
            let mut removing = origins.removing_here(id).peekable();
            let is_stated = removing.peek().is_some();
            self.decide(*id, is_stated, removing.any(is_first), patience, now);
        }
        let ledger = known.ledger;
        let is_known = |id: &NetworkId| ledger.get(id).is_some() || ledger.gone().contains_key(id);
        self.adopted.retain(is_known);
        self.unstated.retain(|id, _| is_known(id));
    }

    fn leave(&mut self, id: &NetworkId) {
        self.adopted.remove(id);
        self.unstated.remove(id);
    }

    fn decide(
        &mut self,
        id: NetworkId,
        is_stated: bool,
        by_first: bool,
        patience: Duration,
        now: Instant,
    ) {
        if is_stated {
            self.unstated.remove(&id);
            if by_first {
                self.adopted.remove(&id);
            }
        } else if !self.adopted.contains(&id) {
            let since = *self.unstated.entry(id).or_insert(now);
            if now.since(since) >= patience {
                self.leave(&id);
                self.adopted.insert(id);
            }
        }
    }

    /// Returns true if time alone may make this router adopt anything.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unstated.is_empty()
    }

    /// Returns the networks and removals that are adopted.
    pub(crate) fn adopted(&self) -> &BTreeSet<NetworkId> {
        &self.adopted
    }

    /// Composes the statement: first the networks in which this router has containers, then removals, then the networks
    /// that it created, then those that it adopted; as many as have room.
    pub(crate) fn statement(&self, known: Knowledge<'_>, now: Instant) -> OwnStatement {
        let mut room = MAX_NETWORKS_STATEMENT - known.around();
        let live = known.ledger.live();
        let is_used = |id: &NetworkId| known.labels.used().contains_key(id);
        let is_created = |id: &NetworkId, n: &KnownNetwork| known.is_own(id, n) && !is_used(id);
        let used = live.iter().filter(|(id, _)| is_used(id));
        let created = live.iter().filter(|(id, n)| is_created(id, n));
        let adopted = live
            .iter()
            .filter(|(id, n)| self.adopted.contains(id) && !known.is_own(id, n));
        let mut chosen = BTreeMap::new();
        let mut left_out = 0;
        let mut take = |(id, n): (&NetworkId, &KnownNetwork), room: &mut usize| {
            if chosen.len() < MAX_STATED_NETWORKS && n.bytes <= *room {
                *room -= n.bytes;
                chosen.insert(*id, n.definition.clone());
            } else {
                left_out += 1;
            }
        };
        used.for_each(|network| take(network, &mut room));
        let removals = self.removals(known, room / REMOVAL, now);
        room -= removals.len() * REMOVAL;
        let rest = created.chain(adopted);
        rest.for_each(|network| take(network, &mut room));
        let memberships = known.labels.used().iter();
        let memberships = memberships.filter(|(id, _)| chosen.contains_key(id));
        let memberships = memberships.map(|(network, label)| NetworkMembership {
            network: *network,
            label: *label,
            is_idle: known.idle.contains(network),
            extension: Vec::new(),
        });
        let statement = NetworksStatement {
            memberships: memberships.collect(),
            removals: removals
                .into_iter()
                .map(|(id, s)| s.removal(id, now))
                .collect(),
            definitions: chosen.into_values().map(|d| (*d).clone()).collect(),
            extension: Vec::new(),
        };
        OwnStatement {
            statement,
            left_out,
        }
    }

    /// Returns the removals to state: those of networks that are still mentioned, then the newest.
    fn removals(
        &self,
        known: Knowledge<'_>,
        room: usize,
        now: Instant,
    ) -> BTreeMap<NetworkId, Tombstone> {
        let gone = known.ledger.gone().iter();
        let mine = gone.filter(|(id, stone)| {
            let is_mine = stone.version.author == known.me || self.adopted.contains(id);
            is_mine && !known.is_over(id, stone, now)
        });
        let mut mine: Vec<(&NetworkId, &Tombstone)> = mine.collect();
        mine.sort_by_key(|(id, stone)| {
            let is_mentioned = known.origins.is_stated(id);
            (Reverse(is_mentioned), stone.age(now), **id)
        });
        mine.truncate(room.min(MAX_STATED_TOMBSTONES));
        mine.into_iter().map(|(id, stone)| (*id, *stone)).collect()
    }
}
