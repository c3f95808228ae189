//! Path MTU discovery of one direct path: Datagram Packetization Layer PMTU Discovery (RFC 8899).
//!
//! All sizes are in bytes of UDP payload. ICMP is not trusted: only answered probes count. A size is given up only
//! while shorter probes *are* answered, so a path that is down does not shrink.
//!
//! ```text
//!            base answered              nothing left to try
//!   Base ───────────────────▶ Search ───────────────────────▶ Complete
//!    │  ▲                      ▲  ▲                              │ │
//!    │  │ the confirmed size   │  └────── after 10 min ──────────┘ │
//!    │  └─ is lost (black hole)┼───────────────────────────────────┘
//!    └── base lost: Error ─────┘   as Search, below base
//! ```
//!
//! While there is traffic, the size is confirmed at each heartbeat. If a path shrinks, TCP inside the mesh is
//! interrupted for a lost confirmation, its repetitions and the fall back to the base size.

mod search;

use core::time::Duration;
use std::net::SocketAddr;

use crate::frame::ethernet;
use crate::limits::{
    BASE_DATAGRAM, MAX_DATAGRAM, MIN_DATAGRAM, MIN_INNER_MTU, PMTU_PROBES, PMTU_RAISE,
    PMTU_WAIT_MAX, PMTU_WAIT_MIN,
};
use crate::time::Instant;
use crate::wire::datagram::{FRAME_PREFIX_LEN, HEADER_LEN, TAG_LEN};

/// Bytes that a Data datagram adds to the IP packet of a single untagged frame.
const INNER_OVERHEAD: u16 = 48;
const _: () = assert!(
    INNER_OVERHEAD as usize == HEADER_LEN + TAG_LEN + FRAME_PREFIX_LEN + ethernet::HEADER_LEN
);

/// Returns the length of the outer IPv4 or IPv6 header and of UDP, without options, in bytes.
pub fn outer_overhead(to: SocketAddr) -> u16 {
    match to {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

/// Returns the MTU inside the mesh on a path for datagrams of `datagram` bytes: the longest IP packet that fits one.
/// It is at least [`MIN_INNER_MTU`], because the routers fragment longer datagrams.
pub fn inner_mtu(datagram: u16) -> u16 {
    datagram.saturating_sub(INNER_OVERHEAD).max(MIN_INNER_MTU)
}

/// Phase of the discovery (RFC 8899 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Probing [`BASE_DATAGRAM`].
    Base,
    /// Probing longer datagrams.
    Search,
    /// The longest datagram is known; the next search begins after [`PMTU_RAISE`].
    Complete,
    /// The path does not pass [`BASE_DATAGRAM`]; smaller sizes are being searched or one was found.
    Error,
}

/// Probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Length of the UDP payload.
    pub size: u16,
    /// True if a small probe is to be sent with it, to distinguish a narrow path from a dead one.
    pub sign: bool,
}

/// Discovery on one path. Driven by [`Pmtu::poll`] at [`Pmtu::next_deadline`], by replies, and by heartbeats.
#[derive(Clone, Debug)]
pub struct Pmtu {
    /// PLPMTU: longest datagram that is assumed to pass.
    datagram: u16,
    /// Result of the last search, while it still passes.
    settled: Option<u16>,
    /// Longest datagram that can be sent at all.
    ceiling: u16,
    /// Shortest size that is known to fail; above the ceiling if there is none.
    fails: u16,
    /// Length of IP and UDP headers around a datagram.
    overhead: u16,
    state: PmtuState,
    confirm: Option<SizeProbe>,
    /// Time at which the latest answered small probe was sent.
    sign: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum PmtuState {
    Base(SizeProbe),
    Search(SizeProbe),
    Complete { raise: Instant },
}

/// Probes of one size.
#[derive(Clone, Copy, Debug)]
struct SizeProbe {
    size: u16,
    first: Instant,
    sent: u8,
    due: Instant,
}

/// State of an attempt at its deadline.
enum ProbeVerdict {
    Wait,
    Ask(Ask),
    Lost,
}

impl SizeProbe {
    fn new(size: u16, now: Instant) -> Self {
        Self {
            size,
            first: now,
            sent: 0,
            due: now,
        }
    }

    fn poll(&mut self, sign: Option<Instant>, wait: Duration, now: Instant) -> ProbeVerdict {
        if now < self.due {
            return ProbeVerdict::Wait;
        }
        if self.sent >= PMTU_PROBES && sign.is_some_and(|at| at >= self.first) {
            return ProbeVerdict::Lost;
        }
        if self.sent == 0 {
            self.first = now;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = now + wait;
        ProbeVerdict::Ask(Ask {
            size: self.size,
            sign: self.sent >= PMTU_PROBES,
        })
    }
}

impl Pmtu {
    /// Creates the discovery of a working path to `to`; [`BASE_DATAGRAM`] is assumed to pass.
    ///
    /// `ceiling` is the longest datagram that can be sent; [`MAX_DATAGRAM`] if the MTU of the interface is not known.
    pub fn new(to: SocketAddr, ceiling: u16, now: Instant) -> Self {
        let ceiling = bounded(ceiling);
        let base = BASE_DATAGRAM.min(ceiling);
        Self {
            datagram: base,
            settled: None,
            ceiling,
            fails: ceiling.saturating_add(1),
            overhead: outer_overhead(to),
            state: PmtuState::Base(SizeProbe::new(base, now)),
            confirm: None,
            sign: None,
        }
    }

