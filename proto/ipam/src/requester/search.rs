//! The search for space at other routers: one owner is asked after the other.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::super::refusal::{AddressRefusal, Wait};
use super::super::registry::Registry;
use super::super::wire::IpamMessage;
use super::request::{PendingRequest, RequestStep};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_REQUEST_RETRY, IPAM_REQUEST_TIMEOUT, MAX_GRANT};
use mesh_proto::time::Instant;

impl PendingRequest {
    /// Asks an owner, again if it did not answer in time.
    pub(super) fn ask(&mut self, registry: &mut Registry, to: PeerId, now: Instant) {
        let is_asked = self.asked_now(now).is_some_and(|asked| asked == to);
        if is_asked || now < self.rest_until {
            return;
        }
        let owned = registry.state().claims().owned();
        let slices = u16::try_from(owned / 2).unwrap_or(MAX_GRANT);
        let request = IpamMessage::Request {
            epoch: registry.epoch(),
            number: self.number,
            request: self.request,
            slices: slices.clamp(1, MAX_GRANT),
        };
        registry.send(to, &request);
        self.asked = Some((to, now));
    }

    /// Returns the router whose answer may still come.
    fn asked_now(&self, now: Instant) -> Option<PeerId> {
        let asked = self.asked;
        let asked = asked.filter(|(_, at)| now.since(*at) < IPAM_REQUEST_TIMEOUT);
        asked.map(|(router, _)| router)
    }

    /// Asks one owner after the other, those with most free space first.
    pub(super) fn search(
        &mut self,
        registry: &mut Registry,
        subnet: Ipv4Net,
        now: Instant,
    ) -> RequestStep {
        let claims = registry.state().claims();
        let slices = registry.slicing().slices_of(subnet);
        let owners: BTreeSet<PeerId> = slices.filter_map(|s| claims.owner(s)).collect();
        if let Some(router) = self.asked_now(now)
            && registry.peers().is_member(&router)
            && !self.tried.contains(&router)
        {
            return RequestStep::Wait(Wait::Owner(router));
        }
        if now < self.rest_until {
            return RequestStep::Wait(self.why.clone());
        }
        if let Some((router, _)) = self.asked
            && owners.contains(&router)
            && self.tried.insert(router)
        {
            self.all_full = false;
        }
        if let Some(owner) = self.next_owner(registry, &owners) {
            self.ask(registry, owner, now);
            return RequestStep::Wait(Wait::Owner(owner));
        }
        self.no_space(registry, &owners, subnet, now)
    }

    /// Returns the owner with most free space that was not tried yet.
    fn next_owner(&self, registry: &Registry, owners: &BTreeSet<PeerId>) -> Option<PeerId> {
        let mut next: Option<(u8, PeerId)> = None;
        let members = registry.peers().members();
        for (id, statement) in members.filter(|(id, _)| owners.contains(id)) {
            let is_better = next.is_none_or(|(free, _)| statement.free > free);
            if is_better && !self.tried.contains(id) {
                next = Some((statement.free, *id));
            }
        }
        next.map(|(_, owner)| owner)
    }

    /// Gives up if all owners said that nothing is free, or begins again after a pause.
    fn no_space(
        &mut self,
        registry: &Registry,
        owners: &BTreeSet<PeerId>,
        subnet: Ipv4Net,
        now: Instant,
    ) -> RequestStep {
        let (claims, peers) = (registry.state().claims(), registry.peers());
        let slices = registry.slicing().slices_of(subnet);
        let mut mine = slices.filter(|s| claims.is_mine(*s));
        let contested = mine.clone().find_map(|s| claims.rivals(s));
        let is_pending =
            mine.any(|s| !claims.owns(s)) || is_to_change_hands(registry, owners, subnet);
        let is_absent = |id: &&PeerId| **id != registry.me() && !peers.is_member(id);
        let absent: Vec<PeerId> = owners.iter().filter(is_absent).copied().collect();
        let is_certain = absent.is_empty() && contested.is_none() && !is_pending;
        if is_certain && self.all_full && claims.is_complete() {
            return RequestStep::Failed(AddressRefusal::Exhausted(subnet.into()));
        }
        self.tried.clear();
        self.asked = None;
        self.all_full = true;
        self.rest_until = now + IPAM_REQUEST_RETRY;
        RequestStep::Wait(match contested.and_then(BTreeSet::first) {
            _ if is_pending => Wait::Agreement,
            Some(rival) => Wait::Contest(*rival),
            None => Wait::Space(absent.len(), absent.first().copied()),
        })
    }
}

/// Returns whether a reachable router is to have space of the subnet, and does not say so itself yet: it denied out of
/// what it had.
fn is_to_change_hands(registry: &Registry, owners: &BTreeSet<PeerId>, subnet: Ipv4Net) -> bool {
    let (claims, peers) = (registry.state().claims(), registry.peers());
    let successors = owners.iter().filter(|id| peers.is_member(id));
    let successors: BTreeSet<&PeerId> = successors.collect();
    let mut stated = BTreeSet::new();
    for successor in &successors {
        let own = peers.statement(successor).map_or(&[][..], |s| &s.own);
        let own = own.iter().flat_map(|run| claims.existing(run));
        stated.extend(own.filter(|s| claims.owner(*s).as_ref() == Some(*successor)));
    }
    let mut slices = registry.slicing().slices_of(subnet);
    let is_to_have = |s: &u16| claims.owner(*s).is_some_and(|id| successors.contains(&id));
    slices.any(|s| is_to_have(&s) && !stated.contains(&s))
}
