//! Neighbours: the routers to be linked with, and the dials that make it so.
//!
//! Inputs are the operator's targets, the view of the other parts, and the ends of dials and links; effects for the shell come
//! out of [`Neighbours::poll_effect`].
//!
//! | file | subject |
//! |---|---|
//! | `targets`, `target_text` | what is dialled, and when |
//! | `suppressed` | targets that are not dialled because of a peer within reach |
//! | `dial` | dials: where to, and what follows from their ends |
//! | `selection` | which routers to link with, in a small mesh and in a large one |
//! | `warm_start` | the neighbours from before the start |
//! | `effect` | effects |
//! | `forgotten` | routers that the operator does not want to be dialled |

mod dial;
mod effect;
mod forgotten;
mod selection;
mod suppressed;
pub mod target_text;
mod targets;
mod warm_start;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId};
use crate::limits::{
    DIAL_YIELD, FULL_MESH_DELAY, MAX_CANDIDATES, MAX_DEGREE, MAX_WARM_START, RANDOM_LINKS,
    UNREACHABLE_DIALS,
};
use crate::time::Instant;

use super::links::LinkSlot;
use super::view::ControlView;
pub(crate) use dial::NO_ROOM;
pub(crate) use effect::NeighbourEffect;
use forgotten::Forgets;
pub use forgotten::{Forgot, Forgotten};
use selection::{Selection, lottery, ring_after};
use targets::Targets;
pub(crate) use targets::{DialTarget, TargetKey, TargetState};
pub use warm_start::StoredNeighbour;
use warm_start::WarmStart;

/// Links of others that a router must have before one to it is given up.
const ENOUGH: usize = 3;

/// In a larger mesh, the mean time before a selected peer is dialled: the selection may change, and others dial too.
const SPREAD: Duration = Duration::from_millis(50);

/// Configuration of neighbours.
#[derive(Debug)]
pub(crate) struct NeighbourSetup {
    /// Our own identity.
    pub(crate) me: PeerId,
    /// The default port of targets.
    pub(crate) port: u16,
    /// True if peers learnt by gossip are dialled.
    pub(crate) discovery: bool,
    /// Neighbours from before the start.
    pub(crate) stored_neighbours: Vec<StoredNeighbour>,
    /// Routers that are not to be dialled.
    pub(crate) forgotten: Vec<Forgotten>,
}

/// A link that is not wanted here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpareLink {
    /// The peer.
    pub(crate) peer: PeerId,
    /// The connection.
    pub(crate) conn: ConnId,
    /// True if the other end does not want it, either.
    pub(crate) unwanted_there: bool,
}

/// The neighbours of one router, as they are and as they are to be.
#[derive(Debug)]
pub(crate) struct Neighbours {
    me: PeerId,
    port: u16,
    discovery: bool,
    targets: Targets,
    selection: Selection,
    warm_start: WarmStart,
    forgotten: Forgets,
    effects: VecDeque<NeighbourEffect>,
}

impl Neighbours {
    /// Creates the neighbours of a router that has just started.
    pub(crate) fn new(setup: NeighbourSetup, now: Instant) -> Self {
        Self {
            me: setup.me,
            port: setup.port,
            discovery: setup.discovery,
            targets: Targets::default(),
            selection: Selection::default(),
            warm_start: WarmStart::new(setup.stored_neighbours, now),
            forgotten: Forgets::new(setup.forgotten),
            effects: VecDeque::new(),
        }
    }

