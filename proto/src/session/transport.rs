//! The live keys of one session: seals and opens its datagrams, guards its counters, counts what passes.
//!
//! Shared between the control plane and all lanes as `Arc<Transport>`: the send counter is atomic, the replay window
//! is behind a lock held for a few instructions only, and statistics are relaxed atomics.
//!
//! A datagram is laid out as `header ‖ clear part ‖ sealed body ‖ tag`; header and clear part are associated data.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::replay::ReplayWindow;
use crate::crypto::aead::AeadKey;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::time::Instant;
use crate::wire::datagram::{HEADER_LEN, Header, HeaderError, Kind, TAG_LEN};

/// The keys of both directions, as a handshake splits them.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TransportKeys {
    /// Seals what we send.
    pub send: [u8; 32],
    /// Opens what we receive.
    pub recv: [u8; 32],
}

impl fmt::Debug for TransportKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKeys")
    }
}

/// How much a key may be used; the defaults are those of [`limits`], tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct TransportLimits {
    /// Datagrams sealed before a new handshake is due.
    pub rekey_after_messages: u64,
    /// Datagrams after which nothing is sealed any more, and counter from which nothing is opened.
    pub reject_after_messages: u64,
    /// Failed authentications after which the session is dead.
    pub max_forgeries: u64,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            rekey_after_messages: limits::REKEY_AFTER_MESSAGES,
            reject_after_messages: limits::REJECT_AFTER_MESSAGES,
            max_forgeries: limits::MAX_FORGERIES,
        }
    }
}

/// Why a datagram could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is older than [`limits::REJECT_AFTER`].
    #[error("session key is too old")]
    Expired,
    /// The key has sealed [`limits::REJECT_AFTER_MESSAGES`] datagrams.
    #[error("session key was used too often")]
    Exhausted,
    /// [`limits::MAX_FORGERIES`] datagrams failed to authenticate.
    #[error("session key saw too many forgeries")]
    Attacked,
}

/// Why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is too short for its header, clear part and tag.
    #[error("datagram is too short")]
    Truncated,
    /// Its header is not ours.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It is meant for another session.
    #[error("datagram belongs to another session")]
    WrongIndex,
    /// The tag is wrong.
    #[error("authentication failed")]
    Forged,
    /// Its counter was seen before or is too old.
    #[error("datagram was seen before or is too old")]
    Replayed,
    /// The key is older than [`limits::REJECT_AFTER`].
    #[error("session key is too old")]
    Expired,
    /// The counter lies beyond what one key may seal.
    #[error("session key was used too often")]
    Exhausted,
    /// [`limits::MAX_FORGERIES`] datagrams failed to authenticate.
    #[error("session key saw too many forgeries")]
    Attacked,
}

/// A datagram that was authentic and fresh.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Its header.
    pub header: Header,
    /// The part that was authenticated but not encrypted.
    pub clear: &'a [u8],
    /// The decrypted body.
    pub body: &'a mut [u8],
    /// Its counter is the highest so far: only then may it move the peer's endpoint.
    pub newest: bool,
    /// It is the first one this session opened: now the peer is known to have the keys.
    pub first: bool,
}

/// A datagram being built at the end of a buffer; made by [`Transport::begin`], used up by [`Transport::finish`].
#[derive(Debug)]
#[must_use = "a draft that is not finished leaves an unsealed datagram in the buffer"]
pub struct Draft {
    start: usize,
    kind: Kind,
}

impl Draft {
    /// Bytes of the datagram in `out` so far, tag not included.
    pub fn len(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.start)
    }
}

/// What passed through a session so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Datagrams sealed.
    pub sent_datagrams: u64,
    /// Bytes of them, header and tag included.
    pub sent_bytes: u64,
    /// Datagrams opened.
    pub received_datagrams: u64,
    /// Bytes of them, header and tag included.
    pub received_bytes: u64,
    /// Datagrams that failed to authenticate.
    pub forged: u64,
    /// Datagrams whose counter was seen before or too old.
    pub replayed: u64,
    /// When the last datagram was opened; `None` before the first.
    pub last_received: Option<Instant>,
    /// When the last datagram with frames (Data or Flood) was sealed; `None` before the first.
    pub last_frame_sent: Option<Instant>,
    /// When the last datagram with frames (Data or Flood) was opened; `None` before the first.
    pub last_frame_received: Option<Instant>,
}

/// One pair of session keys in use.
pub struct Transport {
    peer: PeerId,
    local: SessionIndex,
    remote: SessionIndex,
    initiator: bool,
    established: Instant,
    limits: TransportLimits,
    seal: AeadKey,
    open: AeadKey,
    next_counter: AtomicU64,
    window: Mutex<ReplayWindow>,
    confirmed: AtomicBool,
    counters: Counters,
}

