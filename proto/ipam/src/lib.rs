//! Allocation of addresses to containers, by routers that share one range.
//!
//! The range is cut in slices ([`Slicing`]). A slice has one owner, which alone gives out its addresses: to its own
//! containers, or one by one to other routers (*remote leases*). A claim of a slice has a version, and all claims of one
//! slice are ordered: the higher version, then the smaller owner. Every router keeps the highest claim it heard of (*the
//! map*), so maps only grow, and routers that heard the same have the same.
//!
//! Why no address is given out twice:
//!
//! 1. *Durable first.* Every change is an entry of a journal. Nothing leaves this machine (statement, message, answer)
//!    before all entries made until then are synced. What a crash takes back nobody was told of. Parts make effects, and
//!    only the gate makes an output of one.
//! 2. *A claim grows in four ways.* The owner uses the slice for the first time, or grants it to another router (it is then
//!    no owner any more, before anybody is told). A router takes the whole range while it knows of no claim and of no other
//!    router with a smaller identity (*bootstrap*). Or a dead router's slices are assigned to a survivor by a removal.
//! 3. *A router that is granted a slice owns it at once*, and is told of the leases in it. *A router that finds itself owner
//!    in another way asks every router it can reach* (*a claim round*), and owns the slice when all agreed: each of them has
//!    then recorded the claim (so it gives nothing out of it), or has named a higher one, and has named its leases there.
//!    Two that ask at once ask one another, and the order of claims decides.
//! 4. *Across a partition* no claim grows except by a removal, so both sides go on with what they own.
//! 5. *Meshes that met when both had allocated*: for each slice the order of claims names one owner, and a slice that was
//!    ever used outranks one that never was. The owner gives nothing out of it (*contested*) until the other has
//!    conceded, with its leases there, which are then pins: excluded as if leased by this owner.
//! 6. *A removal of a router that lives* (cut off, forced) is the one way to a duplicate. When it is back it finds the
//!    higher claims, concedes, names its addresses, and both sides report those that were given out twice.
//!
//! A remote lease ends when the statement of its router says that the request is settled and does not list the address. The
//! numbers of requests make that safe against old statements, the epoch against crashes.
//!
//! | part | subject |
//! |---|---|
//! | `durable` | claims, leases and removals; the journal; the gate that keeps effects back |
//! | `registry` | the durable state and the statements of the others, which flow into it |
//! | `requester` | requests of this router's containers |
//! | `grants` | requests of other routers |
//! | `claim_round` | the agreement of all others to what this router takes over |
//! | `leaving` | routers that are gone; the handover before this one goes |
//! | `publisher` | this router's own statement |
//! | `pool` | the ranges of `default`, and the IPv6 address that goes with one of IPv4 |
//! | `slices` | the range, cut |
//! | `slices::numbers` | what the state machine counts: IPv4 addresses, and distances in IPv6 subnets |
//! | `report` | all that operators see |
//! | `spaces` | the same for each subnet of the networks besides `default`, all in one record and one journal |
//! | [`feed`] | the way of statements and messages from the control plane |

#![forbid(unsafe_code)]

mod claim_round;
mod durable;
mod effect;
pub mod feed;
mod grants;
mod leaving;
mod output;
mod pool;
mod publisher;
mod refusal;
mod registry;
mod report;
mod requester;
mod slices;
mod spaces;
mod wire;

use core::time::Duration;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use durable::JournalError;
pub use effect::RequestId;
pub use leaving::removal::{Removal, RemoveError};
pub use output::IpamOutput;
pub use pool::AddressPool;
pub use refusal::{AddressRefusal, Namer, NetworkRefusal, Wait};
pub use report::{Allocation, NetworkLease, Space, SpaceOwner};
pub use requester::WaitingRequest;
pub use slices::{RangeError, SliceRun, Slicing};
pub use spaces::plan::{ANY_SUBNET, ANY_SUBNET6, NetworkPlan, SpaceId, SubnetPlan};
pub use spaces::record::{AddressRecord, SpaceMessage, SpaceStatement};
pub use spaces::tag::SpaceTag;
pub use spaces::{AddressQuery, IpamSet, SetOutput};
pub use wire::{
    AddressRequest, Conflict, Denial, ForeignClaim, IpamMessage, IpamStatement, Pin, WireError,
};

