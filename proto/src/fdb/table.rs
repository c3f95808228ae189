//! MAC table without its lock: a keyed hash map, and an index by owner and age for replacement.

use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{FdbEntry, FdbLimits, Learn, Owner};
use crate::ids::Mac;
use crate::limits::{
    FDB_AGE, FDB_HOLD, FDB_LATE, FDB_MAX_MOVES, FDB_MOVE_WINDOW, FLAP_MOVES, FLAP_WINDOW,
};
use crate::shared_room::RoomShare;
use crate::time::Instant;

/// Shortest time between two refreshes of an address, so that lanes do not contend for its cache line.
const REFRESH: Duration = Duration::from_secs(1);
/// Entries examined for replacement (second-chance algorithm); the bound keeps the write lock short.
const SECOND_CHANCES: usize = 32;

#[derive(Debug)]
pub(super) struct MacTable {
    limits: FdbLimits,
    share: RoomShare,
    entries: HashMap<Mac, MacEntry, KeyedHash>,
    /// All entries by owner, in the order in which they were queued for replacement.
    queue: BTreeSet<(Owner, u64, Mac)>,
    counts: BTreeMap<Owner, usize>,
    /// The same counts, ordered; the last is the owner with the most addresses.
    by_count: BTreeSet<(usize, Owner)>,
    /// Number of the next place in the queue.
    ticket: u64,
}

#[derive(Debug)]
struct MacEntry {
    owner: Owner,
    ticket: u64,
    /// Time at which the address was seen, in nanoseconds, accurate to [`REFRESH`].
    seen: AtomicU64,
    /// Value of `seen` when the entry was queued.
    queued: u64,
    moves: u32,
    first_move: Instant,
    held_until: Instant,
    /// Moves since `first_flap`, slow ones included.
    flaps: u32,
    first_flap: Instant,
    /// Previous owner, and the time until which its frames are considered late.
    left: Option<(Owner, Instant)>,
}

impl MacEntry {
    fn is_expired(&self, now: Instant) -> bool {
        self.idle(now) >= FDB_AGE
    }

    fn idle(&self, now: Instant) -> Duration {
        now.since(Instant::from_nanos(self.seen.load(Relaxed)))
    }

    /// Returns true if a frame of `owner` was sent before the address moved away from there. Frames of the local port
    /// are never late.
    fn is_late(&self, owner: Owner, now: Instant) -> bool {
        owner != Owner::Local
            && self
                .left
                .is_some_and(|(left, until)| left == owner && now < until)
    }

    /// Counts a move. Returns false if there were too many and the address must stay.
    fn may_move(&mut self, now: Instant) -> bool {
        if now < self.held_until {
            return false;
        }
        if now.since(self.first_move) > FDB_MOVE_WINDOW {
            self.first_move = now;
            self.moves = 0;
        }
        self.moves += 1;
        if self.moves > FDB_MAX_MOVES {
            self.moves = 0;
            self.first_move = now;
            self.held_until = now + FDB_HOLD;
            return false;
        }
        true
    }
}

