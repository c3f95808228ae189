//! Pins: addresses that are leased in slices of another router, and so must be excluded by it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::super::durable::{Fault, JournalEntry, RemoteLease};
use super::super::slices::SliceRun;
use super::super::wire::{Conflict, IpamStatement, Pin};
use super::Registry;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{MAX_ADDRESS_CONFLICTS, MAX_IPAM_PINS};

impl Registry {
    /// Returns the leases in these slices, as far as this router knows. A lease of its own containers is over when a later
    /// statement does not list it; earlier statements did not have to.
    pub(crate) fn pins_in(&mut self, runs: &[SliceRun]) -> Vec<Pin> {
        let (number, epoch) = (self.next_number, self.epoch);
        let state = self.state();
        let is_inside = state.claims().mark(runs);
        let is_inside = |addr: &Ipv4Addr| {
            let slice = state.slicing().slice_of(*addr);
            slice.is_some_and(|s| is_inside[usize::from(s)])
        };
        let local = state.leases().all_local().keys();
        let local = local.filter(|addr| is_inside(addr)).map(|addr| Pin {
            addr: *addr,
            router: None,
            epoch,
            number,
        });
        let mut pins: Vec<Pin> = local.collect();
        let has_own = !pins.is_empty();
        let remote = state.leases().all_remote().iter();
        let remote = remote.filter(|(addr, _)| is_inside(addr));
        pins.extend(remote.map(|(addr, lease)| pin_of(*addr, lease)));
        pins.truncate(MAX_IPAM_PINS);
        if has_own {
            self.spend_number();
        }
        pins
    }

    /// Returns the pins that this router states: addresses leased in slices that it does not own, by its containers, and
    /// by routers that it leased them to before it lost the slice.
    pub(crate) fn pins_outside(&self) -> Vec<Pin> {
        let (state, epoch) = (self.state(), self.epoch);
        let is_outside = |addr: &Ipv4Addr| {
            let slice = state.slicing().slice_of(*addr);
            slice.is_some_and(|s| !state.claims().owns(s))
        };
        let local = state.leases().all_local().keys();
        let local = local.filter(|addr| is_outside(addr)).map(|addr| Pin {
            addr: *addr,
            router: None,
            epoch,
            number: 0,
        });
        let remote = state.leases().all_remote().iter();
        let remote = remote.filter(|(addr, _)| is_outside(addr));
        let remote = remote.map(|(addr, lease)| pin_of(*addr, lease));
        local.chain(remote).take(MAX_IPAM_PINS).collect()
    }

    /// Excludes addresses of this router's slices that `origin` says are leased.
    pub(crate) fn take_pins(&mut self, origin: PeerId, pins: &[Pin]) {
        for pin in pins {
            let to = pin.router.unwrap_or(origin);
            let state = self.state();
            let slice = state.slicing().slice_of(pin.addr);
            let is_mine = slice.is_some_and(|s| state.claims().is_mine(s));
            let is_known = state.leases().remote(&pin.addr).is_some();
            if is_mine && !is_known && to != self.me() && !self.is_over(pin, to) {
                let (epoch, number) = (pin.epoch, pin.number);
                let lease = RemoteLease { to, epoch, number };
                self.durable.exclude(pin.addr, lease);
            }
        }
    }

    /// Excludes all that is known to be leased in slices that became this router's.
    pub(super) fn collect_pins(&mut self, slices: &[u16]) {
        let mut pins = Vec::new();
        for (origin, statement) in self.peers.statements() {
            for pin in &statement.pins {
                let slice = self.slicing().slice_of(pin.addr);
                if slice.is_some_and(|s| slices.binary_search(&s).is_ok()) {
                    pins.push((*origin, *pin));
                }
            }
        }
        for (origin, pin) in pins {
            self.take_pins(origin, &[pin]);
        }
    }

    /// Frees addresses that the origin neither leases nor may still be waiting for.
    pub(super) fn end_leases(&mut self, origin: PeerId, statement: &IpamStatement) {
        let is_hasty = self.durable.has_fault(Fault::HastyRelease);
        let leases = self.state().leases().all_remote().iter();
        let over: Vec<Ipv4Addr> = leases
            .filter(|(_, lease)| lease.to == origin)
            .filter(|(_, lease)| is_settled(statement, lease) || is_hasty)
            .filter(|(addr, _)| !lists(statement, addr))
            .map(|(addr, _)| *addr)
            .collect();
        for addr in over {
            self.record(&JournalEntry::RemoteRelease { addr });
            // Another router may lease it too: then it is excluded for that one.
            if let Some(slice) = self.slicing().slice_of(addr) {
                self.collect_pins(&[slice]);
            }
        }
    }

    /// Returns whether the newest statement of a router says that a pin of it is no lease (any more).
    fn is_over(&self, pin: &Pin, router: PeerId) -> bool {
        if router == self.me() {
            return self.state().leases().local(&pin.addr).is_none();
        }
        let removed = self.removed(&router);
        let is_removed = removed.is_some_and(|version| pin.epoch <= version.epoch);
        if is_removed && !self.peers.is_member(&router) {
            return true;
        }
        let lease = RemoteLease {
            to: router,
            epoch: pin.epoch,
            number: pin.number,
        };
        let statement = self.peers.statement(&router);
        statement.is_some_and(|s| is_settled(s, &lease) && !lists(s, &pin.addr))
    }

    /// Returns addresses of this router's slices that two routers lease: by pins of others, and by what is known here.
    pub(crate) fn own_conflicts(&self) -> Vec<Conflict> {
        let (state, me) = (self.state(), self.me());
        let (slicing, claims, leases) = (state.slicing(), state.claims(), state.leases());
        let is_own = |addr: Ipv4Addr| slicing.slice_of(addr).is_some_and(|s| claims.owns(s));
        let mut conflicts = BTreeSet::new();
        for (addr, lease) in leases.all_remote() {
            if is_own(*addr) && leases.local(addr).is_some() {
                conflicts.insert(Conflict {
                    addr: *addr,
                    first: me,
                    second: lease.to,
                });
            }
        }
        for (origin, statement) in self.peers.statements() {
            for pin in &statement.pins {
                let (addr, second) = (pin.addr, pin.router.unwrap_or(*origin));
                if !is_own(addr) || self.is_over(pin, second) {
                    continue;
                }
                let first = match leases.remote(&addr) {
                    _ if leases.local(&addr).is_some() => me,
                    Some(lease) => lease.to,
                    None => continue,
                };
                if first != second {
                    let conflict = Conflict {
                        addr,
                        first,
                        second,
                    };
                    conflicts.insert(conflict);
                }
            }
        }
        conflicts.into_iter().take(MAX_ADDRESS_CONFLICTS).collect()
    }
}

fn pin_of(addr: Ipv4Addr, lease: &RemoteLease) -> Pin {
    Pin {
        addr,
        router: Some(lease.to),
        epoch: lease.epoch,
        number: lease.number,
    }
}

/// Returns whether a statement lists an address as leased by its origin.
fn lists(statement: &IpamStatement, addr: &Ipv4Addr) -> bool {
    let mut own = statement.pins.iter().filter(|pin| pin.router.is_none());
    own.any(|pin| pin.addr == *addr)
}

/// Returns whether the request that led to a lease is over, as the statement of its router says.
fn is_settled(statement: &IpamStatement, lease: &RemoteLease) -> bool {
    let epoch = statement.version.epoch;
    epoch > lease.epoch || (epoch == lease.epoch && statement.settled > lease.number)
}
