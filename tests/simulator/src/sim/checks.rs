//! Checks of running routers against what the underlay and the configuration permit.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_proto::ids::PeerId;
use mesh_proto::limits::REJECT_AFTER;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use super::fault::InjectedFault;
use super::hosts::Hosts;
use super::invariants::agreement::{self, Belief};
use super::invariants::{Check, Violation, bounds, names};
use super::layout::{components, diameter};
use super::network::{HostId, VirtualNetwork};
use super::plan::MeshParameters;
use super::router::SimRouter;
use super::sybils::SYBILS;

const PATH_MTU: &str = "S4 path MTU";
const HELD: &str = "S5 held addresses";
const CLONES: &str = "S4 clones are noticed";
const RENEWED: &str = "S5 keys are renewed";

/// Read-only view of hosts and underlay.
#[derive(Clone, Copy)]
pub(crate) struct Inspector<'a> {
    pub(crate) hosts: &'a Hosts,
    pub(crate) underlay: &'a VirtualNetwork,
    pub(crate) parameters: &'a MeshParameters,
}

impl Inspector<'_> {
    // Components

    /// Returns the components of the running routers.
    pub(crate) fn components(&self) -> Vec<BTreeSet<HostId>> {
        self.components_of(&self.hosts.running())
    }

    /// Returns the components of these routers without any others.
    fn components_of(&self, hosts: &[HostId]) -> Vec<BTreeSet<HostId>> {
        components(hosts, |a, b| self.joins(a, b))
    }

    /// Returns the largest permitted number of hops, if discovery is off.
    pub(crate) fn widest(&self, components: &[BTreeSet<HostId>]) -> usize {
        let each = components.iter();
        let each = each.map(|c| diameter(c, |a, b| self.joins(a, b)));
        each.max().unwrap_or(0)
    }

    /// True if two routers can have a link and direct data, by configuration and underlay.
    fn joins(&self, a: HostId, b: HostId) -> bool {
        self.parameters.joined.may(a, b) && self.underlay.joins(a, b)
    }

    // Checks at any time

    /// Checks the sizes of all routers' tables.
    pub(crate) fn bounds(&self, now: Instant) -> Check {
        for (host, router) in self.hosts.routers() {
            let mut tables = router.tables();
            let taken = router.records_taken();
            let origins = self.hosts.identities() + SYBILS;
            tables.push(bounds::records(taken, origins, now));
            let fault = InjectedFault::OverfullTable;
            if self.parameters.has_fault(host, fault)
                && let Some(table) = tables.first_mut()
            {
                table.used = table.bound + 1;
            }
            bounds::check(host, &tables)?;
        }
        Ok(())
    }

    /// Checks that names of unreachable routers are hidden (D2).
    pub(crate) fn hidden_names(&self) -> Check {
        for (host, router) in self.hosts.routers() {
            let reachable: BTreeSet<PeerId> = router.reachable().into_iter().collect();
            names::within_reach(host, router.names().names(), &reachable)?;
        }
        Ok(())
    }

    // Checks in the middle of some scenarios

    /// Checks a duplicate identity: at least one of the two routers must report it, and all other routers must reach
    /// each other as before.
    pub(crate) fn clone_noticed(&self, of: HostId, copy: HostId, now: Instant) -> Check {
        let warnings = [of, copy].map(|h| self.hosts.router(h).map(|r| r.warnings(now)));
        let told = |w: &String| w.contains("router's key");
        if !warnings.iter().flatten().flatten().any(told) {
            let detail =
                format!("neither router {of} nor {copy} knows that their key is in use twice");
            return Err(Violation::new(CLONES, detail));
        }
        let mut others = self.hosts.running();
        others.retain(|h| ![of, copy].contains(h));
        for component in self.components_of(&others) {
            for host in &component {
                let reachable = self.hosts.router(*host).map(SimRouter::reachable);
                let reachable: BTreeSet<HostId> = reachable
                    .iter()
                    .flatten()
                    .filter_map(|p| self.hosts.host_of(p))
                    .collect();
                if !component.is_subset(&reachable) {
                    let detail = format!("router {host} reaches {reachable:?}, not {component:?}");
                    return Err(Violation::new(CLONES, detail));
                }
            }
        }
        Ok(())
    }

    /// Checks that every session in use is younger than the age at which its keys are rejected.
    pub(crate) fn keys_renewed(&self, now: Instant) -> Check {
        for (host, router) in self.hosts.routers() {
            let Some(oldest) = router.oldest_key(now) else {
                let detail = format!("router {host} has no session at all");
                return Err(Violation::new(RENEWED, detail));
            };
            if oldest >= REJECT_AFTER {
                let detail = format!("router {host} holds a key {} s old", oldest.as_secs());
                return Err(Violation::new(RENEWED, detail));
            }
        }
        Ok(())
    }

    // Checks when quiet

    /// Checks that the routers of every component agree (I3).
    pub(crate) fn agreement(&self) -> Check {
        for component in self.components() {
            let beliefs: Vec<Belief> = component.iter().filter_map(|h| self.belief(*h)).collect();
            agreement::check(&component, &beliefs)?;
        }
        Ok(())
    }

    fn belief(&self, host: HostId) -> Option<Belief> {
        let router = self.hosts.router(host)?;
        let mut digest = router.digest();
        let fault = InjectedFault::FrozenDigest;
        if self.parameters.has_fault(host, fault) {
            digest = [0; 16];
        }
        let reachable = router.reachable();
        let reachable = reachable.iter().map(|p| self.hosts.host_of(p));
        // An unknown peer gets a number that is in no component.
        let reachable = reachable.map(|h| h.unwrap_or(HostId::MAX)).collect();
        Some(Belief {
            router: host,
            digest,
            reachable,
        })
    }

    /// Checks that no router assumes a larger path MTU than the underlay has.
    pub(crate) fn path_mtus(&self) -> Check {
        let running = self.hosts.running();
        for (from, router) in self.hosts.routers() {
            for to in running.iter().filter(|to| **to != from) {
                let longest = self.underlay.longest(from, *to);
                let taken = router.datagram_to(&self.hosts[*to].peer());
                if let Some(taken) = taken.filter(|taken| *taken > longest) {
                    let detail = format!("{from} sends {taken} bytes to {to}, {longest} pass");
                    return Err(Violation::new(PATH_MTU, detail));
                }
            }
        }
        Ok(())
    }

    /// Checks that every router knows exactly the addresses of the others' stations.
    pub(crate) fn held_addresses(&self) -> Check {
        for component in self.components() {
            for me in &component {
                let others = component.iter().filter(|h| *h != me);
                let there = others.flat_map(|h| self.hosts[*h].all_stations());
                let there = there.map(|(network, station)| (network, station.ip.into()));
                let truth: BTreeSet<(NetworkId, IpAddr)> = there.collect();
                let held = self
                    .hosts
                    .router(*me)
                    .map(SimRouter::held)
                    .unwrap_or_default();
                if held != truth {
                    let wrong: Vec<_> = held.symmetric_difference(&truth).collect();
                    let detail = format!("router {me} is wrong about {wrong:?}");
                    return Err(Violation::new(HELD, detail));
                }
            }
        }
        Ok(())
    }
}
