//! Pieces that wait for the others of their datagram.

use std::collections::BTreeMap;

use super::Piece;
use crate::ids::SessionIndex;
use crate::limits::{
    MAX_DATAGRAM, MAX_PARTIAL_BYTES, MAX_PARTIAL_BYTES_PER_SESSION, MAX_PARTIALS,
    MAX_PARTIALS_PER_SESSION, PARTIAL_AGE,
};
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// A datagram's content, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// What it is: Data, Relay or Flood.
    pub kind: Kind,
    /// The body of Data or Flood, the clear part of Relay.
    pub content: Vec<u8>,
}

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// That piece is there already.
    #[error("piece came before")]
    Duplicate,
    /// Kind or number of pieces differ from those of the other pieces, or the whole would be too long.
    #[error("piece does not fit the others")]
    Mismatch,
}

/// Which session a piece came by, as the index in its header, and which whole it belongs to.
type Key = (SessionIndex, u32);

/// Pieces of all sessions; only what was authenticated may be pushed.
///
/// When a session has [`MAX_PARTIALS_PER_SESSION`] wholes or [`MAX_PARTIAL_BYTES_PER_SESSION`], its oldest is given up
/// for the new one; beyond [`MAX_PARTIALS`] or [`MAX_PARTIAL_BYTES`] the oldest of all is.
#[derive(Debug, Default)]
pub struct Reassembly {
    partials: BTreeMap<Key, Partial>,
    bytes: usize,
    lost: u64,
}

/// A whole of which pieces are missing.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    since: Instant,
    pieces: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl Partial {
    fn new(piece: &Piece<'_>, now: Instant) -> Self {
        Self {
            kind: piece.kind,
            since: now,
            pieces: vec![None; usize::from(piece.count)],
            bytes: 0,
        }
    }

    fn add(&mut self, piece: &Piece<'_>) -> Result<(), Refused> {
        let matches = self.kind == piece.kind
            && self.pieces.len() == usize::from(piece.count)
            && self.bytes + piece.bytes.len() <= MAX_DATAGRAM;
        let place = self.pieces.get_mut(usize::from(piece.index));
        let place = place.filter(|_| matches).ok_or(Refused::Mismatch)?;
        if place.is_some() {
            return Err(Refused::Duplicate);
        }
        *place = Some(piece.bytes.to_vec());
        self.bytes += piece.bytes.len();
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.pieces.iter().all(Option::is_some)
    }

    fn into_whole(self) -> Whole {
        Whole {
            kind: self.kind,
            content: self.pieces.into_iter().flatten().flatten().collect(),
        }
    }
}

impl Reassembly {
    /// Takes a piece that came by `session`; the whole when it was the last one missing.
    ///
    /// # Errors
    /// When the piece is not taken; what was there before stays.
    pub fn push(
        &mut self,
        session: SessionIndex,
        piece: &Piece<'_>,
        now: Instant,
    ) -> Result<Option<Whole>, Refused> {
        if piece.bytes.len() > MAX_DATAGRAM {
            return Err(Refused::Mismatch);
        }
        let key = (session, piece.id);
        if self.partials.get(&key).is_some_and(|p| p.is_old(now)) {
            self.give_up(key);
        }
        if !self.partials.contains_key(&key) {
            self.make_room(session, now);
            self.partials.insert(key, Partial::new(piece, now));
        }
        let Some(partial) = self.partials.get_mut(&key) else {
            return Err(Refused::Mismatch);
        };
        partial.add(piece)?;
        self.bytes += piece.bytes.len();
        if partial.is_whole() {
            return Ok(self.take(key).map(Partial::into_whole));
        }
        self.keep_bytes(key);
        Ok(None)
    }

    /// Gives up what waited for [`PARTIAL_AGE`]; to be called about once a second.
    pub fn expire(&mut self, now: Instant) {
        let old = self.partials.iter().filter(|(_, p)| p.is_old(now));
        let old: Vec<Key> = old.map(|(key, _)| *key).collect();
        for key in old {
            self.give_up(key);
        }
    }

    /// Wholes given up since the last call, each counted once.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// Wholes that wait for pieces.
    pub fn len(&self) -> usize {
        self.partials.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.partials.is_empty()
    }

    /// Bytes of the pieces that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for one whole more.
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

    /// Keeps to the bounds on bytes; the whole that just grew goes last.
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

    /// Gives up the oldest whole, of one session or of all, but not `spared`; false when there is none.
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

// A whole that just grew is spared, so one alone must keep to the bound of its session.
const _: () = assert!(MAX_DATAGRAM <= MAX_PARTIAL_BYTES_PER_SESSION);
