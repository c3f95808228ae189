//! Path MTU of one direct path: packetization layer path MTU discovery for datagram transports (RFC 8899).
//!
//! All sizes are UDP payload bytes. Nothing of this trusts ICMP: only probes that were answered count, and a size is
//! given up only while shorter probes *are* answered, so that a path that is merely down does not shrink.
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
//! While traffic flows the confirmed size is confirmed again at each heartbeat: what a lost confirmation, its repetitions
//! and a jump back to base take is what TCP inside sees of a path that shrinks.

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

/// Bytes of a Data datagram beyond the IP packet of its one untagged frame.
const INNER_OVERHEAD: u16 = 48;
const _: () = assert!(
    INNER_OVERHEAD as usize == HEADER_LEN + TAG_LEN + FRAME_PREFIX_LEN + ethernet::HEADER_LEN
);

/// Bytes of the outer IPv4 or IPv6 header and of UDP, without options.
pub fn outer_overhead(to: SocketAddr) -> u16 {
    match to {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

/// The MTU inside the mesh where datagrams of `datagram` bytes pass: the longest IP packet that goes in one, but never
/// less than [`MIN_INNER_MTU`], since shorter datagrams are cut by the routers.
pub fn inner_mtu(datagram: u16) -> u16 {
    datagram.saturating_sub(INNER_OVERHEAD).max(MIN_INNER_MTU)
}

/// Where discovery stands (RFC 8899 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Whether the path passes [`BASE_DATAGRAM`] is being found out.
    Base,
    /// Longer datagrams are being tried.
    Search,
    /// The longest datagram is known; it is looked for again after [`PMTU_RAISE`].
    Complete,
    /// The path does not pass [`BASE_DATAGRAM`]; what it passes is being looked for, or known.
    Error,
}

/// A probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Bytes of the UDP payload.
    pub size: u16,
    /// A small probe is wanted beside it, to tell a narrow path from a dead one.
    pub sign: bool,
}

/// Discovery on one path. Feed it [`Pmtu::poll`] at [`Pmtu::next_deadline`], replies, and heartbeats.
#[derive(Clone, Debug)]
pub struct Pmtu {
    /// What is taken to pass.
    datagram: u16,
    /// What the last search ended at, if it still passes.
    settled: Option<u16>,
    /// What can be sent at all.
    ceiling: u16,
    /// The shortest size known not to pass; above the ceiling when there is none.
    fails: u16,
    /// Bytes of IP and UDP around a datagram.
    overhead: u16,
    state: State,
    confirm: Option<Attempt>,
    /// When the newest small probe that was answered had been sent.
    sign: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Base(Attempt),
    Search(Attempt),
    Complete { raise: Instant },
}

/// Probes of one size.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    size: u16,
    first: Instant,
    sent: u8,
    due: Instant,
}

/// What becomes of an attempt at its deadline.
enum Verdict {
    Wait,
    Ask(Ask),
    Lost,
}

impl Attempt {
    fn new(size: u16, now: Instant) -> Self {
        Self {
            size,
            first: now,
            sent: 0,
            due: now,
        }
    }

    fn poll(&mut self, sign: Option<Instant>, wait: Duration, now: Instant) -> Verdict {
        if now < self.due {
            return Verdict::Wait;
        }
        if self.sent >= PMTU_PROBES && sign.is_some_and(|at| at >= self.first) {
            return Verdict::Lost;
        }
        if self.sent == 0 {
            self.first = now;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = now + wait;
        Verdict::Ask(Ask {
            size: self.size,
            sign: self.sent >= PMTU_PROBES,
        })
    }
}

impl Pmtu {
    /// A path to `to` that nothing is known of but that it works; [`BASE_DATAGRAM`] is taken to pass.
    ///
    /// `ceiling` is what can be sent at all, [`MAX_DATAGRAM`] when the MTU of the interface is not known.
    pub fn new(to: SocketAddr, ceiling: u16, now: Instant) -> Self {
        let ceiling = bounded(ceiling);
        let base = BASE_DATAGRAM.min(ceiling);
        Self {
            datagram: base,
            settled: None,
            ceiling,
            fails: ceiling.saturating_add(1),
            overhead: outer_overhead(to),
            state: State::Base(Attempt::new(base, now)),
            confirm: None,
            sign: None,
        }
    }

    /// The longest datagram that is taken to pass (the PLPMTU).
    pub fn datagram(&self) -> u16 {
        self.datagram
    }

    /// The same when it is no guess: what a search ended at and still passes. Senders remember for minutes what they are
    /// told of a path, so before that they are told nothing.
    pub fn settled(&self) -> Option<u16> {
        self.settled
    }

