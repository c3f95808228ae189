//! Requests of attachments and of the API, and their answers.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use mesh_proto::api::ipam::Left;
use mesh_proto::control::Control;
use mesh_proto::ids::PeerId;
use mesh_proto::ipam::{AddressRefusal, AddressRequest, RequestId};
use mesh_proto::limits::IPAM_LEAVE_WAIT;
use mesh_proto::time::Instant;
use tokio::sync::oneshot;

use super::pending::{PendingAcquire, PendingLeave, PendingPrime};
use super::{Acquire, AllocatorRequest, ContainerLease, IpamShell, NotGiven, TICK, TOPIC};

impl IpamShell {
    /// Does what a caller wants, or begins to.
    pub(super) fn handle_request(
        &mut self,
        request: AllocatorRequest,
        control: &Control,
        now: Instant,
    ) {
        // A caller that hung up does not need its answer.
        match request {
            AllocatorRequest::Acquire { acquire, answer } => self.acquire(acquire, answer, now),
            AllocatorRequest::Release { addr, owner } => {
                self.ipam.release_address(&owner, addr, now);
            }
            AllocatorRequest::Leases(answer) => {
                let leases = self.ipam.allocations().map(|a| ContainerLease {
                    addr: a.addr,
                    owner: a.container.to_owned(),
                });
                let _ = answer.send(leases.collect());
            }
            AllocatorRequest::Report(answer) => {
                let _ = answer.send(self.report(control.me(), now));
            }
            AllocatorRequest::Waiting(answer) => drop(answer.send(self.waiting(now))),
            AllocatorRequest::Prime { patience, answer } => {
                self.pending.add_prime(PendingPrime {
                    since: now,
                    until: now + patience,
                    answer,
                });
                self.next_tick = now;
            }
            AllocatorRequest::Remove {
                peer,
                force,
                answer,
            } => drop(answer.send(self.remove(&peer, force, now))),
            AllocatorRequest::Leave(answer) => self.leave(answer, now),
        }
    }

    fn acquire(
        &mut self,
        acquire: Acquire,
        answer: oneshot::Sender<Result<Ipv4Net, NotGiven>>,
        now: Instant,
    ) {
        let id = self.pending.next_request();
        let until = now + acquire.patience;
        let (owner, ipam) = (&acquire.owner, &mut self.ipam);
        let opened = match acquire.request {
            AddressRequest::Subnet(subnet) => ipam.allocate(id, owner, subnet, until, now),
            AddressRequest::Address(addr) => match Ipv4Net::new(addr, acquire.prefix) {
                Ok(net) => ipam.claim(id, owner, net, until, now),
                Err(_) => Err(AddressRefusal::NotAHost(addr)),
            },
        };
        match opened {
            Ok(()) => self.pending.add(
                id,
                PendingAcquire {
                    caller: acquire.caller,
                    owner: acquire.owner,
                    answer,
                },
            ),
            Err(why) => drop(answer.send(Err(self.not_given(&why)))),
        }
    }

    /// Answers the caller of a request that has an address.
    pub(super) fn allocated(
        &mut self,
        request: RequestId,
        addr: Ipv4Addr,
        prefix: u8,
        now: Instant,
    ) {
        let Some(acquire) = self.pending.take(request) else {
            return;
        };
        let net = Ipv4Net::new(addr, prefix).map_err(|e| e.to_string().into());
        if acquire.answer.send(net).is_err() {
            // Nobody waits for it any more.
            self.ipam.release_address(&acquire.owner, addr, now);
        }
    }

    /// Answers the caller of a request that is over without an address.
    pub(super) fn failed(&mut self, request: RequestId, why: &AddressRefusal) {
        if let Some(acquire) = self.pending.take(request) {
            let _ = acquire.answer.send(Err(self.not_given(why)));
        }
    }

    fn not_given(&self, why: &AddressRefusal) -> NotGiven {
        NotGiven {
            is_in_use: why.is_in_use(),
            text: self.text(why),
        }
    }

    fn text(&self, why: &AddressRefusal) -> String {
        if let (AddressRefusal::Timeout(_), Some(error)) = (why, self.journal.error()) {
            return format!(
                "no address in time: the journal of addresses cannot be written: {error}"
            );
        }
        let name = |owner: &str| self.containers.words(owner);
        let why = match why {
            AddressRefusal::InUse(addr, owner) => AddressRefusal::InUse(*addr, name(owner)),
            AddressRefusal::InUseOn(addr, owner, peer) => {
                AddressRefusal::InUseOn(*addr, name(owner), *peer)
            }
            other => other.clone(),
        };
        why.text(&|id: &PeerId| self.routers.of(id))
    }

    /// Ends requests whose callers hung up.
    pub(super) fn cancel_abandoned(&mut self, now: Instant) {
        for id in self.pending.abandoned() {
            self.ipam.cancel(id, now);
        }
    }

    /// Looks whether the range has an owner, for the callers that wait for it.
    pub(super) fn continue_primes(&mut self, now: Instant) {
        for prime in self.pending.take_primes() {
            match self.ipam.prime(prime.since, now) {
                None => drop(prime.answer.send(Ok(()))),
                Some(why) if now >= prime.until => {
                    let why = why.text(&|id| self.routers.of(id));
                    let _ = prime.answer.send(Err(format!(
                        "the range of addresses has no owner yet: {why}; try again, or with a longer --timeout"
                    )));
                }
                Some(_) => self.pending.add_prime(prime),
            }
        }
    }

    fn remove(&mut self, typed: &str, force: bool, now: Instant) -> Result<String, String> {
        let owners = self.ipam.owners().into_iter().map(|owner| owner.peer);
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

    fn leave(&mut self, answer: oneshot::Sender<Left>, now: Instant) {
        let allocations = self.ipam.allocations();
        let leased: Vec<String> = allocations.map(|a| a.container.to_owned()).collect();
        for owner in leased {
            self.ipam.release(&owner, now);
        }
        let owners = self.ipam.owners();
        let others = owners.iter().filter(|owner| owner.reachable).count();
        self.pending.set_leave(PendingLeave {
            answer,
            others: others.saturating_sub(1).max(self.ipam.space().reachable),
            orphaned: None,
            until: now + IPAM_LEAVE_WAIT + TICK * 2,
        });
        self.ipam.leave(now);
    }

    /// Answers the caller that waits for the space to be handed over, once the last statement is out: it says that nothing is
    /// leased any more.
    pub(super) fn finish_leave(&mut self, control: &Control, now: Instant) {
        if !self.pending.is_leaving() {
            return;
        }
        let told = control.announcement(control.me(), TOPIC);
        let last = self.ipam.statement();
        let is_told = told.is_some_and(|told| Some(told.body) == last.as_deref());
        let is_quiet = self.ipam.next_deadline() > now;
        self.pending.finish_leave(is_told && is_quiet, now);
    }
}
