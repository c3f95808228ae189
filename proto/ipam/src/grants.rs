//! The owner's side of requests: an empty slice or more, or one address; and grants, repeated until they have arrived.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::durable::{Fault, JournalEntry, RemoteLease};
use super::registry::Registry;
use super::wire::{AddressRequest, Denial, IpamMessage};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_RESEND, MAX_GRANT, MAX_REMOTE_LEASES};
use mesh_proto::time::Instant;

/// The decision about a request of another router.
#[derive(Debug, PartialEq, Eq)]
enum GrantDecision {
    /// Lease it this address.
    Lease(Ipv4Addr),
    /// Tell it again that it leases this address.
    Repeat(Ipv4Addr),
    /// Grant it these slices, and tell it all that it was granted and does not claim yet.
    Grant(Vec<u16>),
    Deny(Denial),
}

/// Grants under way, of which the state has the list.
#[derive(Debug)]
pub(crate) struct Grants {
    /// The moment when they were repeated last.
    resent: Instant,
}

impl Grants {
    /// Makes the side of an owner.
    pub(crate) fn new(now: Instant) -> Self {
        Self { resent: now }
    }

    /// Answers a request of `asker.to`, with the epoch and the number that it gave. It may be old, and it may have been
    /// answered before.
    pub(crate) fn handle_request(
        &self,
        registry: &mut Registry,
        asker: RemoteLease,
        request: AddressRequest,
        slices: u16,
        now: Instant,
    ) {
        let RemoteLease { to, epoch, number } = asker;
        // Without the asker's statement a lease could not be ended.
        let statement = registry.peers().statement(&to);
        let Some(statement) = statement.filter(|_| registry.peers().is_member(&to)) else {
            return;
        };
        let known = statement.version.epoch;
        if epoch < known || (epoch == known && number < statement.settled) {
            return;
        }
        if registry.state().claims().is_blank() && registry.bootstrap(now, now).is_some() {
            return;
        }
        let decision = match request {
            AddressRequest::Subnet(subnet) => decide_subnet(registry, asker, subnet, slices),
            AddressRequest::Address(addr) => decide_address(registry, asker, addr),
        };
        match decision {
            GrantDecision::Grant(slices) => {
                self.grant(registry, to, &slices);
                self.send(registry, to);
            }
            GrantDecision::Deny(why) => {
                registry.send(to, &IpamMessage::Denied { epoch, number, why });
            }
            GrantDecision::Lease(addr) => {
                registry.durable_mut().lease_out(addr, asker);
                registry.send(to, &leased(asker, addr));
            }
            GrantDecision::Repeat(addr) => registry.send(to, &leased(asker, addr)),
        }
    }

    /// Grants slices of this router: from here on they are not its own, whatever becomes of the message.
    pub(crate) fn grant(&self, registry: &mut Registry, to: PeerId, slices: &[u16]) {
        let runs = registry.state().claims().raised(slices.iter().copied());
        for run in runs {
            if registry.durable().has_fault(Fault::KeepGranted) {
                let (pins, runs) = (Vec::new(), vec![run]);
                registry.send(to, &IpamMessage::Grant { runs, pins });
            } else {
                registry.record(&JournalEntry::Grant { to, run });
            }
        }
    }

    /// Sends a router all that it was granted and does not claim yet.
    fn send(&self, registry: &mut Registry, to: PeerId) {
        let claims = registry.state().claims();
        let granted = claims.grants().iter().filter(|(_, peer)| **peer == to);
        let runs = claims.runs(granted.map(|(slice, _)| *slice));
        if !runs.is_empty() {
            let pins = registry.pins_in(&runs);
            registry.send(to, &IpamMessage::Grant { runs, pins });
        }
    }

    /// Repeats grants that did not arrive, if it is time.
    pub(crate) fn resend(&mut self, registry: &mut Registry, now: Instant) {
        if now.since(self.resent) >= IPAM_RESEND {
            self.resend_now(registry, now);
        }
    }