/// Times are kept as nanoseconds plus one, so that zero says "never".
#[derive(Default)]
struct Counters {
    sent_datagrams: AtomicU64,
    sent_bytes: AtomicU64,
    received_datagrams: AtomicU64,
    received_bytes: AtomicU64,
    forged: AtomicU64,
    replayed: AtomicU64,
    last_received: AtomicU64,
    last_frame_sent: AtomicU64,
    last_frame_received: AtomicU64,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// A session with `peer` whose handshake was finished at `now`.
    ///
    /// `local` is the index the peer puts in what it sends us, `remote` the one we put in what we send.
    pub fn new(
        peer: PeerId,
        local: SessionIndex,
        remote: SessionIndex,
        keys: TransportKeys,
        initiator: bool,
        now: Instant,
    ) -> Self {
        Self::with_limits(
            peer,
            local,
            remote,
            keys,
            initiator,
            now,
            TransportLimits::default(),
        )
    }

    /// [`Transport::new`] with other limits on the use of the keys.
    pub fn with_limits(
        peer: PeerId,
        local: SessionIndex,
        remote: SessionIndex,
        keys: TransportKeys,
        initiator: bool,
        now: Instant,
        limits: TransportLimits,
    ) -> Self {
        let (seal, open) = (AeadKey::new(keys.send), AeadKey::new(keys.recv));
        drop(keys);
        Self {
            peer,
            local,
            remote,
            initiator,
            established: now,
            limits,
            seal,
            open,
            next_counter: AtomicU64::new(0),
            window: Mutex::new(ReplayWindow::new()),
            confirmed: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// The router at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The index in the datagrams we receive.
    pub fn local(&self) -> SessionIndex {
        self.local
    }

    /// The index in the datagrams we send.
    pub fn remote(&self) -> SessionIndex {
        self.remote
    }

    /// Whether we began the handshake.
    pub fn is_initiator(&self) -> bool {
        self.initiator
    }

    /// When the handshake was finished.
    pub fn established(&self) -> Instant {
        self.established
    }

    /// Whether a datagram of the peer was opened: it is known to have the keys.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Relaxed)
    }

    /// Whether a new handshake is due: by use, or by age on the side that is to begin it.
    pub fn wants_rekey(&self, now: Instant) -> bool {
        let age = if self.initiator {
            limits::REKEY_AFTER
        } else {
            limits::REKEY_AFTER_RESPONDER
        };
        self.next_counter.load(Relaxed) >= self.limits.rekey_after_messages
            || now.since(self.established) >= age
    }

    /// Whether the keys can neither seal nor open any more.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.usable(now).is_err()
            || self.next_counter.load(Relaxed) >= self.limits.reject_after_messages
    }

    /// A copy of the statistics.
    pub fn stats(&self) -> TransportStats {
        let c = &self.counters;
        TransportStats {
            sent_datagrams: c.sent_datagrams.load(Relaxed),
            sent_bytes: c.sent_bytes.load(Relaxed),
            received_datagrams: c.received_datagrams.load(Relaxed),
            received_bytes: c.received_bytes.load(Relaxed),
            forged: c.forged.load(Relaxed),
            replayed: c.replayed.load(Relaxed),
            last_received: moment(&c.last_received),
            last_frame_sent: moment(&c.last_frame_sent),
            last_frame_received: moment(&c.last_frame_received),
        }
    }

    /// Appends one complete datagram to `out`: header, `clear`, `body` sealed, tag.
    ///
    /// # Errors
    /// When the keys may not be used any more; `out` is then as it was.
    pub fn seal(
        &self,
        kind: Kind,
        hop_limit: u8,
        clear: &[u8],
        body: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let draft = self.begin(kind, hop_limit, out);
        out.extend_from_slice(clear);
        out.extend_from_slice(body);
        self.finish(draft, clear.len(), now, out)
    }

    /// Begins a datagram at the end of `out`; the caller appends clear part and body, then calls
    /// [`Transport::finish`].
    pub fn begin(&self, kind: Kind, hop_limit: u8, out: &mut Vec<u8>) -> Draft {
        let start = out.len();
        let header = Header {
            kind,
            hop_limit,
            receiver: self.remote,
            counter: 0,
        };
        out.extend_from_slice(&header.encode());
        Draft { start, kind }
    }

    /// Seals the datagram begun with `draft`, whose first `clear_len` bytes after the header stay clear.
    ///
    /// # Errors
    /// When the keys may not be used any more; `out` is then as it was before [`Transport::begin`].
    #[expect(clippy::needless_pass_by_value, reason = "a draft is finished once")]
    pub fn finish(
        &self,
        draft: Draft,
        clear_len: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let Draft { start, kind } = draft;
        match self.seal_in_place(start, clear_len, now, out) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
        let c = &self.counters;
        c.sent_datagrams.fetch_add(1, Relaxed);
        c.sent_bytes
            .fetch_add(bytes(out.len().saturating_sub(start)), Relaxed);
        if carries_frames(kind) {
            c.last_frame_sent.fetch_max(stamp(now), Relaxed);
        }
        Ok(())
    }

