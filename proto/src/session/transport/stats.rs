//! What a transport counts.
//!
//! Both directions of a session are worked by different lanes, so what each of them writes has cache lines of its own.
//! What is sent is counted by atomics; what is received under the lock of the replay window, which is taken anyway.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::session::replay::{ReplayWindow, Replayed};
use crate::time::Instant;
use crate::wire::datagram::Kind;

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
    /// When the last datagram with frames (Data, Relay, Flood, Fragment) was sealed; `None` before the first.
    pub last_frame_sent: Option<Instant>,
    /// When the last datagram with frames (Data, Relay, Flood, Fragment) was opened; `None` before the first.
    pub last_frame_received: Option<Instant>,
}

/// The sending half: the counter, which says how many were sealed too, and what they were.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Sent {
    next_counter: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds plus one, so that zero says "never".
    last_frame: AtomicU64,
}

impl Sent {
    /// Datagrams sealed so far, of `limit` at most.
    pub(super) fn datagrams(&self, limit: u64) -> u64 {
        // Lanes that came too late may have counted past it.
        self.next_counter.load(Relaxed).min(limit)
    }

    /// A counter that nobody had before; `None` once `limit` were taken.
    pub(super) fn take_counter(&self, limit: u64) -> Option<u64> {
        // Looked at first, so that a used-up key does not count on: a wrapped counter would reuse a nonce. Each lane
        // passes the limit once at most.
        if self.next_counter.load(Relaxed) >= limit {
            return None;
        }
        let counter = self.next_counter.fetch_add(1, Relaxed);
        (counter < limit).then_some(counter)
    }

    /// One datagram was sealed.
    pub(super) fn count(&self, kind: Kind, bytes: usize, now: Instant) {
        self.bytes.fetch_add(as_u64(bytes), Relaxed);
        if carries_frames(kind) {
            let stamp = now.as_nanos().saturating_add(1);
            // A batch of datagrams has one time: written once.
            if self.last_frame.load(Relaxed) < stamp {
                self.last_frame.fetch_max(stamp, Relaxed);
            }
        }
    }
}

/// The receiving half.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Received {
    /// A counter from here on is higher than all that were opened. May lag behind the window, never ahead of it.
    above: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    window: ReplayWindow,
    datagrams: u64,
    bytes: u64,
    last: Option<Instant>,
    last_frame: Option<Instant>,
}

/// What was recorded of a datagram that was opened.
pub(super) struct Recorded {
    /// Its counter is the highest so far.
    pub(super) newest: bool,
    /// It is the first one.
    pub(super) first: bool,
}

impl Received {
    /// Whether a datagram with this counter is worth opening; records nothing.
    pub(super) fn check(&self, counter: u64) -> Result<(), Replayed> {
        // In order, as nearly all come, it is higher than all before: no need for the lock.
        if counter >= self.above.load(Relaxed) && counter != u64::MAX {
            return Ok(());
        }
        self.lock().window.check(counter)
    }

    /// Records a datagram that authenticated, unless another lane was faster with a copy.
    pub(super) fn record(
        &self,
        counter: u64,
        kind: Kind,
        bytes: usize,
        now: Instant,
    ) -> Result<Recorded, Replayed> {
        let mut inner = self.lock();
        let newest = inner.window.commit(counter)?;
        if newest {
            self.above.store(counter.saturating_add(1), Relaxed);
        }
        let first = inner.datagrams == 0;
        inner.datagrams += 1;
        inner.bytes = inner.bytes.saturating_add(as_u64(bytes));
        inner.last = inner.last.max(Some(now));
        if carries_frames(kind) {
            inner.last_frame = inner.last_frame.max(Some(now));
        }
        Ok(Recorded { newest, first })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was refused: rarely written, and read by both directions.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) forged: AtomicU64,
    pub(super) replayed: AtomicU64,
}

impl TransportStats {
    pub(super) fn gather(
        sent: &Sent,
        limit: u64,
        received: &Received,
        failures: &Failures,
    ) -> Self {
        let last_frame_sent = sent.last_frame.load(Relaxed).checked_sub(1);
        let inner = received.lock();
        Self {
            sent_datagrams: sent.datagrams(limit),
            sent_bytes: sent.bytes.load(Relaxed),
            received_datagrams: inner.datagrams,
            received_bytes: inner.bytes,
            forged: failures.forged.load(Relaxed),
            replayed: failures.replayed.load(Relaxed),
            last_received: inner.last,
            last_frame_sent: last_frame_sent.map(Instant::from_nanos),
            last_frame_received: inner.last_frame,
        }
    }
}

fn carries_frames(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Data | Kind::Relay | Kind::Flood | Kind::Fragment
    )
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
