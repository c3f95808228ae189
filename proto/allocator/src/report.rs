//! The reports about addresses that operators see.

use mesh_ipam::{AddressRequest, Ipam};
use mesh_proto::api::ipam::{IpamAllocation, IpamOwner, IpamRemoteLease, IpamReport, IpamWaiting};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;

use crate::desk::AddressDesk;

impl AddressDesk {
    /// Returns the report for `status ipam`; `error` is the reason the journal cannot be written, if so.
    pub fn report(&self, me: PeerId, error: Option<&str>, now: Instant) -> IpamReport {
        let broken = error.map(|error| {
            format!("the journal of addresses cannot be written, so nothing is allocated: {error}")
        });
        let notices = self.notice.clone().into_iter().chain(broken);
        let mut report = self.report_of(self.ipam.default(), me, now);
        report.advice = notices.chain(report.advice).collect();
        report.range = self.pool.range.to_string();
        report.default_subnet = self.pool.default_subnet.to_string();
        report.range6 = self
            .pool
            .range6
            .map_or(String::new(), |net| net.to_string());
        report.waiting = self.waiting(error, now);
        let networks = self.ipam.spaces().map(|(id, ipam)| IpamReport {
            network: id.network.to_string(),
            range: id.subnet.to_string(),
            ..self.report_of(ipam, me, now)
        });
        report.networks = networks.collect();
        if self.ipam.left_out() > 0 {
            report.advice.push(format!(
                "{} subnets of networks have no room in what this router tells the others, and get no addresses from them; remove networks that are not needed: mesh network rm",
                self.ipam.left_out()
            ));
        }
        report
    }

    /// Returns what there is to report of the addresses of one network.
    fn report_of(&self, ipam: &Ipam, me: PeerId, now: Instant) -> IpamReport {
        let name = |id: &PeerId| self.routers.of(id);
        let owners = ipam.owners().into_iter().map(|owner| IpamOwner {
            peer: name(&owner.peer),
            id: owner.peer.to_string(),
            is_self: owner.peer == me,
            addresses: owner.addresses,
            slices: owner.slices,
            pending: owner.pending,
            reachable: owner.reachable,
        });
        let slicing = ipam.slicing();
        let allocations = ipam.allocations().map(|a| IpamAllocation {
            address: slicing.with_prefix(a.addr, a.prefix).to_string(),
            container: self.containers.display_name(a.container),
            explicit: a.explicit,
            leased_from: a.leased_from.as_ref().map(name).unwrap_or_default(),
        });
        let leases = ipam.remote_leases().map(|(addr, peer)| IpamRemoteLease {
            address: slicing.address(addr).to_string(),
            peer: name(&peer),
        });
        let release = |owner: &str, address| self.containers.release_command(owner, address);
        IpamReport {
            owners: owners.collect(),
            free: ipam.space().free,
            allocations: allocations.collect(),
            remote_leases: leases.collect(),
            waiting: self.waiting_in(ipam, now).collect(),
            advice: ipam.advice(&name, &release),
            ..IpamReport::default()
        }
    }

    /// Returns the requests that wait.
    pub fn waiting(&self, error: Option<&str>, now: Instant) -> Vec<IpamWaiting> {
        let callers = self.pending.acquires();
        let spaces = self.ipam.spaces().map(|(_, ipam)| ipam);
        let all = core::iter::once(self.ipam.default()).chain(spaces);
        let mut waiting: Vec<IpamWaiting> =
            all.flat_map(|ipam| self.waiting_in(ipam, now)).collect();
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
    fn waiting_in<'a>(
        &'a self,
        ipam: &'a Ipam,
        now: Instant,
    ) -> impl Iterator<Item = IpamWaiting> + 'a {
        let callers = self.pending.acquires();
        ipam.waiting().map(move |w| IpamWaiting {
            caller_pid: callers.get(&w.id).map_or(0, |acquire| acquire.caller),
            container: self.containers.display_name(w.container),
            want: match w.request {
                AddressRequest::Subnet(part) => {
                    format!("an address of {}", ipam.slicing().net_of(part))
                }
                AddressRequest::Address(number) => ipam.slicing().address(number).to_string(),
            },
            why: w.why.text(&|id: &PeerId| self.routers.of(id)),
            left: w.deadline.since(now).as_secs_f64(),
        })
    }
}
