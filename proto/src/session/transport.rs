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
mod tests {
    use core::time::Duration;

    use super::*;

    const START: Instant = Instant::from_nanos(5);
    const ALICE: PeerId = PeerId([1; 16]);
    const BOB: PeerId = PeerId([2; 16]);

    fn pair_with(limits: TransportLimits) -> (Transport, Transport) {
        let keys = |send, recv| TransportKeys {
            send: [send; 32],
            recv: [recv; 32],
        };
        let (a, b) = (SessionIndex(10), SessionIndex(20));
        (
            Transport::with_limits(BOB, a, b, keys(3, 4), true, START, limits),
            Transport::with_limits(ALICE, b, a, keys(4, 3), false, START, limits),
        )
    }

    fn pair() -> (Transport, Transport) {
        pair_with(TransportLimits::default())
    }

    fn sealed(from: &Transport, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        from.seal(Kind::Data, 3, b"clear", body, START, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn what_one_seals_the_other_opens() {
        let (alice, bob) = pair();
        let mut datagram = sealed(&alice, b"a frame");
        assert_eq!(datagram.len(), HEADER_LEN + 5 + 7 + TAG_LEN);
        assert!(!datagram.windows(7).any(|w| w == b"a frame"));
        let opened = bob.open(&mut datagram, 5, START).unwrap();
        assert_eq!(
            (opened.clear, &*opened.body),
            (&b"clear"[..], &b"a frame"[..])
        );
        assert_eq!(
            (opened.header.kind, opened.header.hop_limit),
            (Kind::Data, 3)
        );
        assert_eq!(
            (opened.header.receiver, opened.header.counter),
            (SessionIndex(20), 0)
        );
        assert!(opened.newest && opened.first);
    }

    #[test]
    fn building_in_place_gives_the_same_bytes_behind_what_is_there() {
        let (alice, _) = pair();
        let (again, _) = pair();
        let mut out = b"before".to_vec();
        let draft = alice.begin(Kind::Data, 3, &mut out);
        out.extend_from_slice(b"clear");
        out.extend_from_slice(b"a frame");
        assert_eq!(draft.len(&out), HEADER_LEN + 12);
        alice.finish(draft, 5, START, &mut out).unwrap();
        assert_eq!(out, [b"before", &sealed(&again, b"a frame")[..]].concat());
    }

    #[test]
    fn counters_of_a_key_are_all_different() {
        let (alice, _) = pair();
        let counters: Vec<u64> = (0..100)
            .map(|_| Header::parse(&sealed(&alice, b"")).unwrap().counter)
            .collect();
        assert_eq!(counters, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn replayed_and_reflected_datagrams_are_refused() {
        let (alice, bob) = pair();
        let datagram = sealed(&alice, b"x");
        bob.open(&mut datagram.clone(), 5, START).unwrap();
        assert_eq!(
            bob.open(&mut datagram.clone(), 5, START).unwrap_err(),
            OpenError::Replayed
        );
        assert_eq!(
            alice.open(&mut datagram.clone(), 5, START).unwrap_err(),
            OpenError::WrongIndex
        );
        let mut reflected = datagram;
        reflected[4..8].copy_from_slice(&10u32.to_be_bytes());
        assert_eq!(
            alice.open(&mut reflected, 5, START).unwrap_err(),
            OpenError::Forged
        );
        assert_eq!(bob.stats().replayed, 1);
        assert_eq!(bob.stats().received_datagrams, 1);
        assert_eq!(alice.stats().forged, 1);
    }

    #[test]
    fn every_flipped_bit_is_refused_and_moves_nothing() {
        let (alice, bob) = pair();
        let datagram = sealed(&alice, b"some frame");
        for at in 0..datagram.len() {
            for bit in 0..8 {
                let mut bad = datagram.clone();
                bad[at] ^= 1 << bit;
                assert!(bob.open(&mut bad, 5, START).is_err(), "{at}.{bit}");
            }
        }
        assert!(!bob.is_confirmed());
        assert_eq!(bob.stats().last_received, None);
        assert!(bob.open(&mut datagram.clone(), 5, START).is_ok());
    }

    #[test]
    fn every_truncation_is_refused() {
        let (alice, bob) = pair();
        let datagram = sealed(&alice, b"some frame");
        for len in 0..datagram.len() {
            assert!(
                bob.open(&mut datagram[..len].to_vec(), 5, START).is_err(),
                "{len}"
            );
        }
        for clear_len in [0, 4, 6, datagram.len(), usize::MAX] {
            assert!(
                bob.open(&mut datagram.clone(), clear_len, START).is_err(),
                "{clear_len}"
            );
        }
        assert!(bob.open(&mut datagram.clone(), 5, START).is_ok());
    }

    #[test]
    fn newest_and_first_follow_the_order_of_arrival() {
        let (alice, bob) = pair();
        let mut datagrams: Vec<Vec<u8>> = (0..3).map(|_| sealed(&alice, b"")).collect();
        let mut open = |i: usize| {
            let opened = bob.open(&mut datagrams[i], 5, START).unwrap();
            (opened.newest, opened.first)
        };
        assert_eq!(open(1), (true, true));
        assert_eq!(open(0), (false, false));
        assert_eq!(open(2), (true, false));
    }

    #[test]
    fn a_key_is_used_up_after_so_many_datagrams() {
        let (alice, bob) = pair_with(TransportLimits {
            rekey_after_messages: 10,
            reject_after_messages: 20,
            ..TransportLimits::default()
        });
        let mut out = Vec::new();
        for n in 0..20 {
            assert_eq!(alice.wants_rekey(START), n >= 10);
            assert!(!alice.is_dead(START));
            out.clear();
            alice
                .seal(Kind::Data, 1, b"", b"x", START, &mut out)
                .unwrap();
            bob.open(&mut out, 0, START).unwrap();
        }
        out.clear();
        out.push(9);
        for _ in 0..3 {
            let refused = alice.seal(Kind::Data, 1, b"", b"x", START, &mut out);
            assert_eq!((refused, &out[..]), (Err(SealError::Exhausted), &[9][..]));
        }
        assert!(alice.is_dead(START));
        assert_eq!(alice.stats().sent_datagrams, 20);
    }

    #[test]
    fn a_counter_beyond_the_limit_is_not_opened() {
        let (alice, _) = pair();
        let (_, strict) = pair_with(TransportLimits {
            reject_after_messages: 2,
            ..TransportLimits::default()
        });
        let mut datagrams: Vec<Vec<u8>> = (0..3).map(|_| sealed(&alice, b"")).collect();
        assert_eq!(
            strict.open(&mut datagrams[2], 5, START).unwrap_err(),
            OpenError::Exhausted
        );
    }

    #[test]
    fn a_key_dies_of_age() {
        let (alice, bob) = pair();
        let datagram = sealed(&alice, b"x");
        let last = START + limits::REJECT_AFTER - Duration::from_nanos(1);
        let late = START + limits::REJECT_AFTER;
        let mut out = Vec::new();
        assert!(alice.seal(Kind::Data, 1, b"", b"", last, &mut out).is_ok());
        out.clear();
        assert_eq!(
            alice.seal(Kind::Data, 1, b"", b"", late, &mut out),
            Err(SealError::Expired)
        );
        assert!(out.is_empty());
        assert_eq!(
            bob.open(&mut datagram.clone(), 5, late).unwrap_err(),
            OpenError::Expired
        );
        assert!(bob.open(&mut datagram.clone(), 5, last).is_ok());
        assert!(bob.is_dead(late) && !bob.is_dead(last));
    }

    #[test]
    fn the_initiator_rekeys_first() {
        let (alice, bob) = pair();
        let at = |s| START + Duration::from_secs(s);
        assert_eq!(
            (alice.wants_rekey(at(119)), alice.wants_rekey(at(120))),
            (false, true)
        );
        assert_eq!(
            (bob.wants_rekey(at(164)), bob.wants_rekey(at(165))),
            (false, true)
        );
    }

    #[test]
    fn a_key_dies_of_forgeries() {
        let (alice, bob) = pair_with(TransportLimits {
            max_forgeries: 100,
            ..TransportLimits::default()
        });
        let good = sealed(&alice, b"x");
        let mut bad = good.clone();
        bad[HEADER_LEN] ^= 1;
        for _ in 0..100 {
            assert!(!bob.is_dead(START));
            assert_eq!(
                bob.open(&mut bad.clone(), 5, START).unwrap_err(),
                OpenError::Forged
            );
        }
        assert!(bob.is_dead(START));
        assert_eq!(
            bob.open(&mut good.clone(), 5, START).unwrap_err(),
            OpenError::Attacked
        );
        let sealed = bob.seal(Kind::Data, 1, b"", b"", START, &mut Vec::new());
        assert_eq!(sealed, Err(SealError::Attacked));
    }

    #[test]
    fn statistics_say_what_passed() {
        let (alice, bob) = pair();
        assert_eq!(alice.stats(), TransportStats::default());
        let later = START + Duration::from_secs(1);
        let mut out = Vec::new();
        alice
            .seal(Kind::Probe, 1, b"", b"12345", START, &mut out)
            .unwrap();
        bob.open(&mut out, 0, later).unwrap();
        assert_eq!(alice.stats().last_frame_sent, None);
        assert_eq!(bob.stats().last_received, Some(later));
        assert_eq!(bob.stats().last_frame_received, None);
        let mut datagram = sealed(&alice, b"");
        bob.open(&mut datagram, 5, later).unwrap();
        let (sent, received) = (alice.stats(), bob.stats());
        assert_eq!((sent.sent_datagrams, sent.sent_bytes), (2, 37 + 37));
        assert_eq!(
            (received.received_datagrams, received.received_bytes),
            (2, 37 + 37)
        );
        assert_eq!(sent.last_frame_sent, Some(START));
        assert_eq!(received.last_frame_received, Some(later));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let keys = TransportKeys {
            send: [0xab; 32],
            recv: [0xcd; 32],
        };
        assert_eq!(format!("{keys:?}"), "TransportKeys");
        let (alice, _) = pair();
        let shown = format!("{alice:?}");
        assert!(!shown.contains("key") && !shown.contains("3, 3"), "{shown}");
    }

    #[test]
    fn a_copy_raced_by_another_thread_is_opened_once() {
        let (alice, bob) = pair();
        let datagrams: Vec<Vec<u8>> = (0..200).map(|_| sealed(&alice, b"x")).collect();
        let opened: usize = std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        datagrams
                            .iter()
                            .filter(|d| bob.open(&mut d.to_vec(), 5, START).is_ok())
                            .count()
                    })
                })
                .collect();
            lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
        });
        assert_eq!(opened, 200);
    }
}
