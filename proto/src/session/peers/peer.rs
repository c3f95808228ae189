//! State of the session with one peer: key slots, the pending handshake, timers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::SessionIndex;
use crate::limits;
use crate::noise::Handshake;
use crate::session::message::Cookie;
use crate::session::transport::{Transport, TransportStats};
use crate::time::Instant;

/// State of one peer with which there is a session, or a handshake begun by either side.
pub(in crate::session) struct SessionPeer {
    pub(in crate::session) dh_key: [u8; 32],
    pub(in crate::session) slots: Slots,
    pub(in crate::session) pending: Option<PendingHandshake>,
    /// Time at which to check if a handshake is needed after all.
    pub(in crate::session) begin_at: Option<Instant>,
    pub(in crate::session) confirm: Option<Confirm>,
    pub(in crate::session) upkeep_at: Option<Instant>,
    pub(in crate::session) watch: Watch,
    pub(in crate::session) cookie: Option<(Cookie, Instant)>,
    /// Time under which this entry stands in the manager's timer queue.
    pub(in crate::session) queued: Option<Instant>,
    pub(in crate::session) created: Instant,
}

/// Handshake that waits for its Response.
pub(in crate::session) struct PendingHandshake {
    pub(in crate::session) started: Instant,
    pub(in crate::session) attempts: usize,
    /// Last attempts, at most [`limits::KEPT_ATTEMPTS`], in order. On a long path the answer to one arrives after the
    /// next was sent.
    pub(in crate::session) tries: VecDeque<Attempt>,
    pub(in crate::session) retry_at: Instant,
}

pub(in crate::session) struct Attempt {
    pub(in crate::session) noise: Handshake,
    pub(in crate::session) index: SessionIndex,
    pub(in crate::session) sent: Instant,
    pub(in crate::session) mac1: [u8; 16],
    /// True if a Cookie was accepted for it; only one is.
    pub(in crate::session) challenged: bool,
    /// Number of Responses that failed to authenticate.
    pub(in crate::session) failures: u32,
}

/// Repetition of empty Probes that confirm the current keys, until the peer is heard.
pub(in crate::session) struct Confirm {
    pub(in crate::session) attempts: usize,
    pub(in crate::session) at: Instant,
}

/// State of the current transport at the last upkeep.
#[derive(Default)]
pub(in crate::session) struct Watch {
    pub(in crate::session) at: Instant,
    pub(in crate::session) sent: u64,
    /// Time since when frames have been sent and nothing received.
    pub(in crate::session) silent_since: Option<Instant>,
}

/// Keys of one session: previous, current, and those that the peer has yet to confirm.
#[derive(Default)]
pub(in crate::session) struct Slots {
    previous: Option<Arc<Transport>>,
    current: Option<Arc<Transport>>,
    /// Keys of the answers to the last Inits of the peer, at most [`limits::KEPT_ATTEMPTS`], in order; the peer
    /// confirms one of them.
    next: VecDeque<Arc<Transport>>,
}

impl PendingHandshake {
    /// Returns the attempt with this index.
    pub(in crate::session) fn by_index(&mut self, index: SessionIndex) -> Option<&mut Attempt> {
        self.tries.iter_mut().find(|a| a.index == index)
    }
}

impl SessionPeer {
    pub(in crate::session) fn new(dh_key: [u8; 32], now: Instant) -> Self {
        Self {
            dh_key,
            slots: Slots::default(),
            pending: None,
            begin_at: None,
            confirm: None,
            upkeep_at: None,
            watch: Watch::default(),
            cookie: None,
            queued: None,
            created: now,
        }
    }

    /// Drops the cookie of the peer if it is too old.
    pub(in crate::session) fn expire_cookie(&mut self, now: Instant) {
        self.cookie
            .take_if(|(_, got)| now.since(*got) >= limits::COOKIE_AGE);
    }

    /// Returns the earliest of its timers, and the purpose of that timer.
    pub(in crate::session) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let pending = self.pending.as_ref().map(|p| p.retry_at);
        let confirm = self.confirm.as_ref().map(|c| c.at);
        [
            (pending, "session handshake retry"),
            (self.begin_at, "session handshake start"),
            (confirm, "session key confirmation"),
            (self.upkeep_at, "session upkeep"),
        ]
        .into_iter()
        .filter_map(|(at, why)| at.map(|at| (at, why)))
        .min()
    }

    /// Returns true if there is nothing left to keep.
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.pending.is_none() && self.begin_at.is_none() && self.slots.is_empty()
    }

    /// Returns true if there are no usable keys, or they are due to be replaced.
    pub(in crate::session) fn needs_handshake(&self, now: Instant) -> bool {
        let current = self.slots.current();
        current.is_none_or(|t| t.wants_rekey(now) || t.is_dead(now))
    }

    /// Returns the time at which the session was last used.
    pub(in crate::session) fn last_used(&self) -> Instant {
        let used = self.slots.iter().flat_map(|t| {
            let stats = t.stats();
            [
                Some(t.established()),
                stats.last_frame_sent,
                stats.last_received,
            ]
        });
        used.flatten().max().unwrap_or(self.created)
    }

    /// Returns all indices under which the peer may send datagrams to this router.
    pub(in crate::session) fn indices(&self) -> impl Iterator<Item = SessionIndex> + '_ {
        let tries = self.pending.iter().flat_map(|p| &p.tries);
        let transports = self.slots.iter().map(|t| t.local());
        transports.chain(tries.map(|a| a.index))
    }
}

