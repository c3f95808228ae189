//! Who may give which address to a container.
//!
//! The range is cut in slices ([`Slicing`]). A slice has one owner, which alone gives out its addresses: to its own
//! containers, or one by one to other routers (*loans*). A claim of a slice has a version, and all claims of one slice are
//! ordered: the higher version, then the smaller owner. Every router keeps the highest claim it heard of (*the map*), so
//! maps only grow, and routers that heard the same have the same.
//!
//! Why no address is given out twice:
//!
//! 1. *Durable first.* Every change is an entry of a journal. Nothing leaves this machine (statement, message, answer)
//!    before all entries made until then are synced. What a crash takes back nobody was told of.
//! 2. *A claim grows in four ways.* The owner uses the slice for the first time, or gives it away (it is then no owner
//!    any more, before anybody is told). A router takes the whole range while it knows of no claim and of no other router
//!    with a smaller identity. Or a dead router's slices are assigned to a survivor by a removal.
//! 3. *Who is given a slice owns it at once*, and is told who holds addresses in it. *Whoever finds itself owner in
//!    another way asks every router it can reach*, and owns the slice when all agreed: each of them has then recorded the
//!    claim (so it gives nothing out of it), or has named a higher one, and has said what it holds there. Two that ask at
//!    once ask one another, and the order of claims decides.
//! 4. *Across a partition* no claim grows except by a removal, so both sides go on with what they own.
//! 5. *Meshes that met when both had allocated*: for each slice the order of claims names one owner, and a slice that was
//!    ever used outranks one that never was. The owner gives nothing out of it (*contested*) until the other has
//!    conceded, with the addresses that it holds there, which are then pins: excluded as if lent.
//! 6. *A removal of a router that lives* (cut off, forced) is the one way to a duplicate. When it is back it finds the
//!    higher claims, concedes, names its addresses, and both sides report those that were given out twice.
//!
//! A loan ends when its holder's statement says that the request is settled and does not list the address. The numbers of
//! requests make that safe against old statements, the epoch against crashes.

mod allocate;
mod ask;
mod fault;
mod hear;
mod journal;
mod lend;
mod merge;
mod peers;
mod publish;
mod refusal;
mod report;
mod request;
mod slices;
mod state;
mod takeover;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use core::time::Duration;

use ipnet::Ipv4Net;

pub use journal::JournalError;
pub use refusal::{Namer, Refusal, Wait};
pub use report::{Allocation, Owner, Space, Waiting};
pub use request::RequestId;
pub use slices::{RangeError, Run, Slicing};
pub use takeover::{Removal, RemoveError};
pub use wire::{Conflict, Denial, Foreign, Message, Pin, Statement, Want, WireError};

use crate::ids::PeerId;
use crate::limits::{IPAM_LEAVE_WAIT, IPAM_RECLAIM_TICK, IPAM_TICK, MAX_IPAM_OUTPUTS};
use crate::time::Instant;
use fault::Fault;
use journal::Entry;
use peers::Peer;
use publish::Published;
use request::Request;
use state::State;
use takeover::Round;

/// How a router allocates.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub me: PeerId,
    /// Its boot epoch, higher at each start.
    pub epoch: u64,
    /// The range, cut.
    pub slicing: Slicing,
    /// Time after which a router that cannot be reached is removed without being told to; `None` for never.
    pub auto_reclaim: Option<Duration>,
}

/// What the shell has to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the journal and sync; then call [`Ipam::persisted`]. Entries come in order; several may share a sync.
    Persist {
        /// The entry's number, one more than the last.
        position: u64,
        /// Its bytes, to which the shell adds length and checksum.
        entry: Vec<u8>,
    },
    /// What to tell everybody, in place of what was told before.
    Statement(Vec<u8>),
    /// Send to a router; may be lost.
    Send {
        /// To whom.
        to: PeerId,
        /// A [`Message`], of at most [`crate::limits::MAX_IPAM_BYTES`].
        bytes: Vec<u8>,
    },
    /// The request has an address.
    Allocated {
        /// Which request.
        request: RequestId,
        /// The address.
        addr: Ipv4Addr,
        /// Prefix length of its subnet.
        prefix: u8,
    },
    /// The request is over without one.
    Failed {
        /// Which request.
        request: RequestId,
        /// Why, and what to do.
        why: Refusal,
    },
    /// The router's space is handed over, as far as it could be, and its state may be deleted.
    Left {
        /// Slices that nobody took: they are free after a removal of this router.
        orphaned: usize,
    },
}

