//! Reassembly of fragments.

use std::collections::BTreeMap;

use super::Fragment;
use crate::ids::SessionIndex;
use crate::limits::{
    MAX_DATAGRAM, MAX_PARTIAL_BYTES, MAX_PARTIAL_BYTES_PER_SESSION, MAX_PARTIALS,
    MAX_PARTIALS_PER_SESSION, PARTIAL_AGE,
};
use crate::network::NetworkLabel;
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// Reassembled content of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// Kind of the datagram: Data, Relay, Flood or NetworkFlood.
    pub kind: Kind,
    /// Body of Data or of a flood, or clear part of Relay.
    pub content: Vec<u8>,
}

/// Reason why a fragment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassemblyError {
    /// The same fragment was received before.
    #[error("duplicate fragment")]
    Duplicate,
    /// Kind, label or number of fragments differ from those of the other fragments, or the datagram would be too long.
    #[error("fragment contradicts the others of its datagram")]
    Mismatch,
}

/// Session by which a fragment was received, as the index in its header, and the id of the original datagram.
type Key = (SessionIndex, u32);

/// Incomplete datagrams of all sessions. Only authenticated fragments may be pushed.
///
/// If a session has [`MAX_PARTIALS_PER_SESSION`] incomplete datagrams or [`MAX_PARTIAL_BYTES_PER_SESSION`], its
/// oldest one is dropped for the new one; beyond [`MAX_PARTIALS`] or [`MAX_PARTIAL_BYTES`], the oldest of all
/// sessions.
#[derive(Debug, Default)]
pub struct Reassembly {
    partials: BTreeMap<Key, Partial>,
    bytes: usize,
    lost: u64,
}

/// Incomplete datagram.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    label: NetworkLabel,
    since: Instant,
    fragments: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl Partial {
    fn new(fragment: &Fragment<'_>, label: NetworkLabel, now: Instant) -> Self {
        Self {
            kind: fragment.kind,
            label,
            since: now,
            fragments: vec![None; usize::from(fragment.count)],
            bytes: 0,
        }
    }

    fn add(&mut self, fragment: &Fragment<'_>, label: NetworkLabel) -> Result<(), ReassemblyError> {
        let matches = (self.kind, self.label) == (fragment.kind, label)
            && self.fragments.len() == usize::from(fragment.count)
            && self.bytes + fragment.bytes.len() <= MAX_DATAGRAM;
        let place = self.fragments.get_mut(usize::from(fragment.index));
        let place = place.filter(|_| matches).ok_or(ReassemblyError::Mismatch)?;
        if place.is_some() {
            return Err(ReassemblyError::Duplicate);
        }
        *place = Some(fragment.bytes.to_vec());
        self.bytes += fragment.bytes.len();
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.fragments.iter().all(Option::is_some)
    }

    fn into_reassembled(self) -> Reassembled {
        Reassembled {
            kind: self.kind,
            content: self.fragments.into_iter().flatten().flatten().collect(),
        }
    }
}

impl Reassembly {
    /// Takes a fragment received by `session`, with the label in its header. Returns the reassembled datagram if it is now complete.
    ///
    /// # Errors
    /// [`ReassemblyError`] if the fragment is not accepted; earlier fragments stay.
    pub fn push(
        &mut self,
        session: SessionIndex,
        label: NetworkLabel,
        fragment: &Fragment<'_>,
        now: Instant,
    ) -> Result<Option<Reassembled>, ReassemblyError> {
        if fragment.bytes.len() > MAX_DATAGRAM {
            return Err(ReassemblyError::Mismatch);
        }
        let key = (session, fragment.id);
        if self.partials.get(&key).is_some_and(|p| p.is_old(now)) {
            self.give_up(key);
        }
        if !self.partials.contains_key(&key) {
            self.make_room(session, now);
            self.partials
                .insert(key, Partial::new(fragment, label, now));
        }
        let Some(partial) = self.partials.get_mut(&key) else {
            return Err(ReassemblyError::Mismatch);
        };
        partial.add(fragment, label)?;
        self.bytes += fragment.bytes.len();
        if partial.is_complete() {
            return Ok(self.take(key).map(Partial::into_reassembled));
        }
        self.keep_bytes(key);
        Ok(None)
    }

    /// Drops datagrams incomplete for [`PARTIAL_AGE`]; to be called about once a second.
    pub fn expire(&mut self, now: Instant) {
        let old = self.partials.iter().filter(|(_, p)| p.is_old(now));
        let old: Vec<Key> = old.map(|(key, _)| *key).collect();
        for key in old {
            self.give_up(key);
        }
    }

    /// Takes the number of datagrams dropped since the last call.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// Returns the number of incomplete datagrams.
    pub fn len(&self) -> usize {
        self.partials.len()
    }

    /// Returns true if there is no incomplete datagram.
    pub fn is_empty(&self) -> bool {
        self.partials.is_empty()
    }

    /// Returns the bytes of all fragments held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for one more datagram.
    fn make_room(&mut self, session: SessionIndex, now: Instant) {
        if self.of(session).count() >= MAX_PARTIALS_PER_SESSION {
            self.give_up_oldest(Some(session), None);
        }
        if self.partials.len() >= MAX_PARTIALS {
            self.expire(now);
        }
        if self.partials.len() >= MAX_PARTIALS {
            self.give_up_oldest(None, None);
        }
    }

    /// Enforces the bounds on bytes; the datagram that just grew is dropped last.
    fn keep_bytes(&mut self, grown: Key) {
        let session = grown.0;
        while self.of(session).map(|(_, p)| p.bytes).sum::<usize>() > MAX_PARTIAL_BYTES_PER_SESSION
            && self.give_up_oldest(Some(session), Some(grown))
        {}
        while self.bytes > MAX_PARTIAL_BYTES && self.give_up_oldest(None, Some(grown)) {}
    }

    fn of(&self, session: SessionIndex) -> impl Iterator<Item = (&Key, &Partial)> {
        self.partials.range((session, 0)..=(session, u32::MAX))
    }

    /// Drops the oldest datagram, of one session or of all, except `spared`. Returns false if there is none.
    fn give_up_oldest(&mut self, session: Option<SessionIndex>, spared: Option<Key>) -> bool {
        let (low, high) = match session {
            Some(session) => ((session, 0), (session, u32::MAX)),
            None => ((SessionIndex(0), 0), (SessionIndex(u32::MAX), u32::MAX)),
        };
        let others = self
            .partials
            .range(low..=high)
            .filter(|(key, _)| Some(**key) != spared);
        let oldest = others.min_by_key(|(_, p)| p.since).map(|(key, _)| *key);
        oldest.is_some_and(|key| {
            self.give_up(key);
            true
        })
    }

    fn give_up(&mut self, key: Key) {
        self.lost += u64::from(self.take(key).is_some());
    }

    fn take(&mut self, key: Key) -> Option<Partial> {
        let partial = self.partials.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(partial.bytes);
        Some(partial)
    }
}

impl Partial {
    fn is_old(&self, now: Instant) -> bool {
        now.since(self.since) >= PARTIAL_AGE
    }
}

// A datagram that just grew is spared, so a single one must not exceed the bound of its session.
const _: () = assert!(MAX_DATAGRAM <= MAX_PARTIAL_BYTES_PER_SESSION);
