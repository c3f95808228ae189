//! Promises about the containers of the workload: their addresses (I1, I2, I13, S6) and their names (D1).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mesh_ipam::Ipam;
use mesh_proto::network::NetworkId;

use super::Workload;
use crate::sim::families;
use crate::sim::hosts::Hosts;
use crate::sim::invariants::addresses::{self, AddressHolder, TOLD};
use crate::sim::invariants::names::{self, TrueNames};
use crate::sim::invariants::{Check, Violation};
use crate::sim::network::HostId;

impl Workload {
    fn holders(&self) -> impl Iterator<Item = AddressHolder<'_>> {
        self.hosts
            .iter()
            .enumerate()
            .flat_map(|(host, containers)| {
                containers.iter().filter_map(move |(name, holder)| {
                    let addr = holder.addr?;
                    Some(AddressHolder {
                        host,
                        network: holder.network,
                        name,
                        addr,
                    })
                })
            })
    }

    /// True if each slice must have at most one owner that allocates from it.
    fn is_strict(&self) -> bool {
        !self.overlaps && self.excused.is_empty()
    }

    /// Checks I1, and I2 unless exempted.
    pub(crate) fn check_addresses(&self, hosts: &Hosts) -> Check {
        let doubles = addresses::doubles(self.holders());
        for (first, second) in &doubles {
            let excused = |h: &AddressHolder<'_>| self.excused.contains(&h.host);
            // Two founders of one range are possible in `default` only; a router that was removed while it lived, in all.
            let may_overlap = self.overlaps && (first.network.is_default() || self.removed);
            let known = may_overlap || self.known.contains(&(first.network, first.addr));
            if !known && !excused(first) && !excused(second) {
                return Err(addresses::twice(first, second));
            }
        }
        if self.is_strict() && self.known.is_empty() {
            for network in self.all_networks() {
                let ipams = hosts.allocations(network);
                addresses::one_owner(ipams.map(|(host, ipam)| (host, ipam.usable())))?;
            }
        }
        Ok(())
    }

    /// Returns all networks of the mesh.
    fn all_networks(&self) -> BTreeSet<NetworkId> {
        let others = self.networks.iter().flatten().copied();
        others.chain([NetworkId::DEFAULT]).collect()
    }

    /// Checks after a start that all confirmed addresses are on the disk (I13).
    pub(crate) fn check_kept(&self, host: HostId, hosts: &Hosts) -> Check {
        if hosts.ipam(host).is_none() || self.excused.contains(&host) {
            return Ok(());
        }
        for (name, holder) in &self.hosts[host] {
            let ipam = hosts.allocation(host, holder.network);
            let mut held = ipam.into_iter().flat_map(families::known);
            if let Some(addr) = holder.addr
                && !held.any(|held| held == (addr, name.as_str()))
            {
                let detail = format!("router {host} told {name} of {addr} and forgot it");
                return Err(Violation::new(TOLD, detail));
            }
        }
        Ok(())
    }

    /// Checks that both holders of every duplicate address report it; from now on new ones are violations.
    pub(crate) fn check_reported(&mut self, hosts: &Hosts) -> Check {
        let doubles = addresses::doubles(self.holders());
        let reports = |holder: &AddressHolder<'_>| {
            let ipam = hosts.allocation(holder.host, holder.network);
            let is_it = |ipam: &Ipam, number| {
                families::inward(ipam.slicing().address(number)) == holder.addr
            };
            ipam.is_none_or(|ipam| ipam.conflicts().iter().any(|c| is_it(ipam, c.addr)))
        };
        let mut check = Ok(());
        for (first, second) in &doubles {
            for holder in [first, second] {
                if !reports(holder) {
                    check = Err(addresses::unreported(holder));
                }
            }
        }
        let known = doubles.iter().map(|(first, _)| (first.network, first.addr));
        let known = known.collect();
        self.known = known;
        self.overlaps = false;
        check
    }

    /// Checks, when quiet, that all routers of a component have one map, and that allocated space equals held space and
    /// is all usable.
    pub(crate) fn check_addresses_when_quiet(
        &self,
        components: &[BTreeSet<HostId>],
        hosts: &Hosts,
    ) -> Check {
        if !self.is_strict() {
            return Ok(());
        }
        for component in components {
            for network in self.all_networks() {
                let ipams = hosts.allocations(network);
                let ipams: Vec<_> = ipams.filter(|(host, _)| component.contains(host)).collect();
                addresses::one_map(&ipams)?;
                addresses::nothing_leaks(&ipams)?;
                // A network whose members all lost their disks starts again with its founder, which may be gone.
                let is_new = |ipam: &Ipam| !network.is_default() && ipam.owners().len() == 1;
                if self.removed && !ipams.iter().any(|(_, ipam)| is_new(ipam)) {
                    addresses::all_owned(&ipams)?;
                }
            }
        }
        for network in self.all_networks() {
            let holders = self.holders().filter(|h| h.network == network);
            let known: BTreeSet<(HostId, Ipv4Addr)> = holders.map(|h| (h.host, h.addr)).collect();
            addresses::all_held(hosts.allocations(network), &known)?;
        }
        Ok(())
    }

    /// Checks, when quiet, that names resolve to the containers that have them (D1).
    pub(crate) fn check_names_when_quiet(
        &self,
        components: &[BTreeSet<HostId>],
        hosts: &Hosts,
    ) -> Check {
        if !self.excused.is_empty() {
            return Ok(());
        }
        for component in components {
            let mut truth = TrueNames::new();
            for holder in self.holders().filter(|h| component.contains(&h.host)) {
                for name in self.names_of(holder.host, holder.name) {
                    let addresses = truth.entry((holder.network, name)).or_default();
                    addresses.insert(holder.addr.into());
                }
            }
            for (host, router) in hosts.routers().filter(|(h, _)| component.contains(h)) {
                names::are_true(host, router.names().names(), &truth)?;
            }
        }
        Ok(())
    }
}