use claim_round::ClaimVote;
use durable::{DurableState, RemoteLease};
use grants::Grants;
use leaving::departure::Departure;
use leaving::removal::Removals;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::IPAM_TICK;
use mesh_proto::time::Instant;
use publisher::Publisher;
use registry::Registry;
use requester::{NewRequest, Requester};

/// The settings of a router that allocates.
#[derive(Clone, Copy, Debug)]
pub struct IpamConfig {
    /// Its identity.
    pub me: PeerId,
    /// Its boot epoch, higher at each start.
    pub epoch: u64,
    /// The range, cut.
    pub slicing: Slicing,
    /// Time after which a router that cannot be reached is removed without being told to; `None` for never.
    pub auto_reclaim: Option<Duration>,
}

/// The state machine: it hands each input to the part that it concerns. One input, then drain the outputs.
#[derive(Debug)]
pub struct Ipam {
    registry: Registry,
    requester: Requester,
    grants: Grants,
    vote: ClaimVote,
    removals: Removals,
    departure: Departure,
    publisher: Publisher,
    ticked: Instant,
    /// Statements and messages that were refused.
    refused: u64,
}

impl Ipam {
    /// Makes a router that has the journal `entries` (none: a new one).
    ///
    /// # Errors
    /// [`JournalError`], when the journal is of another router, range or version, or damaged.
    pub fn new<'a>(
        config: IpamConfig,
        entries: impl IntoIterator<Item = &'a [u8]>,
        now: Instant,
    ) -> Result<Self, JournalError> {
        let durable = DurableState::open(config.me, config.slicing, entries)?;
        Ok(Self::of(config, durable, now))
    }

    /// Makes a router that has this state.
    fn of(config: IpamConfig, durable: DurableState, now: Instant) -> Self {
        let mut ipam = Self {
            registry: Registry::new(durable, config.epoch),
            requester: Requester::default(),
            grants: Grants::new(now),
            vote: ClaimVote::new(config.epoch),
            removals: Removals::new(config.auto_reclaim, now),
            departure: Departure::Staying,
            publisher: Publisher::new(),
            ticked: now,
            refused: 0,
        };
        ipam.flush(now);
        ipam
    }

    /// Takes note whether the operator named other routers of which none was met yet: a router without a map then waits for
    /// them, up to [`mesh_proto::limits::IPAM_BOOTSTRAP_WAIT`] for each request.
    pub fn set_expecting(&mut self, expecting: bool, now: Instant) {
        self.registry.set_expecting(expecting);
        self.advance(now);
    }

    /// Takes a router's statement; `reachable` is whether there is a path to it now.
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
        let statement = IpamStatement::decode(bytes).inspect_err(|_| self.refused += 1)?;
        self.take_statement(origin, &statement, reachable, now);
        Ok(())
    }

    fn take_statement(
        &mut self,
        origin: PeerId,
        statement: &IpamStatement,
        reachable: bool,
        now: Instant,
    ) {
        if origin == self.registry.me() {
            return;
        }
        let is_waiting = self.requester.is_waiting();
        let registry = &mut self.registry;
        let removed = registry.merge(origin, statement, reachable, is_waiting, now);
        if let Some(version) = removed {
            // So that all others see that this router lives.
            self.publisher.outdo(version);
        }
        self.advance(now);
    }

    /// Goes over to a later epoch: this router was started from old state, and others know a later start of it. Its
    /// statements from now on are newer than those of that start. A lower epoch changes nothing.
    pub fn raise_epoch(&mut self, epoch: u64, now: Instant) {
        if self.registry.raise_epoch(epoch) {
            self.vote.raise_epoch(epoch);
            self.flush(now);
        }
    }

    /// Takes note whether there is a path to a router.
    pub fn set_reachable(&mut self, peer: PeerId, reachable: bool, now: Instant) {
        let is_waiting = self.requester.is_waiting();
        let registry = &mut self.registry;
        if registry.set_reachable(peer, reachable, is_waiting, now) {
            self.advance(now);
        }
    }

    /// Takes a message of another router.
    ///
    /// # Errors
    /// [`WireError`]: nothing was changed, and it was counted.
    pub fn handle_message(
        &mut self,
        from: PeerId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), WireError> {
        let message = IpamMessage::decode(bytes).inspect_err(|_| self.refused += 1)?;
        self.route(from, message, now);
        self.advance(now);
        Ok(())
    }

    fn route(&mut self, from: PeerId, message: IpamMessage, now: Instant) {
        let registry = &mut self.registry;
        let is_current = |epoch: u64, registry: &Registry| epoch == registry.epoch();
        match message {
            IpamMessage::Request {
                epoch,
                number,
                request,
                slices,
            } => {
                if !self.departure.has_begun() {
                    let to = from;
                    let asker = RemoteLease { to, epoch, number };
                    let grants = &self.grants;
                    grants.handle_request(registry, asker, request, slices, now);
                }
            }
            IpamMessage::Leased {
                epoch,
                number,
                addr,
            } => {
                if is_current(epoch, registry) {
                    self.requester.handle_lease(registry, from, number, addr);
                }
            }
            IpamMessage::Denied { epoch, number, why } => {
                if is_current(epoch, registry) {
                    let requester = &mut self.requester;
                    requester.handle_denial(registry, from, number, why, now);
                }
            }
            IpamMessage::Grant { runs, pins } => {
                registry.take_grant(from, &runs, &pins, self.requester.is_waiting());
            }
            IpamMessage::Agree { number, runs } => {
                ClaimVote::answer(registry, from, number, &runs);
            }
            IpamMessage::Agreed { number, over, pins } => {
                if self
                    .vote
                    .handle_answer(registry, from, number, &over, &pins)
                {
                    let is_waiting = self.requester.is_waiting();
                    self.vote.advance(registry, is_waiting, now);
                }
            }
        }
    }

    /// Requests any free address of `subnet` for a container: the lowest of those this router owns, and the same again for
    /// the same container. The end is [`IpamOutput::Allocated`] or, at `deadline` at the latest, [`IpamOutput::Failed`].
    ///
    /// # Errors
    /// [`AddressRefusal`] for what cannot succeed.
    pub fn allocate(
        &mut self,
        id: RequestId,
        container: &str,
        subnet: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        let (request, prefix) = requester::any_of(self.registry.slicing(), subnet)?;
        let new = NewRequest {
            id,
            container,
            request,
            prefix,
            deadline,
        };
        self.open(&new, now)
    }

    /// Requests this very address for a container; the prefix length is that of its subnet. Ends as [`Ipam::allocate`].
    ///
    /// # Errors
    /// [`AddressRefusal`] for what cannot succeed; [`AddressRefusal::OutsideRange`] is for the shell to ignore: such addresses are not
    /// kept here.
    pub fn claim(
        &mut self,
        id: RequestId,
        container: &str,
        addr: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        let (request, prefix) = requester::exactly(self.registry.range(), addr)?;
        let new = NewRequest {
            id,
            container,
            request,
            prefix,
            deadline,
        };
        self.open(&new, now)
    }

    fn open(&mut self, new: &NewRequest<'_>, now: Instant) -> Result<(), AddressRefusal> {
        self.requester.open(&mut self.registry, new, now)?;
        self.flush(now);
        Ok(())
    }

    /// Frees all addresses of a container that is gone for good, and ends its requests.
    pub fn release(&mut self, container: &str, now: Instant) {
        self.requester.release(&mut self.registry, container);
        self.advance(now);
    }

    /// Frees one address of a container.
    pub fn release_address(&mut self, container: &str, addr: Ipv4Addr, now: Instant) {
        if self
            .requester
            .release_address(&mut self.registry, container, addr)
        {
            self.advance(now);
        }
    }

    /// Ends a request that is not needed any more. An address that it got in between stays with the container.
    pub fn cancel(&mut self, id: RequestId, now: Instant) {
        if self.requester.cancel(&mut self.registry, id) {
            self.flush(now);
        }
    }

    /// Sees to it that the range has an owner (`prime`): takes it, or asks the router that should. Returns what it waits
    /// for; `None` once there is an owner. To be called again every second; `since` is when it was first called.
    pub fn prime(&mut self, since: Instant, now: Instant) -> Option<Wait> {
        if !self.registry.state().claims().is_blank() {
            return None;
        }
        let wait = self.requester.prime(&mut self.registry, since, now);
        self.flush(now);
        wait
    }

    /// Removes a router that is gone for good: its space goes to a survivor, and its leases end. Removing it again, here or
    /// elsewhere, changes nothing.
    ///
    /// # Errors
    /// [`RemoveError`]; `force` overrides the last two.
    pub fn remove(
        &mut self,
        dead: PeerId,
        force: bool,
        now: Instant,
    ) -> Result<Removal, RemoveError> {
        let before = self.registry.durable().position();
        let removal = self.removals.remove(&mut self.registry, dead, force, now)?;
        if self.registry.durable().position() > before {
            self.advance(now);
        }
        Ok(removal)
    }

    /// Hands all space to another router; ends with [`IpamOutput::Left`], after [`mesh_proto::limits::IPAM_LEAVE_WAIT`] at the
    /// latest. Nothing is allocated any more. Containers should be gone before: their leases stay excluded.
    pub fn leave(&mut self, now: Instant) {
        if self.departure.has_begun() {
            return;
        }
        let registry = &mut self.registry;
        if let Some(handover) = self.departure.begin(registry, now) {
            self.grants.grant(registry, handover.to, &handover.slices);
        }
        self.requester.close(registry);
        self.grants.resend_now(registry, now);
        self.flush(now);
    }

    /// Returns when [`Ipam::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let is_busy = self.requester.is_waiting()
            || self.vote.is_open()
            || !self.registry.state().claims().grants().is_empty()
            || self.departure.has_begun();
        let tick = is_busy.then_some(self.ticked + IPAM_TICK);
        let deadlines = [tick, self.removals.next_look(), self.requester.deadline()];
        let statement = self.publisher.due(self.revision());
        deadlines.into_iter().flatten().fold(statement, Ord::min)
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ticked = now;
        self.requester.advance(&mut self.registry, now);
        self.grants.resend(&mut self.registry, now);
        for dead in self.removals.overdue(&self.registry, now) {
            // Refused without a majority; tried again at the next look.
            let _ = self.remove(dead, false, now);
        }
        self.flush(now);
    }

    /// Takes note that all entries up to `position` are synced.
    pub fn persisted(&mut self, position: u64, now: Instant) {
        self.registry.durable_mut().note_synced(position);
        self.flush(now);
    }

    /// Returns a short journal that says the same as all entries so far, to be put in place of the old one. When it is
    /// synced, [`Ipam::persisted`] may be called with [`Ipam::position`] of this moment.
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        self.registry.durable().snapshot()
    }

    /// Returns the number of the newest entry.
    pub fn position(&self) -> u64 {
        self.registry.durable().position()
    }

    /// Returns the next thing to carry out.
    pub fn poll_output(&mut self) -> Option<IpamOutput> {
        let released = self.registry.durable_mut().poll()?;
        Some(released.into())
    }

    /// Returns the newest statement, as bytes; `None` before the first.
    pub fn statement(&self) -> Option<Vec<u8>> {
        self.publisher.statement()
    }

    /// Returns how many statements and messages were refused as malformed.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Goes on with requests after something changed.
    fn advance(&mut self, now: Instant) {
        self.requester.advance(&mut self.registry, now);
        self.flush(now);
    }

    /// Does what follows from the state, whatever changed it.
    fn flush(&mut self, now: Instant) {
        let is_waiting = self.requester.is_waiting();
        self.vote.advance(&mut self.registry, is_waiting, now);
        let (settled, revision) = (self.requester.settled(&self.registry), self.revision());
        self.publisher
            .publish(&mut self.registry, settled, revision, now);
        self.departure.advance(&mut self.registry, now);
    }

    /// Returns a number that grows with each change that concerns this router's own statement.
    fn revision(&self) -> u64 {
        self.registry.revision() + self.requester.revision()
    }
}

#[cfg(test)]
mod tests;
