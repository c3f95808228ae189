//! The desk between the state machines [`IpamSet`] and the callers that want addresses: it keeps who waits for what, and says
//! in words why something is not given.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_host::leases::container_names::ContainerNames;
use mesh_ipam::feed;
use mesh_ipam::{
    AddressPool, AddressRefusal, IpamSet, JournalError, NetworkPlan, RequestId, SetOutput,
};
use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::IPAM_LEAVE_WAIT;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

use crate::call::{Acquire, CallAnswer, CallId, ContainerLease, NotGiven};
use crate::pending::{PendingAcquire, PendingCalls, PendingLeave, PendingPrime, request_of};
use crate::router_names::RouterNames;

/// The topic that statements and messages are about.
pub const TOPIC: Topic = Topic::ADDRESSES;
/// Time between two looks at callers that hung up, and at ranges to be primed.
pub const TICK: Duration = Duration::from_secs(1);

/// An effect for the router to carry out.
#[derive(Debug, PartialEq, Eq)]
pub enum DeskOutput {
    /// An entry for the journal.
    Persist {
        /// Its number.
        position: u64,
        /// Its bytes.
        entry: Vec<u8>,
    },
    /// An entry for the journal of the networks besides `default`.
    PersistSpace {
        /// Its number.
        position: u64,
        /// Its bytes.
        entry: Vec<u8>,
    },
    /// The statement of this router.
    Statement(Vec<u8>),
    /// A message to another router.
    Send {
        /// The other router.
        to: PeerId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// The answer to a call.
    Answer(CallId, CallAnswer),
}

/// The state machines, and their callers. One input, then drain the outputs.
#[derive(Debug)]
pub struct AddressDesk {
    pub(crate) ipam: IpamSet,
    pub(crate) pool: AddressPool,
    pub(crate) pending: PendingCalls,
    pub(crate) routers: RouterNames,
    pub(crate) containers: ContainerNames,
    /// A fact about this start that operators should know.
    pub(crate) notice: Option<String>,
    next_tick: Instant,
    outputs: VecDeque<DeskOutput>,
}

impl AddressDesk {
    /// Returns a desk without callers; `notice` is a fact about this start that operators should know.
    pub fn new(
        ipam: IpamSet,
        pool: AddressPool,
        containers: ContainerNames,
        notice: Option<String>,
        control: &Control,
        now: Instant,
    ) -> Self {
        let mut routers = RouterNames::default();
        routers.learn(control);
        Self {
            ipam,
            pool,
            pending: PendingCalls::default(),
            routers,
            containers,
            notice,
            next_tick: now + TICK,
            outputs: VecDeque::new(),
        }
    }

    /// Returns the fact about this start that operators should know, if any.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Returns the leases of this host's containers.
    pub fn leases(&self) -> Vec<ContainerLease> {
        let leases = self.ipam.allocations().map(|lease| ContainerLease {
            network: lease.network,
            addr: lease.address,
            owner: lease.container.to_owned(),
        });
        leases.collect()
    }

    /// Takes up the journal of the networks besides `default`, before any other input.
    ///
    /// # Errors
    /// [`JournalError`]; there are no addresses in other networks then.
    pub fn restore_spaces<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a [u8]>,
        now: Instant,
    ) -> Result<(), JournalError> {
        self.ipam.restore(entries, now)
    }

    /// Notes whether the operator named other routers of which none was met yet.
    pub fn set_expecting(&mut self, expecting: bool, now: Instant) {
        self.ipam.set_expecting(expecting, now);
    }

    /// Adds a fact about this start that operators should know.
    pub fn add_notice(&mut self, notice: String) {
        let all = self.notice.take().into_iter().chain([notice]);
        self.notice = Some(all.collect::<Vec<_>>().join("; "));
    }

    /// Takes the subnets of a network, new or changed; `is_created` if this router has created it just now.
    pub fn define(&mut self, plan: NetworkPlan, is_created: bool, control: &Control, now: Instant) {
        let network = plan.network;
        self.ipam.define(plan, now);
        if is_created {
            // Without room for it, or without subnets, there is nothing to found.
            let _ = self.ipam.found(&network, now);
        }
        feed::catch_up(&mut self.ipam, control, now);
    }

    /// Drops all addresses of a network that was removed for good.
    pub fn remove_network(&mut self, network: &NetworkId, now: Instant) {
        self.ipam.remove_network(network, now);
    }