    /// Returns the PLPMTU: the longest datagram that is assumed to pass.
    pub fn datagram(&self) -> u16 {
        self.datagram
    }

    /// Returns the PLPMTU if a search has confirmed it. Senders remember a reported MTU for minutes, so nothing is
    /// reported before.
    pub fn settled(&self) -> Option<u16> {
        self.settled
    }

    /// Returns the phase of the discovery.
    pub fn phase(&self) -> Phase {
        match self.state {
            PmtuState::Base(_) => Phase::Base,
            _ if self.datagram < BASE_DATAGRAM.min(self.ceiling) => Phase::Error,
            PmtuState::Search(_) => Phase::Search,
            PmtuState::Complete { .. } => Phase::Complete,
        }
    }

    /// Returns the time at which [`Pmtu::poll`] is to be called.
    pub fn next_deadline(&self) -> Instant {
        let search = match self.state {
            PmtuState::Base(attempt) | PmtuState::Search(attempt) => attempt.due,
            PmtuState::Complete { raise } => raise,
        };
        self.confirm
            .map_or(search, |confirm| search.min(confirm.due))
    }

    /// Returns the next probe to send, for a path with the smoothed round-trip time `rtt`; to be called until it
    /// returns `None`.
    pub fn poll(&mut self, rtt: Duration, now: Instant) -> Option<Ask> {
        let wait = (2 * rtt + Duration::from_millis(100)).clamp(PMTU_WAIT_MIN, PMTU_WAIT_MAX);
        if let Some(confirm) = &mut self.confirm {
            match confirm.poll(self.sign, wait, now) {
                ProbeVerdict::Ask(ask) => return Some(ask),
                ProbeVerdict::Lost => self.black_hole(now),
                ProbeVerdict::Wait => {}
            }
        }
        self.poll_search(wait, now)
    }

    fn poll_search(&mut self, wait: Duration, now: Instant) -> Option<Ask> {
        loop {
            let sign = self.sign;
            let (attempt, base) = match &mut self.state {
                PmtuState::Complete { raise } if now < *raise => return None,
                PmtuState::Complete { .. } => {
                    self.fails = self.ceiling.saturating_add(1);
                    self.search(now);
                    // No longer datagram can be sent: search again later.
                    if matches!(self.state, PmtuState::Complete { .. }) {
                        return None;
                    }
                    continue;
                }
                PmtuState::Base(attempt) => (attempt, true),
                PmtuState::Search(attempt) => (attempt, false),
            };
            match attempt.poll(sign, wait, now) {
                ProbeVerdict::Wait => return None,
                ProbeVerdict::Ask(ask) => return Some(ask),
                ProbeVerdict::Lost => {
                    self.fails = attempt.size;
                    if base {
                        self.datagram = MIN_DATAGRAM.min(self.ceiling);
                    }
                    self.search(now);
                }
            }
        }
    }

    /// Handles the answer to a probe of `size`.
    pub fn acknowledged(&mut self, size: u16, now: Instant) {
        if self.confirm.is_some_and(|confirm| confirm.size <= size) {
            self.confirm = None;
        }
        match self.state {
            PmtuState::Base(attempt) | PmtuState::Search(attempt)
                if attempt.size == size && attempt.sent > 0 =>
            {
                self.datagram = size;
                self.search(now);
            }
            _ => {}
        }
    }

    /// Handles the answer to a small probe sent at `sent`: the path works.
    pub fn small_answered(&mut self, sent: Instant) {
        self.sign = self.sign.max(Some(sent));
    }

    /// Starts a confirmation of the PLPMTU; to be called at each heartbeat while there is traffic.
    pub fn heartbeat(&mut self, now: Instant) {
        let settled = !matches!(self.state, PmtuState::Base(_));
        if settled && self.confirm.is_none() && self.datagram > MIN_DATAGRAM {
            self.confirm = Some(SizeProbe::new(self.datagram, now));
        }
    }

    /// Handles a black hole: the PLPMTU no longer passes, so discovery restarts from the base size.
    fn black_hole(&mut self, now: Instant) {
        let lost = self.datagram;
        self.confirm = None;
        self.settled = None;
        // The lost size itself is probed again: the probes may have been lost by chance.
        self.fails = lost.saturating_add(1);
        if lost > BASE_DATAGRAM {
            self.datagram = BASE_DATAGRAM;
            self.state = PmtuState::Base(SizeProbe::new(BASE_DATAGRAM, now));
        } else {
            self.datagram = MIN_DATAGRAM;
            self.search(now);
        }
    }

    /// Continues with the next size between the longest that passes and the shortest that fails.
    fn search(&mut self, now: Instant) {
        let next = search::next(self.datagram, self.fails, self.overhead);
        self.state = if let Some(size) = next {
            PmtuState::Search(SizeProbe::new(size, now))
        } else {
            self.settled = Some(self.datagram);
            PmtuState::Complete {
                raise: now + PMTU_RAISE,
            }
        };
    }
}

/// Limits the ceiling to the lengths that a datagram may have.
fn bounded(ceiling: u16) -> u16 {
    let most = u16::try_from(MAX_DATAGRAM).unwrap_or(u16::MAX);
    ceiling.clamp(MIN_DATAGRAM, most)
}

#[cfg(test)]
mod tests;