impl MacTable {
    pub(super) fn new(key: [u64; 2], limits: FdbLimits, share: RoomShare) -> Self {
        Self {
            limits,
            share,
            entries: HashMap::with_hasher(KeyedHash(key)),
            queue: BTreeSet::new(),
            counts: BTreeMap::new(),
            by_count: BTreeSet::new(),
            ticket: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn lookup(&self, mac: Mac, now: Instant) -> Option<Owner> {
        let entry = self.entries.get(&mac)?;
        (!entry.is_expired(now)).then_some(entry.owner)
    }

    /// Updates the age of `mac`. Returns false if it is not behind `owner`.
    pub(super) fn refresh(&self, mac: Mac, owner: Owner, now: Instant) -> bool {
        let Some(entry) = self.entries.get(&mac) else {
            return false;
        };
        if entry.owner != owner {
            return false;
        }
        if entry.idle(now) >= REFRESH {
            entry.seen.fetch_max(now.as_nanos(), Relaxed);
        }
        true
    }

    pub(super) fn learn(&mut self, mac: Mac, owner: Owner, now: Instant) -> Learn {
        // Another lane may have learnt it between the two locks.
        if self.refresh(mac, owner, now) {
            return Learn::Same;
        }
        let Some(entry) = self.entries.get_mut(&mac) else {
            return self.insert(mac, owner, now);
        };
        if !entry.is_expired(now) {
            if entry.is_late(owner, now) {
                return Learn::Late;
            }
            if !entry.may_move(now) {
                return Learn::Damped;
            }
        }
        let from = entry.owner;
        entry.left = Some((from, now + FDB_LATE));
        if now.since(entry.first_flap) > FLAP_WINDOW {
            entry.first_flap = now;
            entry.flaps = 0;
        }
        entry.flaps = entry.flaps.saturating_add(1);
        self.take_off_queue(mac);
        if self.count(owner) >= self.limits.per_owner {
            self.replace_oldest(owner);
            self.share.resize(self.entries.len());
        }
        self.queue_up(mac, owner, now);
        Learn::Moved(from)
    }

    pub(super) fn flaps(&self, mac: Mac) -> bool {
        let entry = self.entries.get(&mac);
        entry.is_some_and(|e| e.flaps > FLAP_MOVES)
    }

    fn insert(&mut self, mac: Mac, owner: Owner, now: Instant) -> Learn {
        let full = if self.count(owner) >= self.limits.per_owner {
            self.replace_oldest(owner);
            true
        } else if !self.has_room() {
            let most = self.by_count.last().map_or(owner, |(_, most)| *most);
            self.replace_oldest(most);
            true
        } else {
            false
        };
        self.entries.insert(
            mac,
            MacEntry {
                owner,
                ticket: 0,
                seen: AtomicU64::new(0),
                queued: 0,
                moves: 0,
                first_move: now,
                held_until: Instant::ZERO,
                flaps: 0,
                first_flap: now,
                left: None,
            },
        );
        self.queue_up(mac, owner, now);
        if full { Learn::Full } else { Learn::New }
    }

    /// Returns true if one more address fits; takes the room for it.
    fn has_room(&mut self) -> bool {
        let entries = self.entries.len() + 1;
        entries <= self.limits.total && self.share.resize(entries)
    }

    /// Removes the oldest entry of `owner`, except up to [`SECOND_CHANCES`] that were seen since they were queued.
    fn replace_oldest(&mut self, owner: Owner) {
        for chance in 0..SECOND_CHANCES {
            let first = self.queue.range((owner, 0, Mac([0; 6]))..).next().copied();
            let Some((_, _, mac)) = first.filter(|(o, _, _)| *o == owner) else {
                return;
            };
            let seen = self
                .entries
                .get(&mac)
                .map(|e| (e.seen.load(Relaxed), e.queued));
            match seen {
                Some((seen, queued)) if seen > queued && chance + 1 < SECOND_CHANCES => {
                    self.take_off_queue(mac);
                    self.queue_up(mac, owner, Instant::from_nanos(seen));
                }
                _ => {
                    self.take_out(mac);
                    return;
                }
            }
        }
    }

    pub(super) fn remove(&mut self, mac: Mac) -> bool {
        let was_known = self.take_out(mac);
        self.share.resize(self.entries.len());
        was_known
    }

    /// Removes one address and keeps the room for another.
    fn take_out(&mut self, mac: Mac) -> bool {
        self.take_off_queue(mac);
        self.entries.remove(&mac).is_some()
    }

    pub(super) fn forget_owner(&mut self, owner: Owner) -> usize {
        let macs: Vec<Mac> = self
            .queue
            .range((owner, 0, Mac([0; 6]))..)
            .take_while(|(o, _, _)| *o == owner)
            .map(|(_, _, mac)| *mac)
            .collect();
        for mac in &macs {
            self.remove(*mac);
        }
        macs.len()
    }

    pub(super) fn expired(&self, now: Instant) -> Vec<Mac> {
        let expired = self.entries.iter().filter(|(_, e)| e.is_expired(now));
        expired.map(|(mac, _)| *mac).collect()
    }

    pub(super) fn entries(&self, now: Instant) -> Vec<FdbEntry> {
        self.entries
            .iter()
            .map(|(mac, e)| FdbEntry {
                mac: *mac,
                owner: e.owner,
                idle: e.idle(now),
            })
            .collect()
    }

    fn count(&self, owner: Owner) -> usize {
        self.counts.get(&owner).copied().unwrap_or_default()
    }

    fn queue_up(&mut self, mac: Mac, owner: Owner, seen: Instant) {
        let ticket = self.ticket;
        let Some(entry) = self.entries.get_mut(&mac) else {
            return;
        };
        entry.owner = owner;
        entry.ticket = ticket;
        entry.queued = seen.as_nanos();
        entry.seen.store(seen.as_nanos(), Relaxed);
        self.ticket += 1;
        self.queue.insert((owner, ticket, mac));
        let count = self.count(owner);
        self.set_count(owner, count + 1);
    }

    fn take_off_queue(&mut self, mac: Mac) {
        let Some(entry) = self.entries.get(&mac) else {
            return;
        };
        let owner = entry.owner;
        if self.queue.remove(&(owner, entry.ticket, mac)) {
            let count = self.count(owner);
            self.set_count(owner, count.saturating_sub(1));
        }
    }

    fn set_count(&mut self, owner: Owner, count: usize) {
        self.by_count.remove(&(self.count(owner), owner));
        if count == 0 {
            self.counts.remove(&owner);
        } else {
            self.counts.insert(owner, count);
            self.by_count.insert((count, owner));
        }
    }

    /// Asserts that all indices are consistent.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.queue.len(), self.entries.len());
        let mut counts = BTreeMap::new();
        for (owner, ticket, mac) in &self.queue {
            let entry = &self.entries[mac];
            assert_eq!((entry.owner, entry.ticket), (*owner, *ticket));
            *counts.entry(*owner).or_insert(0) += 1;
        }
        assert_eq!(counts, self.counts);
        let by_count: BTreeSet<_> = counts.iter().map(|(o, c)| (*c, *o)).collect();
        assert_eq!(by_count, self.by_count);
        assert!(self.entries.len() <= self.limits.total);
        assert!(counts.values().all(|c| *c <= self.limits.per_owner));
    }
}

/// SipHash with a key from the caller; the default of std draws its key from the operating system, which this crate
/// must not.
#[derive(Clone, Copy)]
struct KeyedHash([u64; 2]);

impl core::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyedHash")
    }
}

#[expect(deprecated, reason = "the only keyed SipHash of std")]
impl BuildHasher for KeyedHash {
    type Hasher = MacHasher;

    fn build_hasher(&self) -> MacHasher {
        let [k0, k1] = self.0;
        MacHasher(core::hash::SipHasher::new_with_keys(k0, k1))
    }
}

#[expect(deprecated, reason = "the only keyed SipHash of std")]
struct MacHasher(core::hash::SipHasher);

impl Hasher for MacHasher {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}