    /// Leases an address to a container; answered by [`CallAnswer::Acquired`].
    pub fn acquire(&mut self, call: CallId, acquire: Acquire, control: &Control, now: Instant) {
        let id = request_of(call);
        let until = now + acquire.patience;
        let (network, owner) = (acquire.network, &acquire.owner);
        if !network.is_default() {
            // What others stated of the network is known before the first request; a refusal is that of the request.
            let _ = self.ipam.open(&network, now);
            feed::catch_up(&mut self.ipam, control, now);
        }
        let ipam = &mut self.ipam;
        let opened = ipam.request(&network, id, owner, acquire.query, until, now);
        let pending = PendingAcquire {
            network,
            caller: acquire.caller,
            owner: acquire.owner,
        };
        match opened {
            Ok(()) => self.pending.add(id, pending),
            Err(why) => {
                let result = Err(self.not_given(&why, None));
                self.answer_acquire(call, pending, result);
            }
        }
    }

    /// Frees an address, if this lease owner has it.
    pub fn release(&mut self, network: &NetworkId, owner: &str, addr: IpAddr, now: Instant) {
        self.ipam.release_address(network, owner, addr, now);
    }

    /// Ends the request of a caller that hung up.
    pub fn cancel(&mut self, call: CallId, now: Instant) {
        self.ipam.cancel(request_of(call), now);
    }

    /// Makes sure that the range has an owner; answered by [`CallAnswer::Primed`].
    pub fn prime(&mut self, call: CallId, patience: Duration, now: Instant) {
        self.pending.add_prime(PendingPrime {
            call,
            since: now,
            until: now + patience,
        });
        self.next_tick = now;
    }

    /// Removes a router that is gone for good. Returns the outcome in words.
    ///
    /// # Errors
    /// One line.
    pub fn remove(&mut self, typed: &str, force: bool, now: Instant) -> Result<String, String> {
        let spaces = self.ipam.spaces().map(|(_, ipam)| ipam);
        let all = core::iter::once(self.ipam.default()).chain(spaces);
        let owners = all.flat_map(|ipam| ipam.owners().into_iter().map(|owner| owner.peer));
        let peer = self.routers.find(typed, owners)?;
        let names = |id: &PeerId| self.routers.of(id);
        match self.ipam.remove(peer, force, now) {
            Ok(done) => Ok(format!(
                "{typed} is removed; {} slices of its space go to {}",
                done.slices,
                names(&done.successor)
            )),
            Err(why) => Err(why.text(&names)),
        }
    }

    /// Frees all that containers of this host lease, and hands the space over; answered by [`CallAnswer::Left`].
    pub fn leave(&mut self, call: CallId, now: Instant) {
        let allocations = self.ipam.allocations();
        let leased: Vec<String> = allocations
            .map(|lease| lease.container.to_owned())
            .collect();
        for owner in leased {
            self.ipam.release(&owner, now);
        }
        let default = self.ipam.default();
        let owners = default.owners();
        let others = owners.iter().filter(|owner| owner.reachable).count();
        self.pending.set_leave(PendingLeave {
            call,
            others: others.saturating_sub(1).max(default.space().reachable),
            orphaned: None,
            until: now + IPAM_LEAVE_WAIT + TICK * 2,
        });
        self.ipam.leave(now);
    }

    /// Takes an effect of the control plane.
    pub fn on_control_output(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        let has_names = match output {
            ControlOutput::Announcement(key) => {
                key.topic == TOPIC && !self.routers.knows(&key.origin)
            }
            ControlOutput::Reach => true,
            _ => false,
        };
        if has_names {
            self.routers.learn(control);
        }
        feed::addresses(&mut self.ipam, output, control, now);
    }

    /// Settles addresses that several routers announce, in favour of the one that has the lease.
    pub fn settle_contests(&self, control: &mut Control, now: Instant) {
        let rightful = |network: NetworkId, address| self.rightful(&network, address);
        control.settle_contests(&rightful, now);
    }

    /// Notes that all entries up to this one are on disk.
    pub fn persisted(&mut self, position: u64, now: Instant) {
        self.ipam.persisted(position, now);
    }

    /// Notes that all entries of the journal of the networks besides `default` up to this one are on disk.
    pub fn spaces_persisted(&mut self, position: u64, now: Instant) {
        self.ipam.spaces_persisted(position, now);
    }

    /// Returns the router that may have an address in a network, as far as is known here.
    pub fn rightful(&self, network: &NetworkId, addr: IpAddr) -> Option<PeerId> {
        let leased = match network.is_default() {
            true => self.pool.leased_as(addr)?.into(),
            false => addr,
        };
        self.ipam.rightful(network, leased)
    }

    /// Notes that the disk failed: [`AddressDesk::tick`] tries again.
    pub fn delay_tick(&mut self, now: Instant) {
        self.next_tick = self.next_tick.max(now + TICK);
    }

    /// Returns the number of the last entry, and a snapshot that says all that entries up to it said.
    pub fn snapshot(&self) -> (u64, Vec<Vec<u8>>) {
        let default = self.ipam.default();
        (default.position(), default.snapshot())
    }

    /// Returns the same of the journal of the networks besides `default`.
    pub fn spaces_snapshot(&self) -> (u64, Vec<Vec<u8>>) {
        self.ipam.spaces_snapshot()
    }