    /// Returns the next effect, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<NeighbourEffect> {
        self.effects.pop_front()
    }

    // Selection

    /// Selects neighbours, and makes those without a link targets.
    pub(crate) fn discover(
        &mut self,
        view: ControlView<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if !self.discovery {
            return;
        }
        let wanted = self.select(view, now);
        let unlinked = wanted
            .into_iter()
            .filter(|peer| view.links.of_peer(peer).is_none() && !self.forgotten.has(peer));
        let (first, second): (Vec<_>, Vec<_>) = unlinked.partition(|peer| self.me < *peer);
        // Both ends would dial at once; the higher identity lets the lower one begin. In a large mesh hardly any router is
        // selected by those that it selects.
        let (sparse, delay) = (self.selection.sparse(), self.dial_spread());
        let all: Vec<PeerId> = first.iter().chain(&second).copied().collect();
        self.targets.set_discovered(&all, delay, now, entropy);
        // In a mesh that starts, each router knows few others for a moment.
        let later = all.iter().filter(|peer| !self.selection.has(peer));
        let later: Vec<PeerId> = later.copied().collect();
        self.targets.delay_new(&later, FULL_MESH_DELAY, now);
        if sparse {
            let selection = &self.selection;
            self.targets
                .hasten(|peer| selection.has(peer), SPREAD, now, entropy);
        } else {
            self.targets.delay_new(&second, DIAL_YIELD, now);
        }
    }

    /// Selects neighbours. Returns the peers to which a link is wanted.
    fn select(&mut self, view: ControlView<'_>, now: Instant) -> Vec<PeerId> {
        let (routes, lsdb, me) = (view.routes, view.gossip.lsdb(), self.me);
        // A router that is only said to be there counts for nothing: anybody may say so of any number.
        let known = routes.known();
        let known = known.filter(|peer| *peer != me && lsdb.was_reachable(peer));
        let reachable = routes.all_reachable();
        // The operator's targets are as random as anything.
        let typed = self.targets.explicit_peers();
        let typed = typed.filter(|peer| routes.is_reachable(peer)).count();
        let random = RANDOM_LINKS.saturating_sub(typed);
        let recalled: BTreeSet<PeerId> = self.warm_start.recalled().collect();
        if recalled.is_empty() {
            let before = |peer: &PeerId| self.warm_start.knows(peer);
            self.selection.choose(me, &reachable, random, before, now);
        } else {
            self.selection.set(recalled.clone());
        }
        if self.selection.is_sparse(known.clone().count()) {
            // Of those that were cut off: the first of us that meets one of them joins both halves.
            let gone: Vec<PeerId> = routes.unreachable().filter(|p| *p != me).collect();
            let gone = lottery(me, gone.iter(), UNREACHABLE_DIALS);
            self.selection.chosen().chain(gone).collect()
        } else {
            let only_said = routes.unreachable();
            let only_said = only_said.filter(|peer| !lsdb.was_reachable(peer));
            let only_said: Vec<PeerId> = only_said.collect();
            let few = lottery(me, only_said.iter(), UNREACHABLE_DIALS);
            let all: BTreeSet<PeerId> = known.chain(recalled).chain(few).collect();
            all.into_iter().collect()
        }
    }

    /// Returns the mean time before a peer is dialled that came within reach, or was selected.
    fn dial_spread(&self) -> Duration {
        match self.selection.sparse() {
            true => SPREAD,
            false => DIAL_YIELD / 2,
        }
    }

    /// Returns true if this router wants a link to `peer`.
    pub(crate) fn wants_link(&self, peer: &PeerId) -> bool {
        !self.selection.sparse()
            || self.selection.has(peer)
            || self.targets.explicit_peers().any(|p| p == *peer)
    }

    /// Returns true if the mesh could fall apart without a link between the two.
    fn is_on_ring(&self, peer: &PeerId, view: ControlView<'_>) -> bool {
        let reachable = view.routes.all_reachable();
        let after = |a: PeerId, b: PeerId| ring_after(a, &reachable).any(|p| p == b);
        after(self.me, *peer) || after(*peer, self.me)
    }

    /// Returns true if `peer` can do without a link to this router, as far as it says itself.
    fn has_others(&self, peer: &PeerId, view: ControlView<'_>) -> bool {
        let us = self.me.prefix();
        let links = view.gossip.lsdb().links(peer).iter();
        let others = links.filter(|n| n.established && n.peer != us).count();
        others >= ENOUGH && view.routes.is_reachable(peer) && !self.is_on_ring(peer, view)
    }

    /// Returns true if an acceptor has links enough to refuse one more to `peer`, which finds it through others.
    pub(crate) fn has_enough_without(&self, peer: &PeerId, view: ControlView<'_>) -> bool {
        self.discovery
            && self.selection.sparse()
            && view.links.neighbours().count() >= MAX_DEGREE
            && !self.wants_link(peer)
            && self.has_others(peer, view)
    }

    /// Returns true if links are selected, and the other ends are told which.
    pub(crate) fn selects(&self) -> bool {
        self.discovery
    }

    /// Returns the links to end among the spare ones: those that no end wants, and one that is too many. `kept` is the number
    /// of links that are wanted here and carry data.
    pub(crate) fn superfluous(
        &self,
        mut spare: Vec<SpareLink>,
        kept: usize,
        view: ControlView<'_>,
    ) -> (Vec<ConnId>, Option<ConnId>) {
        if kept < ENOUGH {
            return (Vec::new(), None);
        }
        spare.retain(|spare| self.has_others(&spare.peer, view));
        let (unwanted, rest): (Vec<SpareLink>, Vec<SpareLink>) =
            spare.into_iter().partition(|spare| spare.unwanted_there);
        let unwanted: Vec<ConnId> = unwanted.iter().map(|spare| spare.conn).collect();
        let left = view.links.neighbours().count() - unwanted.len();
        // One at a time: the next look is at what is left.
        let slowest = |spare: &&SpareLink| view.paths.direct(&spare.peer).map(|direct| direct.rtt);
        let one = rest.iter().max_by_key(slowest).map(|spare| spare.conn);
        (unwanted, one.filter(|_| left > MAX_DEGREE))
    }

    // Warm start

    /// Returns true once, when links are selected as usual because those from before the start have had their time.
    pub(crate) fn warm_start_ends(&mut self, now: Instant) -> bool {
        self.warm_start.ends(now)
    }

    /// Hands out the selected neighbours, if they have changed for good.
    pub(crate) fn remember_links(&mut self, view: ControlView<'_>, now: Instant) {
        if !self.discovery {
            return;
        }
        let neighbours = view.links.neighbours().map(|(peer, _)| *peer);
        // The other end remembers those that only it selected.
        let chosen = neighbours.filter(|peer| self.wants_link(peer));
        let neighbours: Vec<PeerId> = chosen.take(MAX_WARM_START).collect();
        if self.warm_start.is_news(&neighbours, now) {
            let all = neighbours.iter().map(|peer| stored(peer, view));
            let all = all.filter(|router| !router.addresses.is_empty()).collect();
            self.effects.push_back(NeighbourEffect::Neighbours(all));
        }
    }

    // Reach

    /// Dials targets again that were suppressed because of peers that are out of reach now.
    pub(crate) fn reconsider(&mut self, is_reachable: impl Fn(&PeerId) -> bool, now: Instant) {
        self.targets.reconsider(is_reachable, now);
    }

    /// Dials peers soon that came within reach.
    pub(crate) fn came_within_reach(
        &mut self,
        is_one: impl Fn(&PeerId) -> bool,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let spread = self.dial_spread();
        self.targets.came_within_reach(is_one, spread, now, entropy);
    }

    // What is known

    /// Returns the explicit targets, as typed.
    pub(crate) fn explicit(&self) -> impl Iterator<Item = &str> {
        self.targets.explicit()
    }

    /// Returns all targets.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&TargetKey, &DialTarget)> {
        self.targets.iter()
    }

    /// Returns true if this router was told to be linked to that one, or was before its start.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.targets
            .explicit_peers()
            .any(|explicit| explicit == *peer)
            || self.warm_start.knows(peer)
    }

    /// Returns the addresses of the explicit targets, and those of the neighbours from before the start.
    pub(crate) fn known_addresses(&self) -> Vec<SocketAddr> {
        let explicit = self.targets.iter().filter_map(|(key, target)| match key {
            TargetKey::Explicit(_) => target.address,
            TargetKey::Discovered(_) => None,
        });
        explicit.chain(self.warm_start.all_addresses()).collect()
    }

    /// Returns the words that were forgotten, each once.
    pub(crate) fn forgotten_words(&self) -> Vec<String> {
        let all = self.forgotten.all().iter();
        let mut words: Vec<String> = all.map(|f| f.target.clone()).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// Returns the time of the next dial.
    pub(crate) fn next_dial(&self) -> Option<Instant> {
        self.targets.next_deadline()
    }

    /// Returns the time at which that of the neighbours from before the start ends.
    pub(crate) fn next_warm_start(&self) -> Option<Instant> {
        self.warm_start.next_deadline()
    }
}

/// Returns a neighbour with its addresses, as it is kept for the next start.
fn stored(peer: &PeerId, view: ControlView<'_>) -> StoredNeighbour {
    let slot = view.links.to(peer);
    let dialled = slot
        .filter(|slot| slot.is_outbound())
        .map(LinkSlot::address);
    let others = view.addresses_of(peer).into_iter();
    let others = others.filter(|address| Some(*address) != dialled);
    StoredNeighbour {
        peer: *peer,
        addresses: dialled
            .into_iter()
            .chain(others)
            .take(MAX_CANDIDATES)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
