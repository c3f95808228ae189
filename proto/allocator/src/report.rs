//! The reports about addresses that operators see.

use mesh_ipam::AddressRequest;
use mesh_proto::api::ipam::{IpamAllocation, IpamOwner, IpamRemoteLease, IpamReport, IpamWaiting};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;

use crate::desk::AddressDesk;

impl AddressDesk {
    /// Returns the report for `status ipam`; `error` is the reason the journal cannot be written, if so.
    pub fn report(&self, me: PeerId, error: Option<&str>, now: Instant) -> IpamReport {
        let name = |id: &PeerId| self.routers.of(id);
        let owners = self.ipam.owners().into_iter().map(|owner| IpamOwner {
            peer: name(&owner.peer),
            id: owner.peer.to_string(),
            is_self: owner.peer == me,
            addresses: owner.addresses,
            slices: owner.slices,
            pending: owner.pending,
            reachable: owner.reachable,
        });
        let allocations = self.ipam.allocations().map(|a| IpamAllocation {
            address: format!("{}/{}", a.addr, a.prefix),
            container: self.containers.display_name(a.container),
            explicit: a.explicit,
            leased_from: a.leased_from.as_ref().map(name).unwrap_or_default(),
        });
        let leases = self
            .ipam
            .remote_leases()
            .map(|(addr, peer)| IpamRemoteLease {
                address: addr.to_string(),
                peer: name(&peer),
            });
        let broken = error.map(|error| {
            format!("the journal of addresses cannot be written, so nothing is allocated: {error}")
        });
        let advice = self.notice.clone().into_iter().chain(broken);
        IpamReport {
            off: String::new(),
            range: self.pool.range.to_string(),
            default_subnet: self.pool.default_subnet.to_string(),
            owners: owners.collect(),
            free: self.ipam.space().free,
            allocations: allocations.collect(),
            remote_leases: leases.collect(),
            waiting: self.waiting(error, now),
            advice: advice
                .chain(self.ipam.advice(&name, &|owner, address| {
                    self.containers.release_command(owner, address)
                }))
                .collect(),
        }
    }

    /// Returns the requests that wait.
    pub fn waiting(&self, error: Option<&str>, now: Instant) -> Vec<IpamWaiting> {
        let name = |id: &PeerId| self.routers.of(id);
        let callers = self.pending.acquires();
        let waiting = self.ipam.waiting().map(|w| IpamWaiting {
            caller_pid: callers.get(&w.id).map_or(0, |acquire| acquire.caller),
            container: self.containers.display_name(w.container),
            want: match w.request {
                AddressRequest::Subnet(subnet) => format!("an address of {subnet}"),
                AddressRequest::Address(addr) => addr.to_string(),
            },
            why: w.why.text(&name),
            left: w.deadline.since(now).as_secs_f64(),
        });
        let mut waiting: Vec<IpamWaiting> = waiting.collect();
        // Granted, and not on disk yet: the state machine does not wait, its caller does.
        if let Some(error) = error {
            for acquire in callers.values() {
                waiting.retain(|w| w.caller_pid != acquire.caller);
                waiting.push(IpamWaiting {
                    caller_pid: acquire.caller,
                    container: self.containers.display_name(&acquire.owner),
                    want: "an address".to_owned(),
                    why: format!("the journal of addresses cannot be written: {error}"),
                    left: 0.0,
                });
            }
        }
        waiting
    }
}
