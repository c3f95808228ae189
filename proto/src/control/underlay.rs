//! Ways between routers that lead through the mesh itself, which are no ways: what the host's routes say, and what the
//! lanes saw come back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::ids::PeerId;
use crate::limits::{DEAD_AFTER, LOOPED_SHOWN, MAX_LOOPED};
use crate::time::Instant;

use super::{Control, Note};

/// By which way this host sends packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Outside the mesh, as far as its routes tell.
    Out,
    /// By an interface of the mesh: its bridge, or one that leads nowhere else.
    Mesh,
    /// There is no route.
    None,
}

/// Tells ways; the host does by its routes.
pub trait Ways {
    /// By which way packets for `to` leave now.
    fn way(&self, to: SocketAddr) -> Way;
}

/// Knows no routes: all addresses are outside.
#[derive(Debug)]
pub(super) struct AllOut;

impl Ways for AllOut {
    fn way(&self, _: SocketAddr) -> Way {
        Way::Out
    }
}

/// Addresses at which packets of routers were seen to go through the mesh, and when last.
#[derive(Debug, Default)]
pub(super) struct Looped {
    seen: BTreeMap<IpAddr, Instant>,
}

impl Looped {
    /// Notes it; true when that is news.
    fn saw(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.seen.retain(|_, at| now.since(*at) < LOOPED_SHOWN);
        if self.seen.len() >= MAX_LOOPED && !self.seen.contains_key(&ip) {
            return false;
        }
        self.seen.insert(ip, now).is_none()
    }

    fn is_fresh(&self, ip: IpAddr, now: Instant) -> bool {
        let at = self.seen.get(&ip);
        at.is_some_and(|at| now.since(*at) < LOOPED_SHOWN)
    }
}

impl Control {
    /// Asks the host for ways from now on.
    pub fn set_ways(&mut self, ways: Box<dyn Ways + Send>) {
        self.ways = ways;
    }

    /// Whether packets for this address leave outside the mesh, if they do.
    pub(super) fn leads_out(&self, to: SocketAddr) -> bool {
        self.ways.way(to) != Way::Mesh
    }

    /// Hands the lanes the addresses that the records of a router name.
    pub(super) fn tell_underlay(&self, router: PeerId) {
        let own = self.body_of(&router).map_or(&[][..], |b| &b.endpoints);
        let dialled = self
            .gossip
            .lsdb()
            .links(&router)
            .iter()
            .filter_map(|n| n.address);
        let all = own.iter().copied().chain(dialled).collect();
        self.forwarder.underlay().set_router(router, all);
    }

    /// Hands the lanes the other ends of this router's links.
    pub(super) fn tell_linked(&self) {
        // Strangers that only opened a connection have no say.
        let linked = self.links.iter().map(|(_, slot)| slot);
        let linked = linked.filter(|slot| slot.outbound || slot.up);
        let ends = linked.map(|slot| slot.address).collect();
        self.forwarder.underlay().set_links(ends);
    }

    /// Looks at what the lanes saw come back.
    pub(super) fn tick_looped(&mut self, now: Instant) {
        for address in self.forwarder.underlay().take_looped().into_keys() {
            if self.looped.saw(address.ip(), now) && !self.works(address.ip(), now) {
                self.note(Note::Warn(looped_in_words(address.ip())));
            }
        }
    }

    /// Why nothing gets to this address, if that is because it is reached through the mesh.
    pub(super) fn why_looped(&self, to: SocketAddr, now: Instant) -> Option<String> {
        let ip = to.ip();
        let is_looped = self.ways.way(to) == Way::Mesh
            || (self.looped.is_fresh(ip, now) && !self.works(ip, now));
        is_looped.then(|| looped_in_words(ip))
    }

    /// Whether the address is in use and answers: then only copies came back, as a bridge floods them that does not know
    /// yet where a MAC is.
    fn works(&self, ip: IpAddr, now: Instant) -> bool {
        let linked = |slot: &super::links::Slot| {
            slot.up && slot.address.ip() == ip && slot.silence(now) < DEAD_AFTER
        };
        self.paths.directs().any(|(_, at)| at.ip() == ip)
            || self.links.iter().any(|(_, slot)| linked(slot))
    }

    /// What leads back, for the report.
    pub(super) fn looped_warnings(&self, now: Instant) -> impl Iterator<Item = String> {
        let seen = self.looped.seen.keys();
        seen.filter(move |ip| self.looped.is_fresh(**ip, now) && !self.works(**ip, now))
            .map(|ip| looped_in_words(*ip))
    }
}

fn looped_in_words(ip: IpAddr) -> String {
    format!(
        "{ip} is reached through the mesh itself, so nothing is sent to the router there by that address; \
         the two need one outside the mesh"
    )
}
