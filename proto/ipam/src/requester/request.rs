//! One request, from its opening until it has an address or its time is over.

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::durable::{Fault, LocalLease};
use super::super::effect::{IpamEffect, RequestId};
use super::super::refusal::{AddressRefusal, Wait};
use super::super::registry::Registry;
use super::super::wire::{AddressRequest, Denial};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_REQUEST_TIMEOUT, MAX_LOCAL_LEASES};
use mesh_proto::time::Instant;

/// Time from a request until the owner of the space counts as out of reach: its first statement may be on its way.
const STATED_WITHIN: Duration = Duration::from_secs(2);

/// An allocation or claim as the shell makes it.
#[derive(Debug)]
pub(crate) struct NewRequest<'a> {
    pub(crate) id: RequestId,
    pub(crate) container: &'a str,
    pub(crate) request: AddressRequest,
    /// Prefix length of the subnet.
    pub(crate) prefix: u8,
    pub(crate) deadline: Instant,
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(super) id: RequestId,
    /// The number by which other routers know it.
    pub(super) number: u64,
    pub(super) container: String,
    pub(super) request: AddressRequest,
    pub(super) prefix: u8,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) why: Wait,
    /// The router that was asked last, and when.
    pub(super) asked: Option<(PeerId, Instant)>,
    /// Owners that have nothing, or did not answer.
    pub(super) tried: BTreeSet<PeerId>,
    /// All that were tried said so themselves.
    pub(super) all_full: bool,
    /// No owner is asked before.
    pub(super) rest_until: Instant,
}

/// The outcome of one look at a request.
#[derive(Debug)]
pub(super) enum RequestStep {
    Done(Ipv4Addr),
    Failed(AddressRefusal),
    Wait(Wait),
}

impl PendingRequest {
    pub(super) fn new(new: &NewRequest<'_>, number: u64, now: Instant) -> Self {
        Self {
            id: new.id,
            number,
            container: new.container.to_owned(),
            request: new.request,
            prefix: new.prefix,
            since: now,
            deadline: new.deadline,
            why: Wait::Space(0, None),
            asked: None,
            tried: BTreeSet::new(),
            all_full: true,
            rest_until: now,
        }
    }

    /// Goes on as far as it can now. Returns whether the request is over.
    pub(super) fn advance(&mut self, registry: &mut Registry, now: Instant) -> bool {
        let attempt = match self.request {
            AddressRequest::Subnet(subnet) => self.attempt_subnet(registry, subnet, now),
            AddressRequest::Address(addr) => self.attempt_address(registry, addr, now),
        };
        match attempt {
            RequestStep::Done(addr) => self.end(registry, Ok(addr)),
            RequestStep::Failed(why) => self.end(registry, Err(why)),
            RequestStep::Wait(why) if now >= self.deadline => {
                self.end(registry, Err(AddressRefusal::Timeout(why)));
            }
            RequestStep::Wait(why) => {
                self.why = why;
                return false;
            }
        }
        true
    }

    /// Has the shell told the end.
    pub(super) fn end(&self, registry: &mut Registry, result: Result<Ipv4Addr, AddressRefusal>) {
        registry.emit(IpamEffect::Answer {
            request: self.id,
            result: result.map(|addr| (addr, self.prefix)),
        });
    }

    fn attempt_subnet(
        &mut self,
        registry: &mut Registry,
        subnet: Ipv4Net,
        now: Instant,
    ) -> RequestStep {
        if let Some(addr) = self.earlier_lease(registry, subnet) {
            return RequestStep::Done(addr);
        }
        if registry.state().leases().all_local().len() >= MAX_LOCAL_LEASES {
            return RequestStep::Failed(AddressRefusal::Limit);
        }
        if let Some(wait) = self.bootstrap(registry, now) {
            return RequestStep::Wait(wait);
        }
        if let Some(addr) = registry.durable().find_free(subnet) {
            self.lease(registry, addr);
            return RequestStep::Done(addr);
        }
        self.search(registry, subnet, now)
    }

    /// Returns the address that the container was given in this subnet; not one that it requested by itself.
    fn earlier_lease(&self, registry: &Registry, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let leases = registry.state().leases();
        let is_given = |lease: &LocalLease| lease.prefix == self.prefix && !lease.explicit;
        leases
            .of_container(&self.container)
            .find(|addr| subnet.contains(addr) && leases.local(addr).is_some_and(is_given))
    }

    /// Sees to it that the range has an owner. Returns what to wait for until then.
    fn bootstrap(&mut self, registry: &mut Registry, now: Instant) -> Option<Wait> {
        if !registry.state().claims().is_blank() {
            return None;
        }
        let wait = registry.bootstrap(self.since, now)?;
        if let Wait::Bootstrap(router) = wait {
            self.ask(registry, router, now);
        }
        Some(wait)
    }

