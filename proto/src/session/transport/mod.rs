//! Transport: the keys of one session in use, with its counters, replay window and statistics.
//!
//! Shared between the control plane and all lanes as `Arc<Transport>`. The send counter is atomic, the replay window
//! is behind a lock held for a few instructions per datagram, and statistics cost one more atomic at most.
//!
//! The layout of a datagram is `header ‖ clear part ‖ sealed body ‖ tag`. Header and clear part are the associated
//! data, or in a Relay a substitute for them ([`Associated`]).

mod keys;
mod stats;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub use self::keys::{DeadKey, TransportKeys, TransportLimits};
pub use self::stats::TransportStats;
use self::stats::{Failures, Received, Sent};
use super::replay::Replayed;
use crate::crypto::aead::{AeadKey, Suite};
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::network::NetworkLabel;
use crate::time::Instant;
use crate::wire::datagram::{Associated, Datagram, HEADER_LEN, Header, HeaderError, Kind, TAG_LEN};

/// Reason why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short for header, clear part and tag.
    #[error("datagram is too short")]
    Truncated,
    /// Invalid header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Receiver index of another session.
    #[error("datagram belongs to another session")]
    WrongIndex,
    /// Wrong tag.
    #[error("authentication failed")]
    Forged,
    /// The counter was seen before, or is older than the replay window.
    #[error("datagram was seen before or is too old")]
    Replayed,
    /// The keys may no longer be used, or the counter exceeds the number of datagrams that they may seal.
    #[error(transparent)]
    DeadKey(#[from] DeadKey),
}

/// Datagram that is authentic and fresh.
#[derive(Debug)]
pub struct OpenedDatagram<'a> {
    /// Parsed header.
    pub header: Header,
    /// Part that was authenticated but not encrypted.
    pub clear: &'a mut [u8],
    /// Decrypted body.
    pub body: &'a mut [u8],
    /// True if the counter is the highest so far; only such a datagram may move the peer's endpoint.
    pub newest: bool,
    /// True for the first datagram that this session opened, which proves that the peer has the keys.
    pub first: bool,
}

/// Datagram that is built at the end of a buffer, between [`Transport::begin`] and [`Transport::finish`].
#[derive(Debug)]
#[must_use = "a draft that is not finished leaves an unsealed datagram in the buffer"]
pub struct Draft {
    start: usize,
    kind: Kind,
}

impl Draft {
    /// Returns the bytes of the datagram in `out` so far, without the tag.
    pub fn len(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.start)
    }
}

/// The two ends of a session, and their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Peer at the other end.
    pub peer: PeerId,
    /// Boot epoch of the peer's run that has the keys.
    pub epoch: u64,
    /// Receiver index in datagrams from the peer.
    pub local: SessionIndex,
    /// Receiver index in datagrams to the peer.
    pub remote: SessionIndex,
}

/// Session keys in use.
pub struct Transport {
    ends: Ends,
    initiator: bool,
    established: Instant,
    /// Time at which the keys expire.
    expires: Instant,
    limits: TransportLimits,
    seal: AeadKey,
    open: AeadKey,
    confirmed: AtomicBool,
    failures: Failures,
    sent: Sent,
    received: Received,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("ends", &self.ends)
            .field("suite", &self.suite())
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Creates the transport of a handshake that was completed at `now`.
    pub fn new(ends: Ends, keys: TransportKeys, initiator: bool, now: Instant) -> Self {
        let limits = TransportLimits::for_suite(keys.suite);
        Self::with_limits(ends, keys, initiator, now, limits)
    }

    /// Creates a transport like [`Transport::new`], with other limits on the use of the keys.
    pub fn with_limits(
        ends: Ends,
        keys: TransportKeys,
        initiator: bool,
        now: Instant,
        limits: TransportLimits,
    ) -> Self {
        let (seal, open) = (
            AeadKey::new(keys.suite, keys.send),
            AeadKey::new(keys.suite, keys.recv),
        );
        drop(keys);
        Self {
            ends,
            initiator,
            established: now,
            expires: now + limits::REJECT_AFTER,
            limits,
            seal,
            open,
            confirmed: AtomicBool::new(false),
            failures: Failures::default(),
            sent: Sent::default(),
            received: Received::default(),
        }
    }

