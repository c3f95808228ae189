//! Routes of the underlay that lead through the mesh itself and so are useless: as the host's routing table tells, and as
//! the lanes saw packets come back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::limits::{LOOPED_SHOWN, MAX_LOOPED};
use crate::time::Instant;

/// Route by which this host sends packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderlayRoute {
    /// Outside the mesh, as far as its routes tell.
    Out,
    /// By an interface of the mesh: its bridge, or one that leads nowhere else.
    Mesh,
    /// There is no route.
    None,
}

/// Route lookup of the host.
pub trait RouteLookup {
    /// Returns the route by which packets for `to` leave now.
    fn route(&self, to: SocketAddr) -> UnderlayRoute;
}

/// Route lookup without routes: all addresses are outside.
#[derive(Debug)]
struct AllOut;

impl RouteLookup for AllOut {
    fn route(&self, _: SocketAddr) -> UnderlayRoute {
        UnderlayRoute::Out
    }
}

/// Addresses of routers whose packets were seen to go through the mesh, and when last.
#[derive(Debug, Default)]
struct Looped {
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

/// Routes of this host, and what is known of those that lead back into the mesh.
pub(crate) struct UnderlayRoutes {
    lookup: Box<dyn RouteLookup + Send>,
    looped: Looped,
}

impl Default for UnderlayRoutes {
    fn default() -> Self {
        Self {
            lookup: Box::new(AllOut),
            looped: Looped::default(),
        }
    }
}

impl UnderlayRoutes {
    /// Sets the route lookup.
    pub(crate) fn set_route_lookup(&mut self, lookup: Box<dyn RouteLookup + Send>) {
        self.lookup = lookup;
    }

    /// Returns true unless packets for this address leave by an interface of the mesh.
    pub(crate) fn leads_out(&self, to: SocketAddr) -> bool {
        self.lookup.route(to) != UnderlayRoute::Mesh
    }

    /// Returns true if this host has no route to the address.
    pub(crate) fn leads_nowhere(&self, to: SocketAddr) -> bool {
        self.lookup.route(to) == UnderlayRoute::None
    }

    /// Takes note of an address whose packets came back through the mesh. Returns a warning if that is news; `works` tells if
    /// the address is in use and answers: then only copies came back, as a bridge floods them that has not learnt a MAC yet.
    pub(crate) fn saw(
        &mut self,
        ip: IpAddr,
        works: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> Option<String> {
        (self.looped.saw(ip, now) && !works(ip)).then(|| looped_in_words(ip))
    }

    /// Returns why nothing gets to this address, if that is because it is reached through the mesh.
    pub(crate) fn why_looped(
        &self,
        to: SocketAddr,
        works: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> Option<String> {
        let ip = to.ip();
        let is_looped = !self.leads_out(to) || (self.looped.is_fresh(ip, now) && !works(ip));
        is_looped.then(|| looped_in_words(ip))
    }

    /// Returns the warnings for the report.
    pub(crate) fn warnings(
        &self,
        works: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> impl Iterator<Item = String> {
        let seen = self.looped.seen.keys();
        seen.filter(move |ip| self.looped.is_fresh(**ip, now) && !works(**ip))
            .map(|ip| looped_in_words(*ip))
    }
}

fn looped_in_words(ip: IpAddr) -> String {
    format!(
        "{ip} is reached through the mesh itself, so nothing is sent to the router there by that address; \
         the two need one outside the mesh"
    )
}