/// The state machine. One input, then drain the outputs.
#[derive(Debug)]
pub struct Ipam {
    config: Config,
    state: State,
    peers: BTreeMap<PeerId, Peer>,
    requests: BTreeMap<u64, Request>,
    next_number: u64,
    /// Others exist, as the operator said, and none was met yet.
    expecting: bool,
    published: Published,
    round: Option<Round>,
    rounds: u64,
    resent: Instant,
    leaving: Option<Instant>,
    ticked: Instant,
    reclaimed: Instant,
    started: Instant,
    position: u64,
    durable: u64,
    entries: VecDeque<(u64, Vec<u8>)>,
    effects: VecDeque<(u64, Output)>,
    refused: u64,
    #[cfg(test)]
    fault: Option<Fault>,
}

impl Ipam {
    /// A router that has the journal `entries` (none: a new one).
    ///
    /// # Errors
    /// [`JournalError`], when the journal is of another router, range or version, or damaged.
    pub fn new<'a>(
        config: Config,
        entries: impl IntoIterator<Item = &'a [u8]>,
        now: Instant,
    ) -> Result<Self, JournalError> {
        let mut entries = entries.into_iter().peekable();
        let is_new = entries.peek().is_none();
        let state = journal::replay(config.me, config.slicing, entries)?;
        // Answers to questions of an earlier start must not count for this one's.
        let rounds = config.epoch << 32;
        let mut ipam = Self {
            config,
            state,
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_number: 1,
            expecting: false,
            published: Published::default(),
            round: None,
            rounds,
            resent: now,
            leaving: None,
            ticked: now,
            reclaimed: now,
            started: now,
            position: 0,
            durable: 0,
            entries: VecDeque::new(),
            effects: VecDeque::new(),
            refused: 0,
            #[cfg(test)]
            fault: None,
        };
        if is_new {
            let header = journal::header(&ipam.state);
            ipam.append(header);
        }
        ipam.flush(now);
        Ok(ipam)
    }

    /// Whether the operator named other routers of which none was met yet: a router without a map then waits for them, up
    /// to [`crate::limits::IPAM_FOUND_WAIT`] for each request.
    pub fn set_expecting(&mut self, expecting: bool, now: Instant) {
        self.expecting = expecting;
        self.pump(now);
        self.flush(now);
    }

    /// What a router says of addresses; `reachable` is whether there is a path to it now.
    ///
    /// # Errors
    /// [`WireError`]: nothing was changed, and it was counted.
    pub fn handle_statement(
        &mut self,
        origin: PeerId,
        bytes: &[u8],
        reachable: bool,
        now: Instant,
    ) -> Result<(), WireError> {
        let statement = Statement::decode(bytes).inspect_err(|_| self.refused += 1)?;
        if origin != self.config.me {
            self.merge(origin, &statement, reachable, now);
            self.pump(now);
            self.flush(now);
        }
        Ok(())
    }

    /// This router was started from old state, and others know a later start of it: what it says from now on is newer
    /// than what that one said. A lower epoch changes nothing.
    pub fn raise_epoch(&mut self, epoch: u64, now: Instant) {
        if epoch > self.config.epoch {
            self.config.epoch = epoch;
            self.rounds = self.rounds.max(epoch << 32);
            self.published.changed = true;
            self.flush(now);
        }
    }

    /// Whether there is a path to a router.
    pub fn set_reachable(&mut self, peer: PeerId, reachable: bool, now: Instant) {
        if self.note_reachable(peer, reachable, now) {
            self.meet(peer);
            self.pump(now);
            self.flush(now);
        }
    }

    /// A message of another router.
    ///
    /// # Errors
    /// [`WireError`]: nothing was changed, and it was counted.
    pub fn handle_message(
        &mut self,
        from: PeerId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), WireError> {
        let message = Message::decode(bytes).inspect_err(|_| self.refused += 1)?;
        match message {
            Message::Ask {
                epoch,
                number,
                want,
                slices,
            } => self.answer(from, (epoch, number), want, slices, now),
            Message::Lent {
                epoch,
                number,
                addr,
            } => self.take_loan(from, epoch, number, addr, now),
            Message::Denied { epoch, number, why } => {
                if epoch == self.config.epoch {
                    self.take_denial(from, number, why, now);
                }
            }
            Message::Grant { runs, pins } => self.take_grant(from, &runs, &pins),
            Message::Agree { number, runs } => self.agree(from, number, &runs),
            Message::Agreed { number, over, pins } => {
                self.take_agreement(from, number, &over, &pins, now);
            }
        }
        self.pump(now);
        self.flush(now);
        Ok(())
    }

    /// All entries up to `position` are synced.
    pub fn persisted(&mut self, position: u64, now: Instant) {
        self.durable = self.durable.max(position.min(self.position));
        self.flush(now);
    }

    /// A short journal that says the same as all entries so far, to be put in place of the old one. When it is synced,
    /// [`Ipam::persisted`] may be called with [`Ipam::position`] of this moment.
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        journal::snapshot(&self.state)
    }

    /// The number of the newest entry.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next thing to carry out.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some((position, entry)) = self.entries.pop_front() {
            return Some(Output::Persist { position, entry });
        }
        let (needs, _) = self.effects.front()?;
        if *needs > self.durable && !self.has_fault(Fault::NoSync) {
            return None;
        }
        self.effects.pop_front().map(|(_, output)| output)
    }

    /// When [`Ipam::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let mut deadline = self.published.due(self);
        let busy = !self.requests.is_empty()
            || self.round.is_some()
            || !self.state.gives.is_empty()
            || self.leaving.is_some();
        if busy {
            deadline = deadline.min(self.ticked + IPAM_TICK);
        }
        if self.config.auto_reclaim.is_some() {
            deadline = deadline.min(self.reclaimed + IPAM_RECLAIM_TICK);
        }
        let requests = self.requests.values().map(|request| request.deadline);
        requests.min().map_or(deadline, |d| d.min(deadline))
    }

    /// Time went by.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ticked = now;
        self.pump(now);
        self.resend(now);
        if now.since(self.reclaimed) >= IPAM_RECLAIM_TICK {
            self.reclaimed = now;
            self.reclaim(now);
        }
        self.flush(now);
    }

    /// Hands all space to another router; ends with [`Output::Left`], after [`IPAM_LEAVE_WAIT`] at the latest. Nothing
    /// is allocated any more. Containers should be gone before: what they hold stays excluded.
    pub fn leave(&mut self, now: Instant) {
        if self.leaving.is_none() {
            self.leaving = Some(now + IPAM_LEAVE_WAIT);
            self.hand_over();
            self.resent = Instant::ZERO;
            self.pump(now);
            self.resend(now);
            self.flush(now);
        }
    }

    /// Statements and messages that were refused as malformed.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn record(&mut self, entry: &Entry) {
        self.state.apply(entry);
        self.append(entry.encode());
    }

    fn append(&mut self, bytes: Vec<u8>) {
        self.position += 1;
        self.entries.push_back((self.position, bytes));
        self.published.changed = true;
    }

    /// An effect, which waits for all that was recorded before it.
    fn emit(&mut self, output: Output) {
        self.effects.push_back((self.position, output));
    }

    fn send(&mut self, to: PeerId, message: &Message) {
        let bytes = message.encode();
        if self.effects.len() < MAX_IPAM_OUTPUTS {
            self.emit(Output::Send { to, bytes });
        }
    }

    fn flush(&mut self, now: Instant) {
        self.ask_agreement(now);
        self.publish(now);
        self.finish_leaving(now);
    }

    fn range(&self) -> Ipv4Net {
        self.state.slicing.range()
    }
}

#[cfg(test)]
mod tests;
