//! Statistics of a transport.
//!
//! The two directions of a session are handled by different lanes, so the fields written by each have separate cache
//! lines. Sending counts with atomics; receiving counts under the lock of the replay window, which is taken anyway.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::session::replay::{ReplayWindow, Replayed};
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// Statistics of a session since its handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Datagrams sealed.
    pub sent_datagrams: u64,
    /// Bytes of the sealed datagrams, header and tag included.
    pub sent_bytes: u64,
    /// Datagrams opened.
    pub received_datagrams: u64,
    /// Bytes of the opened datagrams, header and tag included.
    pub received_bytes: u64,
    /// Datagrams that failed to authenticate.
    pub forged: u64,
    /// Datagrams whose counter was seen before or older than the window.
    pub replayed: u64,
    /// Time at which the last datagram was opened; `None` before the first.
    pub last_received: Option<Instant>,
    /// Time at which the last datagram with frames (all but Probe) was sealed; `None` before the
    /// first.
    pub last_frame_sent: Option<Instant>,
    /// Time at which the last datagram with frames (all but Probe) was opened; `None` before the
    /// first.
    pub last_frame_received: Option<Instant>,
}

/// Sending direction: the send counter, which is also the number of sealed datagrams, and statistics.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Sent {
    next_counter: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds plus one; 0: never.
    last_frame: AtomicU64,
}

impl Sent {
    /// Returns the number of datagrams sealed so far, at most `limit`.
    pub(super) fn datagrams(&self, limit: u64) -> u64 {
        // Lanes that were too late may have counted past the limit.
        self.next_counter.load(Relaxed).min(limit)
    }

    /// Takes the next send counter; `None` once `limit` were taken.
    pub(super) fn take_counter(&self, limit: u64) -> Option<u64> {
        // Checked first, so that exhausted keys do not count further: a counter that wraps would reuse a nonce. Each
        // lane passes the limit once at most.
        if self.next_counter.load(Relaxed) >= limit {
            return None;
        }
        let counter = self.next_counter.fetch_add(1, Relaxed);
        (counter < limit).then_some(counter)
    }

    /// Counts one sealed datagram.
    pub(super) fn count(&self, kind: Kind, bytes: usize, now: Instant) {
        self.bytes.fetch_add(as_u64(bytes), Relaxed);
        if carries_frames(kind) {
            let stamp = now.as_nanos().saturating_add(1);
            // All datagrams of a batch have the same time, which is written once.
            if self.last_frame.load(Relaxed) < stamp {
                self.last_frame.fetch_max(stamp, Relaxed);
            }
        }
    }
}

/// Receiving direction.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Received {
    /// Counters from this one on are higher than all opened ones. May lag behind the window, but is never ahead of
    /// it.
    above: AtomicU64,
    inner: Mutex<ReceivedState>,
}

#[derive(Default)]
struct ReceivedState {
    window: ReplayWindow,
    datagrams: u64,
    bytes: u64,
    last: Option<Instant>,
    last_frame: Option<Instant>,
}

/// Result of recording an opened datagram.
pub(super) struct Recorded {
    /// True if its counter is the highest so far.
    pub(super) newest: bool,
    /// True for the first datagram opened.
    pub(super) first: bool,
}

impl Received {
    /// Checks that a datagram with this counter may be fresh, without recording it.
    pub(super) fn check(&self, counter: u64) -> Result<(), Replayed> {
        // Nearly all datagrams arrive in order, with a counter above all others; these need no lock.
        if counter >= self.above.load(Relaxed) && counter != u64::MAX {
            return Ok(());
        }
        self.lock().window.check(counter)
    }

    /// Records an authenticated datagram, unless another lane recorded a copy first.
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

    fn lock(&self) -> MutexGuard<'_, ReceivedState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters of refused datagrams: rarely written, and read by both directions.
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
        Kind::Data | Kind::Relay | Kind::Flood | Kind::NetworkFlood | Kind::Fragment
    )
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
