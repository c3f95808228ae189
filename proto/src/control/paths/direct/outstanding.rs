//! Probes of one peer that wait for their replies.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::limits::{DEAD_AFTER, MAX_OUTSTANDING_PROBES};
use crate::time::Instant;

/// Probe that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentProbe {
    pub(super) nonce: u64,
    pub(super) to: SocketAddr,
    pub(super) at: Instant,
    pub(super) purpose: ProbePurpose,
}

/// Purpose and port of a probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProbePurpose {
    /// The peer sends from there: if it answers there too, that is its path now.
    pub(super) roam: bool,
    /// From the spare port.
    pub(super) spare: bool,
    /// Sent only to measure the address.
    pub(super) compare: bool,
    /// Sent to the direct path, whose losses count.
    pub(super) beat: bool,
}

/// Probes that wait for their replies; at most [`MAX_OUTSTANDING_PROBES`], for a further one the oldest is given up.
#[derive(Debug, Default)]
pub(super) struct OutstandingProbes(VecDeque<SentProbe>);

impl OutstandingProbes {
    /// Returns their number.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a probe that is sent.
    pub(super) fn push(&mut self, sent: SentProbe) {
        if self.0.len() >= MAX_OUTSTANDING_PROBES {
            self.0.pop_front();
        }
        self.0.push_back(sent);
    }

    /// Takes the probe that was answered.
    pub(super) fn take(&mut self, is_it: impl Fn(&SentProbe) -> bool) -> Option<SentProbe> {
        let at = self.0.iter().position(is_it)?;
        self.0.remove(at)
    }

    /// Takes the probes that count as lost: there was no reply for [`DEAD_AFTER`].
    pub(super) fn take_lost(&mut self, now: Instant) -> VecDeque<SentProbe> {
        let is_lost = |sent: &SentProbe| now.since(sent.at) >= DEAD_AFTER;
        let (lost, rest) = core::mem::take(&mut self.0).into_iter().partition(is_lost);
        self.0 = rest;
        lost
    }
}