    pub(super) fn lease(&self, registry: &mut Registry, addr: Ipv4Addr) {
        let lease = LocalLease {
            container: self.container.clone(),
            prefix: self.prefix,
            explicit: matches!(self.request, AddressRequest::Address(_)),
        };
        registry.durable_mut().lease(addr, lease);
    }

    fn attempt_address(
        &mut self,
        registry: &mut Registry,
        addr: Ipv4Addr,
        now: Instant,
    ) -> RequestStep {
        if let Some(lease) = registry.state().leases().local(&addr) {
            return match lease.container == self.container {
                true => RequestStep::Done(addr),
                false => {
                    RequestStep::Failed(AddressRefusal::InUse(addr.into(), lease.container.clone()))
                }
            };
        }
        if let Some(wait) = self.bootstrap(registry, now) {
            return RequestStep::Wait(wait);
        }
        let Some(slice) = registry.slicing().slice_of(addr) else {
            return RequestStep::Failed(AddressRefusal::NotAHost(addr.into()));
        };
        let Some(owner) = registry.state().claims().owner(slice) else {
            return RequestStep::Wait(Wait::Space(0, None));
        };
        if owner != registry.me() {
            if !registry.peers().is_member(&owner) {
                return match now.since(self.since) < STATED_WITHIN {
                    true => RequestStep::Wait(Wait::Owner(owner)),
                    false => {
                        RequestStep::Failed(AddressRefusal::OwnerUnreachable(addr.into(), owner))
                    }
                };
            }
            self.ask(registry, owner, now);
            return RequestStep::Wait(Wait::Owner(owner));
        }
        if let Some(lease) = registry.state().leases().remote(&addr)
            && !registry.durable().has_fault(Fault::NoPins)
        {
            return RequestStep::Failed(AddressRefusal::InUseBy(addr.into(), lease.to));
        }
        if let Some(rivals) = registry.state().claims().rivals(slice) {
            let rival = rivals.first().copied().unwrap_or(owner);
            return match registry.peers().is_member(&rival) {
                true => RequestStep::Wait(Wait::Contest(rival)),
                false => RequestStep::Failed(AddressRefusal::Contested(addr.into(), rival)),
            };
        }
        if !registry.durable().may_use(slice) {
            return RequestStep::Wait(Wait::Agreement);
        }
        self.lease(registry, addr);
        RequestStep::Done(addr)
    }

    /// Takes an address that `from` leases to this router. Returns whether it is what was requested, and can be used.
    pub(super) fn accept(&self, registry: &mut Registry, from: PeerId, addr: Ipv4Addr) -> bool {
        let fits = match self.request {
            AddressRequest::Address(requested) => requested == addr,
            AddressRequest::Subnet(subnet) => {
                let whole = registry.slicing().subnet_of(subnet);
                let is_host = addr != whole.network() && addr != whole.broadcast();
                let is_reserved = registry.durable().reserved() == Some(addr);
                subnet.contains(&addr) && is_host && !is_reserved
            }
        };
        let claims = registry.state().claims();
        // A former owner has nothing to lease. A new owner may not have stated the slice yet.
        let slice = registry.slicing().slice_of(addr);
        let is_owner = slice.is_some_and(|s| claims.owner(s).is_none_or(|o| o == from));
        let is_free = registry.state().leases().local(&addr).is_none();
        let is_good = fits && is_owner && is_free;
        if is_good {
            self.lease(registry, addr);
            self.end(registry, Ok(addr));
        }
        is_good
    }

    /// Takes the denial of an owner. Returns the reason if the request is over.
    pub(super) fn handle_denial(
        &mut self,
        from: PeerId,
        why: Denial,
        now: Instant,
    ) -> Option<AddressRefusal> {
        if self.asked.map(|(router, _)| router) != Some(from) {
            return None;
        }
        match (self.request, why) {
            (AddressRequest::Address(addr), Denial::InUse(container)) => {
                return Some(AddressRefusal::InUseOn(addr.into(), container, from));
            }
            (AddressRequest::Address(addr), Denial::InUseBy(peer)) => {
                return Some(AddressRefusal::InUseBy(addr.into(), peer));
            }
            // The owner changes, or is about to: its statement will tell.
            (AddressRequest::Address(_), _) => self.rest_until = now + IPAM_REQUEST_TIMEOUT,
            (AddressRequest::Subnet(_), Denial::Full) => {
                self.tried.insert(from);
            }
            (AddressRequest::Subnet(_), _) => {
                self.tried.insert(from);
                self.all_full = false;
            }
        }
        None
    }
}