    /// Repeats grants that did not arrive.
    pub(crate) fn resend_now(&mut self, registry: &mut Registry, now: Instant) {
        self.resent = now;
        let grants = registry.state().claims().grants();
        let receivers: BTreeSet<PeerId> = grants.values().copied().collect();
        for to in receivers {
            if registry.peers().is_member(&to) {
                self.send(registry, to);
            }
        }
    }
}

fn leased(asker: RemoteLease, addr: Ipv4Addr) -> IpamMessage {
    IpamMessage::Leased {
        epoch: asker.epoch,
        number: asker.number,
        addr,
    }
}

/// Decides for up to half of the empty slices of a subnet, or for one address if there are fewer than two.
fn decide_subnet(
    registry: &Registry,
    asker: RemoteLease,
    subnet: Ipv4Net,
    welcome: u16,
) -> GrantDecision {
    let (slicing, state) = (registry.slicing(), registry.state());
    let (claims, leases) = (state.claims(), state.leases());
    let slices = slicing.slices_of(subnet);
    let is_granted = |s: u16| claims.grants().get(&s) == Some(&asker.to);
    if slices.clone().any(is_granted) {
        return GrantDecision::Grant(Vec::new());
    }
    let is_same = |(addr, lease): &(&Ipv4Addr, &RemoteLease)| {
        let slice = slicing.slice_of(**addr);
        **lease == asker && subnet.contains(*addr) && slice.is_some_and(|s| claims.owns(s))
    };
    if let Some((addr, _)) = leases.all_remote().iter().find(is_same) {
        return GrantDecision::Repeat(*addr);
    }
    let is_empty = |s: &u16| claims.is_usable(*s) && leases.in_slice(*s) == 0;
    let mut empty: Vec<u16> = slices.clone().filter(is_empty).collect();
    // In a network other than `default` the space follows the containers: a router without any keeps nothing back.
    if slicing.is_subnet() && !leases.has_local() && !empty.is_empty() {
        return GrantDecision::Grant(empty);
    }
    if empty.len() >= 2 {
        let count = usize::from(welcome.clamp(1, MAX_GRANT)).min(empty.len() / 2);
        return GrantDecision::Grant(empty.split_off(empty.len() - count));
    }
    if !slices.clone().any(|s| claims.owns(s)) {
        return GrantDecision::Deny(Denial::NotMine);
    }
    let is_contested = |s: u16| claims.owns(s) && !claims.is_usable(s);
    let has_room = leases.all_remote().len() < MAX_REMOTE_LEASES;
    match registry.durable().find_free(subnet) {
        Some(addr) if has_room => GrantDecision::Lease(addr),
        None if slices.clone().any(is_contested) => GrantDecision::Deny(Denial::Contested),
        _ => GrantDecision::Deny(Denial::Full),
    }
}

/// Decides for this very address.
fn decide_address(registry: &Registry, asker: RemoteLease, addr: Ipv4Addr) -> GrantDecision {
    match may_lease(registry, asker, addr) {
        Ok(()) => GrantDecision::Lease(addr),
        Err(why) => GrantDecision::Deny(why),
    }
}