    fn seal_in_place(
        &self,
        start: usize,
        clear_len: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], SealError> {
        self.usable(now).map_err(|dead| match dead {
            Dead::Old => SealError::Expired,
            Dead::Attacked => SealError::Attacked,
        })?;
        let counter = self.take_counter()?;
        let datagram = out.get_mut(start..).unwrap_or_default();
        if let Some(field) = datagram.get_mut(8..HEADER_LEN) {
            field.copy_from_slice(&counter.to_be_bytes());
        }
        let clear_end = (HEADER_LEN + clear_len).min(datagram.len());
        let (aad, body) = datagram.split_at_mut(clear_end);
        Ok(self.seal.seal(counter, aad, body))
    }

    fn take_counter(&self) -> Result<u64, SealError> {
        // Never past the limit, however many lanes try: a wrapped counter would reuse a nonce.
        self.next_counter
            .fetch_update(Relaxed, Relaxed, |n| {
                (n < self.limits.reject_after_messages).then_some(n + 1)
            })
            .map_err(|_| SealError::Exhausted)
    }

    /// Authenticates and decrypts `datagram` in place; the `clear_len` bytes after its header are not encrypted.
    ///
    /// # Errors
    /// When it is malformed, forged or a replay, or the keys may not be used any more. The replay window moves for
    /// authentic datagrams only.
    pub fn open<'a>(
        &self,
        datagram: &'a mut [u8],
        clear_len: usize,
        now: Instant,
    ) -> Result<Opened<'a>, OpenError> {
        let total = datagram.len();
        let header = Header::parse(datagram)?;
        if header.receiver != self.local {
            return Err(OpenError::WrongIndex);
        }
        self.usable(now).map_err(|dead| match dead {
            Dead::Old => OpenError::Expired,
            Dead::Attacked => OpenError::Attacked,
        })?;
        if header.counter >= self.limits.reject_after_messages {
            return Err(OpenError::Exhausted);
        }
        let clear_end = HEADER_LEN
            .checked_add(clear_len)
            .ok_or(OpenError::Truncated)?;
        let (datagram, tag) = datagram
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(OpenError::Truncated)?;
        let (aad, body) = datagram
            .split_at_mut_checked(clear_end)
            .ok_or(OpenError::Truncated)?;

        self.check_replay(|window| window.check(header.counter))?;
        if self.open.open(header.counter, aad, body, tag).is_err() {
            self.counters.forged.fetch_add(1, Relaxed);
            return Err(OpenError::Forged);
        }
        let newest = self.check_replay(|window| window.commit(header.counter))?;

        self.count_received(header.kind, total, now);
        let (_, clear) = aad.split_at(HEADER_LEN);
        Ok(Opened {
            header,
            clear,
            body,
            newest,
            first: !self.confirmed.load(Relaxed) && !self.confirmed.swap(true, Relaxed),
        })
    }

    fn check_replay<T>(
        &self,
        f: impl FnOnce(&mut ReplayWindow) -> Result<T, super::replay::Replayed>,
    ) -> Result<T, OpenError> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut window).map_err(|_| {
            self.counters.replayed.fetch_add(1, Relaxed);
            OpenError::Replayed
        })
    }

    fn count_received(&self, kind: Kind, total: usize, now: Instant) {
        let c = &self.counters;
        c.received_datagrams.fetch_add(1, Relaxed);
        c.received_bytes.fetch_add(bytes(total), Relaxed);
        c.last_received.fetch_max(stamp(now), Relaxed);
        if carries_frames(kind) {
            c.last_frame_received.fetch_max(stamp(now), Relaxed);
        }
    }

    fn usable(&self, now: Instant) -> Result<(), Dead> {
        if now.since(self.established) >= limits::REJECT_AFTER {
            return Err(Dead::Old);
        }
        if self.counters.forged.load(Relaxed) >= self.limits.max_forgeries {
            return Err(Dead::Attacked);
        }
        Ok(())
    }
}

/// Why keys that were good once are not any more.
enum Dead {
    Old,
    Attacked,
}

fn carries_frames(kind: Kind) -> bool {
    matches!(kind, Kind::Data | Kind::Flood)
}

fn bytes(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn stamp(now: Instant) -> u64 {
    now.as_nanos().saturating_add(1)
}

fn moment(stamp: &AtomicU64) -> Option<Instant> {
    stamp.load(Relaxed).checked_sub(1).map(Instant::from_nanos)
}

#[cfg(test)]
mod tests;