    /// Where discovery stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Base(_) => Phase::Base,
            _ if self.datagram < BASE_DATAGRAM.min(self.ceiling) => Phase::Error,
            State::Search(_) => Phase::Search,
            State::Complete { .. } => Phase::Complete,
        }
    }

    /// When [`Pmtu::poll`] wants to be called.
    pub fn next_deadline(&self) -> Instant {
        let search = match self.state {
            State::Base(attempt) | State::Search(attempt) => attempt.due,
            State::Complete { raise } => raise,
        };
        self.confirm
            .map_or(search, |confirm| search.min(confirm.due))
    }

    /// The next probe that is due, on a path with this smoothed round-trip time; to be called until there is none.
    pub fn poll(&mut self, rtt: Duration, now: Instant) -> Option<Ask> {
        let wait = (2 * rtt + Duration::from_millis(100)).clamp(PMTU_WAIT_MIN, PMTU_WAIT_MAX);
        if let Some(confirm) = &mut self.confirm {
            match confirm.poll(self.sign, wait, now) {
                Verdict::Ask(ask) => return Some(ask),
                Verdict::Lost => self.black_hole(now),
                Verdict::Wait => {}
            }
        }
        self.poll_search(wait, now)
    }

    fn poll_search(&mut self, wait: Duration, now: Instant) -> Option<Ask> {
        loop {
            let sign = self.sign;
            let (attempt, base) = match &mut self.state {
                State::Complete { raise } if now < *raise => return None,
                State::Complete { .. } => {
                    self.fails = self.ceiling.saturating_add(1);
                    self.search(now);
                    // Nothing longer can be sent: look again later.
                    if matches!(self.state, State::Complete { .. }) {
                        return None;
                    }
                    continue;
                }
                State::Base(attempt) => (attempt, true),
                State::Search(attempt) => (attempt, false),
            };
            match attempt.poll(sign, wait, now) {
                Verdict::Wait => return None,
                Verdict::Ask(ask) => return Some(ask),
                Verdict::Lost => {
                    self.fails = attempt.size;
                    if base {
                        self.datagram = MIN_DATAGRAM.min(self.ceiling);
                    }
                    self.search(now);
                }
            }
        }
    }

    /// A probe of `size` was answered.
    pub fn acknowledged(&mut self, size: u16, now: Instant) {
        if self.confirm.is_some_and(|confirm| confirm.size <= size) {
            self.confirm = None;
        }
        match self.state {
            State::Base(attempt) | State::Search(attempt)
                if attempt.size == size && attempt.sent > 0 =>
            {
                self.datagram = size;
                self.search(now);
            }
            _ => {}
        }
    }

    /// A small probe that was sent at `sent` was answered: the path works.
    pub fn small_answered(&mut self, sent: Instant) {
        self.sign = self.sign.max(Some(sent));
    }

    /// Confirms that the path still passes what it is taken to; to be called at each heartbeat while traffic flows.
    pub fn heartbeat(&mut self, now: Instant) {
        let settled = !matches!(self.state, State::Base(_));
        if settled && self.confirm.is_none() && self.datagram > MIN_DATAGRAM {
            self.confirm = Some(Attempt::new(self.datagram, now));
        }
    }

    /// What passed passes no more, and nobody said so: back to what every path should pass.
    fn black_hole(&mut self, now: Instant) {
        let lost = self.datagram;
        self.confirm = None;
        self.settled = None;
        // The lost size itself is tried again: chance may have taken the probes.
        self.fails = lost.saturating_add(1);
        if lost > BASE_DATAGRAM {
            self.datagram = BASE_DATAGRAM;
            self.state = State::Base(Attempt::new(BASE_DATAGRAM, now));
        } else {
            self.datagram = MIN_DATAGRAM;
            self.search(now);
        }
    }

    /// Goes on with the next size between what passes and what does not.
    fn search(&mut self, now: Instant) {
        let next = search::next(self.datagram, self.fails, self.overhead);
        self.state = if let Some(size) = next {
            State::Search(Attempt::new(size, now))
        } else {
            self.settled = Some(self.datagram);
            State::Complete {
                raise: now + PMTU_RAISE,
            }
        };
    }
}

/// A ceiling within what a datagram may be and what is probed at all.
fn bounded(ceiling: u16) -> u16 {
    let most = u16::try_from(MAX_DATAGRAM).unwrap_or(u16::MAX);
    ceiling.clamp(MIN_DATAGRAM, most)
}

#[cfg(test)]
mod tests;