    /// Returns the peer at the other end.
    pub fn peer(&self) -> PeerId {
        self.ends.peer
    }

    /// Returns the boot epoch of the peer's run that has the keys.
    pub fn epoch(&self) -> u64 {
        self.ends.epoch
    }

    /// Returns the receiver index in datagrams from the peer.
    pub fn local(&self) -> SessionIndex {
        self.ends.local
    }

    /// Returns the receiver index in datagrams to the peer.
    pub fn remote(&self) -> SessionIndex {
        self.ends.remote
    }

    /// Returns the cipher suite.
    pub fn suite(&self) -> Suite {
        self.seal.suite()
    }

    /// Returns true if this router began the handshake.
    pub fn is_initiator(&self) -> bool {
        self.initiator
    }

    /// Returns the time at which the handshake was completed.
    pub fn established(&self) -> Instant {
        self.established
    }

    /// Returns true if a datagram of the peer was opened, which proves that it has the keys.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Relaxed)
    }

    /// Returns true if a new handshake is due: by use, or by age with different limits for initiator and responder.
    pub fn wants_rekey(&self, now: Instant) -> bool {
        let age = if self.initiator {
            limits::REKEY_AFTER
        } else {
            limits::REKEY_AFTER_RESPONDER
        };
        let limit = self.limits.rekey_after_messages;
        self.sent.datagrams(limit) >= limit || now.since(self.established) >= age
    }

    /// Returns true if the keys can neither seal nor open any more.
    pub fn is_dead(&self, now: Instant) -> bool {
        let limit = self.limits.reject_after_messages;
        self.usable(now).is_err() || self.sent.datagrams(limit) >= limit
    }

    /// Returns a copy of the statistics.
    pub fn stats(&self) -> TransportStats {
        let limit = self.limits.reject_after_messages;
        TransportStats::gather(&self.sent, limit, &self.received, &self.failures)
    }

    /// Appends one complete datagram to `out`: header, `clear`, sealed `body`, tag.
    ///
    /// # Errors
    /// [`DeadKey`] if the keys may no longer be used; `out` is then as before.
    pub fn seal(
        &self,
        kind: Kind,
        hop_limit: u8,
        clear: &[u8],
        body: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), DeadKey> {
        let draft = self.begin(kind, hop_limit, out);
        out.extend_from_slice(clear);
        out.extend_from_slice(body);
        self.finish(draft, clear.len(), now, out)
    }

    /// Begins a datagram at the end of `out`; the caller appends clear part and body, then calls
    /// [`Transport::finish`].
    pub fn begin(&self, kind: Kind, hop_limit: u8, out: &mut Vec<u8>) -> Draft {
        self.begin_labelled(kind, hop_limit, NetworkLabel::DEFAULT, out)
    }

    /// Begins a datagram like [`Transport::begin`], with the label that the receiver assigned to a network.
    pub fn begin_labelled(
        &self,
        kind: Kind,
        hop_limit: u8,
        label: NetworkLabel,
        out: &mut Vec<u8>,
    ) -> Draft {
        let start = out.len();
        let header = Header {
            kind,
            hop_limit,
            label,
            receiver: self.ends.remote,
            counter: 0,
        };
        out.extend_from_slice(&header.encode());
        Draft { start, kind }
    }

    /// Seals the datagram begun with `draft`; the first `clear_len` bytes after the header are not encrypted.
    ///
    /// # Errors
    /// [`DeadKey`] if the keys may no longer be used; `out` is then as before [`Transport::begin`].
    #[expect(clippy::needless_pass_by_value, reason = "a draft is finished once")]
    pub fn finish(
        &self,
        draft: Draft,
        clear_len: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), DeadKey> {
        let (start, kind) = (draft.start, draft.kind);
        match self.seal_in_place(&draft, clear_len, now, out) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
        self.sent.count(kind, out.len().saturating_sub(start), now);
        Ok(())
    }

    fn seal_in_place(
        &self,
        draft: &Draft,
        clear_len: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], DeadKey> {
        self.usable(now)?;
        let counter = self
            .sent
            .take_counter(self.limits.reject_after_messages)
            .ok_or(DeadKey::Exhausted)?;
        let datagram = out.get_mut(draft.start..).unwrap_or_default();
        if let Some(field) = datagram.get_mut(8..HEADER_LEN) {
            field.copy_from_slice(&counter.to_be_bytes());
        }
        let clear_end = (HEADER_LEN + clear_len).min(datagram.len());
        let (head, body) = datagram.split_at_mut(clear_end);
        let associated = Associated::new(draft.kind, head);
        Ok(self.seal.seal(counter, associated.bytes(), body))
    }

    /// Parses, authenticates and decrypts `datagram` in place, like [`Transport::open_parsed`].
    ///
    /// # Errors
    /// [`OpenError`] if it is malformed, forged or a replay, or if the keys may no longer be used.
    pub fn open<'a>(
        &self,
        datagram: &'a mut [u8],
        clear_len: usize,
        now: Instant,
    ) -> Result<OpenedDatagram<'a>, OpenError> {
        self.open_parsed(Datagram::parse(datagram)?, clear_len, now)
    }

    /// Authenticates and decrypts `datagram` in place; the `clear_len` bytes after its header are not encrypted.
    ///
    /// # Errors
    /// [`OpenError`] if it is too short, forged or a replay, or if the keys may no longer be used. Only authentic
    /// datagrams move the replay window.
    pub fn open_parsed<'a>(
        &self,
        datagram: Datagram<'a>,
        clear_len: usize,
        now: Instant,
    ) -> Result<OpenedDatagram<'a>, OpenError> {
        let (header, datagram) = datagram.into_parts();
        let total = datagram.len();
        if header.receiver != self.ends.local {
            return Err(OpenError::WrongIndex);
        }
        self.usable(now)?;
        if header.counter >= self.limits.reject_after_messages {
            return Err(DeadKey::Exhausted.into());
        }
        let clear_end = HEADER_LEN
            .checked_add(clear_len)
            .ok_or(OpenError::Truncated)?;
        let (datagram, tag) = datagram
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(OpenError::Truncated)?;
        let (head, body) = datagram
            .split_at_mut_checked(clear_end)
            .ok_or(OpenError::Truncated)?;

        self.received
            .check(header.counter)
            .map_err(|replayed| self.replayed(replayed))?;
        let associated = Associated::new(header.kind, head);
        let opened = self
            .open
            .open(header.counter, associated.bytes(), body, tag);
        if opened.is_err() {
            self.failures.forged.fetch_add(1, Relaxed);
            return Err(OpenError::Forged);
        }
        let recorded = self
            .received
            .record(header.counter, header.kind, total, now)
            .map_err(|replayed| self.replayed(replayed))?;
        if recorded.first {
            self.confirmed.store(true, Relaxed);
        }
        let (_, clear) = head.split_at_mut(HEADER_LEN);
        Ok(OpenedDatagram {
            header,
            clear,
            body,
            newest: recorded.newest,
            first: recorded.first,
        })
    }

    fn replayed(&self, _: Replayed) -> OpenError {
        self.failures.replayed.fetch_add(1, Relaxed);
        OpenError::Replayed
    }

    fn usable(&self, now: Instant) -> Result<(), DeadKey> {
        if now >= self.expires {
            return Err(DeadKey::Expired);
        }
        if self.failures.forged.load(Relaxed) >= self.limits.max_forgeries {
            return Err(DeadKey::Attacked);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
