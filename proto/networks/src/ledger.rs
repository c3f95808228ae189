//! Ledger: all networks that this router has ever heard of, defined or removed. It only grows, apart from its bounds.
//!
//! What it knows of one id is a definition or a tombstone. Of two definitions the greater one stays, and a tombstone is
//! greater than every definition. So the ledger is a join: it depends on what was heard, not on the order.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_proto::ids::PeerId;
use mesh_proto::limits::{MAX_NETWORKS, MAX_STATED_NETWORKS, MAX_TOMBSTONES, TOMBSTONE};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::codec;

use super::definition::{NetworkDefinition, NetworkVersion};
use super::statement::NetworkRemoval;

/// Nanoseconds of an hour, in which the age of a tombstone is stated.
const HOUR: Duration = Duration::from_secs(3_600);

/// Network that is known.
#[derive(Clone, Debug)]
pub(crate) struct KnownNetwork {
    pub(crate) definition: Arc<NetworkDefinition>,
    /// Router from which it was first heard; its share is charged.
    pub(crate) sponsor: PeerId,
    /// Bytes of its encoding.
    pub(crate) bytes: usize,
}

/// Network that was removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tombstone {
    pub(crate) version: NetworkVersion,
    pub(crate) sponsor: PeerId,
    /// Age when it was noted.
    aged: Duration,
    noted: Instant,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct NetworkLedger {
    live: BTreeMap<NetworkId, KnownNetwork>,
    gone: BTreeMap<NetworkId, Tombstone>,
    /// Known networks by sponsor.
    shares: BTreeMap<PeerId, usize>,
}

/// Effect of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// It was known, or its network is removed.
    Nothing,
    /// The network is new.
    Added(Arc<NetworkDefinition>),
    /// It is newer than the known one.
    Changed(Arc<NetworkDefinition>),
    /// There is no room.
    Full,
}

/// Effect of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Buried {
    /// It was known, or is too old to be noted.
    Nothing,
    /// The network was not known.
    Noted,
    /// The network has ended.
    Ended(Arc<NetworkDefinition>),
}

impl Tombstone {
    /// Returns the time for which the removal has been known.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.aged + now.since(self.noted)
    }

    /// Returns true if it need not be kept for its age.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.age(now) >= TOMBSTONE
    }

    /// Returns what is stated of it.
    pub(crate) fn removal(&self, network: NetworkId, now: Instant) -> NetworkRemoval {
        let hours = self.age(now).as_secs() / HOUR.as_secs();
        NetworkRemoval {
            network,
            version: self.version,
            age: u16::try_from(hours).unwrap_or(u16::MAX),
        }
    }
}

impl NetworkLedger {
    /// Takes note of a definition, which `sponsor` states.
    pub(crate) fn learn(&mut self, definition: &NetworkDefinition, sponsor: PeerId) -> Learnt {
        let id = definition.id;
        if self.gone.contains_key(&id) {
            return Learnt::Nothing;
        }
        if let Some(known) = self.live.get_mut(&id) {
            if *known.definition >= *definition {
                return Learnt::Nothing;
            }
            known.definition = Arc::new(definition.clone());
            known.bytes = encoded(definition);
            return Learnt::Changed(known.definition.clone());
        }
        if !self.has_room(&sponsor) {
            return Learnt::Full;
        }
        let known = KnownNetwork {
            definition: Arc::new(definition.clone()),
            sponsor,
            bytes: encoded(definition),
        };
        let definition = known.definition.clone();
        self.live.insert(id, known);
        *self.shares.entry(sponsor).or_default() += 1;
        Learnt::Added(definition)
    }

    /// Returns true if there is room for a further network from this router.
    pub(crate) fn has_room(&self, sponsor: &PeerId) -> bool {
        let share = self.shares.get(sponsor).copied().unwrap_or(0);
        self.live.len() < MAX_NETWORKS && share < MAX_STATED_NETWORKS
    }

    /// Takes note of a removal, which `sponsor` states.
    pub(crate) fn bury(
        &mut self,
        removal: &NetworkRemoval,
        sponsor: PeerId,
        now: Instant,
    ) -> Buried {
        let stone = Tombstone {
            version: removal.version,
            sponsor,
            aged: HOUR * u32::from(removal.age),
            noted: now,
        };
        self.insert(removal.network, stone, now)
    }

    fn insert(&mut self, id: NetworkId, stone: Tombstone, now: Instant) -> Buried {
        if let Some(known) = self.gone.get_mut(&id) {
            known.version = known.version.max(stone.version);
            if stone.age(now) > known.age(now) {
                (known.aged, known.noted) = (stone.aged, stone.noted);
            }
            return Buried::Nothing;
        }
        let ended = self.end(&id);
        // One that nobody kept for its age, and that ends nothing here, is over.
        if ended.is_none() && stone.is_expired(now) {
            return Buried::Nothing;
        }
        if self.gone.len() >= MAX_TOMBSTONES {
            self.forget_oldest(now);
        }
        self.gone.insert(id, stone);
        ended.map_or(Buried::Noted, Buried::Ended)
    }

    fn end(&mut self, id: &NetworkId) -> Option<Arc<NetworkDefinition>> {
        let known = self.live.remove(id)?;
        if let Some(share) = self.shares.get_mut(&known.sponsor) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&known.sponsor);
            }
        }
        Some(known.definition)
    }

    /// Forgets the oldest tombstone of the router from which most were heard.
    fn forget_oldest(&mut self, now: Instant) {
        let mut shares: BTreeMap<PeerId, usize> = BTreeMap::new();
        for stone in self.gone.values() {
            *shares.entry(stone.sponsor).or_default() += 1;
        }
        let Some((most, _)) = shares.into_iter().max_by_key(|(_, count)| *count) else {
            return;
        };
        let theirs = self.gone.iter().filter(|(_, s)| s.sponsor == most);
        let oldest = theirs.max_by_key(|(_, stone)| stone.age(now));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.gone.remove(&id);
        }
    }

    /// Forgets tombstones that are old enough, unless their network is still `mentioned`. Returns true if there were any.
    pub(crate) fn expire(&mut self, mentioned: impl Fn(&NetworkId) -> bool, now: Instant) -> bool {
        let before = self.gone.len();
        self.gone
            .retain(|id, stone| !stone.is_expired(now) || mentioned(id));
        self.gone.len() < before
    }

    /// Returns all known networks, by id.
    pub(crate) fn live(&self) -> &BTreeMap<NetworkId, KnownNetwork> {
        &self.live
    }

    /// Returns all removed networks, by id.
    pub(crate) fn gone(&self) -> &BTreeMap<NetworkId, Tombstone> {
        &self.gone
    }

    /// Returns the definition of a network.
    pub(crate) fn get(&self, id: &NetworkId) -> Option<&Arc<NetworkDefinition>> {
        self.live.get(id).map(|known| &known.definition)
    }
}

/// Returns the bytes of a definition in a statement.
pub(crate) fn encoded(definition: &NetworkDefinition) -> usize {
    let mut bytes = Vec::new();
    let _ = codec::encode(definition, &mut bytes);
    bytes.len()
}