    /// Returns when [`AddressDesk::handle_timeout`] is due; `is_broken` if the journal cannot be written.
    pub fn next_deadline(&self, is_broken: bool) -> Instant {
        let deadline = self.ipam.next_deadline();
        match self.pending.is_empty() && !is_broken {
            true => deadline,
            false => deadline.min(self.next_tick),
        }
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ipam.next_deadline() <= now {
            self.ipam.handle_timeout(now);
        }
    }

    /// Returns true once in each [`TICK`]: [`AddressDesk::tick`] is due.
    pub fn begin_tick(&mut self, now: Instant) -> bool {
        let is_due = self.next_tick <= now;
        if is_due {
            self.next_tick = now + TICK;
        }
        is_due
    }

    /// Looks at callers that wait for the range to have an owner.
    pub fn tick(&mut self, now: Instant) {
        for prime in self.pending.take_primes() {
            let result = match self.ipam.default_mut().prime(prime.since, now) {
                None => Ok(()),
                Some(why) if now >= prime.until => {
                    let why = why.text(&|id| self.routers.of(id));
                    Err(format!(
                        "the range of addresses has no owner yet: {why}; try again, or with a longer --timeout"
                    ))
                }
                Some(_) => {
                    self.pending.add_prime(prime);
                    continue;
                }
            };
            self.answer(prime.call, CallAnswer::Primed(result));
        }
    }

    /// Returns true if a caller waits for the space to be handed over.
    pub fn is_leaving(&self) -> bool {
        self.pending.is_leaving()
    }

    /// Answers the caller that waits for the space to be handed over, once the last statement is out: it says that nothing is
    /// leased any more. `told` is the statement that the control plane has now.
    pub fn finish_leave(&mut self, told: Option<&[u8]>, now: Instant) {
        let last = self.ipam.record();
        let is_told = told.is_some_and(|told| Some(told) == last);
        let is_quiet = self.ipam.next_deadline() > now;
        if let Some((call, left)) = self.pending.finish_leave(is_told && is_quiet, now) {
            self.answer(call, CallAnswer::Left(left));
        }
    }

    /// Returns the next effect; `error` is the reason the journal cannot be written, if so.
    pub fn poll_output(&mut self, error: Option<&str>) -> Option<DeskOutput> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            match self.ipam.poll_output()? {
                SetOutput::Persist { position, entry } => {
                    return Some(DeskOutput::Persist { position, entry });
                }
                SetOutput::PersistSpace { position, entry } => {
                    return Some(DeskOutput::PersistSpace { position, entry });
                }
                SetOutput::Record(bytes) => return Some(DeskOutput::Statement(bytes)),
                SetOutput::Send { to, bytes } => return Some(DeskOutput::Send { to, bytes }),
                SetOutput::Allocated { request, address } => {
                    self.finish_acquire(request, Ok(address));
                }
                SetOutput::Failed { request, why } => {
                    let result = Err(self.not_given(&why, error));
                    self.finish_acquire(request, result);
                }
                SetOutput::Left { orphaned } => self.pending.note_left(orphaned),
            }
        }
    }

    fn finish_acquire(&mut self, request: RequestId, result: Result<IpNet, NotGiven>) {
        if let Some(acquire) = self.pending.take(request) {
            self.answer_acquire(CallId(request.0), acquire, result);
        }
    }

    fn answer_acquire(
        &mut self,
        call: CallId,
        acquire: PendingAcquire,
        result: Result<IpNet, NotGiven>,
    ) {
        let PendingAcquire { network, owner, .. } = acquire;
        let answer = CallAnswer::Acquired {
            network,
            owner,
            result,
        };
        self.answer(call, answer);
    }

    fn answer(&mut self, call: CallId, answer: CallAnswer) {
        self.outputs.push_back(DeskOutput::Answer(call, answer));
    }

    fn not_given(&self, why: &AddressRefusal, error: Option<&str>) -> NotGiven {
        NotGiven {
            is_in_use: why.is_in_use(),
            text: self.text(why, error),
        }
    }

    fn text(&self, why: &AddressRefusal, error: Option<&str>) -> String {
        if let (AddressRefusal::Timeout(_), Some(error)) = (why, error) {
            return format!(
                "no address in time: the journal of addresses cannot be written: {error}"
            );
        }
        let name = |owner: &str| self.containers.display_name(owner);
        let why = match why {
            AddressRefusal::InUse(addr, owner) => AddressRefusal::InUse(*addr, name(owner)),
            AddressRefusal::InUseOn(addr, owner, peer) => {
                AddressRefusal::InUseOn(*addr, name(owner), *peer)
            }
            other => other.clone(),
        };
        why.text(&|id: &PeerId| self.routers.of(id))
    }
}