fn may_lease(registry: &Registry, asker: RemoteLease, addr: Ipv4Addr) -> Result<(), Denial> {
    let (claims, leases) = (registry.state().claims(), registry.state().leases());
    let slice = registry.slicing().slice_of(addr).ok_or(Denial::NotMine)?;
    if !claims.owns(slice) {
        return Err(Denial::NotMine);
    }
    if let Some(lease) = leases.local(&addr) {
        return Err(Denial::InUse(lease.container.clone()));
    }
    if let Some(lease) = leases.remote(&addr)
        && lease.to != asker.to
    {
        return Err(Denial::InUseBy(lease.to));
    }
    if !claims.is_usable(slice) {
        return Err(Denial::Contested);
    }
    if leases.all_remote().len() >= MAX_REMOTE_LEASES {
        return Err(Denial::Full);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::slices::SliceRun;
    use super::super::tests::parts::{self, LARGER, NOW, effects, meet, messages, owner, run};
    use super::*;

    fn subnet(text: &str) -> AddressRequest {
        AddressRequest::Subnet(text.parse().unwrap())
    }

    fn asker(number: u64) -> RemoteLease {
        let (to, epoch) = (LARGER, 1);
        RemoteLease { to, epoch, number }
    }

    fn ask(registry: &mut Registry, request: AddressRequest, number: u64) -> Vec<IpamMessage> {
        let grants = Grants::new(NOW);
        grants.handle_request(registry, asker(number), request, 2, NOW);
        let messages = messages(registry).into_iter();
        messages.map(|(_, message)| message).collect()
    }

    #[test]
    fn empty_slices_are_granted_from_the_end_and_again_until_the_receiver_states_them() {
        let mut registry = owner();
        meet(&mut registry, LARGER, 1, Vec::new());
        let granted = ask(&mut registry, subnet("10.32.0.0/24"), 1);
        let [IpamMessage::Grant { runs, pins }] = &granted[..] else {
            panic!("{granted:?}");
        };
        let given = |first| SliceRun {
            first,
            count: 2,
            ver: 2,
        };
        assert_eq!((&runs[..], &pins[..]), (&[given(14)][..], &[][..]));
        assert!(!registry.state().claims().owns(14));
        assert_eq!(ask(&mut registry, subnet("10.32.0.0/24"), 2), granted);
        let mut grants = Grants::new(NOW);
        grants.resend(&mut registry, NOW);
        assert!(messages(&mut registry).is_empty(), "too soon");
        grants.resend(&mut registry, NOW + IPAM_RESEND);
        assert_eq!(messages(&mut registry), [(LARGER, granted[0].clone())]);
        meet(&mut registry, LARGER, 2, vec![given(14)]);
        grants.resend_now(&mut registry, NOW);
        assert!(effects(&mut registry).is_empty());
    }

    #[test]
    fn out_of_one_slice_an_address_is_leased_once_for_each_request() {
        let mut registry = owner();
        meet(&mut registry, LARGER, 1, Vec::new());
        let leased = |number, addr: [u8; 4]| IpamMessage::Leased {
            epoch: 1,
            number,
            addr: addr.into(),
        };
        let small = subnet("10.32.0.16/28");
        assert_eq!(ask(&mut registry, small, 1), [leased(1, [10, 32, 0, 17])]);
        assert_eq!(
            ask(&mut registry, small, 1),
            [leased(1, [10, 32, 0, 17])],
            "the answer was lost"
        );
        assert_eq!(ask(&mut registry, small, 2), [leased(2, [10, 32, 0, 18])]);
        let this = AddressRequest::Address([10, 32, 0, 20].into());
        assert_eq!(ask(&mut registry, this, 3), [leased(3, [10, 32, 0, 20])]);
        assert_eq!(registry.state().leases().all_remote().len(), 3);
    }

    #[test]
    fn strangers_and_old_requests_get_no_answer_and_others_a_reason() {
        let mut registry = owner();
        let small = subnet("10.32.0.16/28");
        assert!(ask(&mut registry, small, 1).is_empty(), "a stranger");
        meet(&mut registry, LARGER, 1, Vec::new());
        assert!(ask(&mut registry, small, 0).is_empty(), "settled");
        meet(&mut registry, LARGER, 2, vec![run(1, 1)]);
        let (epoch, number) = (1, 1);
        let denied = |why| vec![IpamMessage::Denied { epoch, number, why }];
        assert_eq!(ask(&mut registry, small, 1), denied(Denial::Contested));
        let mut other = parts::registry();
        meet(&mut other, LARGER, 1, vec![run(0, 16)]);
        let this = AddressRequest::Address([10, 32, 0, 20].into());
        assert_eq!(ask(&mut other, this, 1), denied(Denial::NotMine));
    }
}