impl Slots {
    pub(in crate::session) fn current(&self) -> Option<&Arc<Transport>> {
        self.current.as_ref()
    }

    /// Returns the newest keys that the peer has yet to confirm.
    pub(in crate::session) fn next(&self) -> Option<&Arc<Transport>> {
        self.next.back()
    }

    pub(in crate::session) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns all transports, the oldest slot first.
    pub(in crate::session) fn iter(&self) -> impl Iterator<Item = &Arc<Transport>> {
        let used = [&self.previous, &self.current].into_iter().flatten();
        used.chain(&self.next)
    }

    /// Installs the keys of a handshake begun here, which the peer has already. Returns the keys to drop.
    pub(in crate::session) fn install_current(
        &mut self,
        transport: Arc<Transport>,
    ) -> Option<Arc<Transport>> {
        let before = self.current.replace(transport);
        match before {
            Some(before) => self.previous.replace(before),
            None => None,
        }
    }

    /// Installs the keys of an answered handshake, which the peer may never get. Returns the keys to drop.
    pub(in crate::session) fn install_next(
        &mut self,
        transport: Arc<Transport>,
    ) -> Option<Arc<Transport>> {
        self.next.push_back(transport);
        let full = self.next.len() > limits::KEPT_ATTEMPTS;
        full.then(|| self.next.pop_front()).flatten()
    }

    /// Handles the first use of the keys with this index by the peer: if they are *next*, they become *current*,
    /// unless newer keys of a handshake begun here are current already. Returns `None` if nothing changes, otherwise
    /// the keys to drop.
    pub(in crate::session) fn confirm(&mut self, index: SessionIndex) -> Option<Confirmed> {
        let at = self.next.iter().position(|t| t.local() == index)?;
        // Earlier answers are superseded; later ones belong to a later handshake.
        let mut dropped: Vec<_> = self.next.drain(..at).collect();
        let next = self.next.pop_front()?;
        let newer = self.current.as_ref();
        if newer.is_some_and(|current| current.established() > next.established()) {
            dropped.extend(self.previous.replace(next));
            return Some(Confirmed {
                promoted: false,
                dropped,
            });
        }
        dropped.extend(self.install_current(next));
        Some(Confirmed {
            promoted: true,
            dropped,
        })
    }

    /// Removes expired and exhausted keys, and returns them.
    pub(in crate::session) fn expire(&mut self, now: Instant) -> Vec<Arc<Transport>> {
        self.take(|transport| transport.is_dead(now))
    }

    /// Removes the keys agreed with earlier epochs of the peer, and returns them.
    pub(in crate::session) fn take_before(&mut self, epoch: u64) -> Vec<Arc<Transport>> {
        self.take(|transport| transport.epoch() < epoch)
    }

    fn take(&mut self, goes: impl Fn(&Transport) -> bool) -> Vec<Arc<Transport>> {
        let mut taken: Vec<_> = [&mut self.previous, &mut self.current]
            .into_iter()
            .filter_map(|slot| slot.take_if(|t| goes(t)))
            .collect();
        self.next.retain(|t| {
            let keep = !goes(t);
            if !keep {
                taken.push(t.clone());
            }
            keep
        });
        taken
    }

    /// Returns the time at which the oldest keys expire.
    pub(in crate::session) fn first_expiry(&self) -> Option<Instant> {
        let oldest = self.iter().map(|t| t.established()).min();
        oldest.map(|established| established + limits::REJECT_AFTER)
    }
}

/// Result of [`Slots::confirm`].
pub(in crate::session) struct Confirmed {
    pub(in crate::session) promoted: bool,
    pub(in crate::session) dropped: Vec<Arc<Transport>>,
}

/// Result of [`Watch::look`].
pub(in crate::session) struct Seen {
    /// Frames were sent, and nothing was received for [`limits::SESSION_SILENCE`].
    pub(in crate::session) silence: bool,
    /// Frames were received, and nothing was sent since the last upkeep.
    pub(in crate::session) unanswered: bool,
}

impl Watch {
    /// Compares the statistics of the current transport with those at the last upkeep.
    pub(in crate::session) fn look(
        &mut self,
        stats: &TransportStats,
        established: Instant,
        now: Instant,
    ) -> Seen {
        let heard = stats.last_received.unwrap_or(established);
        let speaking = stats.last_frame_sent.is_some_and(|sent| sent > heard);
        let since = match self.silent_since {
            Some(since) if heard <= since => since,
            _ => now,
        };
        let silence = speaking && now.since(since) >= limits::SESSION_SILENCE;
        self.silent_since = (speaking && !silence).then_some(since);

        let received = stats.last_frame_received.is_some_and(|at| at >= self.at);
        let unanswered = received && stats.sent_datagrams == self.sent;
        self.at = now;
        self.sent = stats.sent_datagrams;
        Seen {
            silence,
            unanswered,
        }
    }
}
