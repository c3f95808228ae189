//! With whom to be linked. Up to [`FULL_MESH`] routers: with all. Above: with a few, so that links, heartbeats and gossip
//! cost the same in a mesh of any size.
//!
//! Each router chooses the next two identities on the ring of all within reach, so that all links together are
//! connected by construction, and two at random, so that every way is short; whoever is chosen need not choose back.
//! The operator's targets stay. A link that neither end wants any more goes; above [`MAX_DEGREE`] a router gives up
//! links that only the other end wants, if that has others. What the ring needs never goes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ConnId, PeerId};
use crate::limits::{
    DECLINED_FOR, FULL_MESH, FULL_MESH_DELAY, MAX_DEGREE, RANDOM_LINKS, RING_LINKS, SPARE_AFTER,
    UNREACHABLE_DIALS,
};
use crate::link::AlertCode;
use crate::time::Instant;
use crate::wire::message::LinkMessage;

use super::links::Slot;
use super::targets::Retry;
use super::{Control, POLITE};

/// Links of others that a router must have before one to it is given up.
const ENOUGH: usize = 3;

/// In a larger mesh, the mean time before somebody chosen is dialled: the choice may change, and others dial too.
const SPREAD: Duration = Duration::from_millis(50);

/// The choice of one router.
#[derive(Debug, Default)]
pub(super) struct Degree {
    /// Whether the mesh is too large for links to everybody. Ends well below where it begins, or a router that comes and
    /// goes would make and break them all.
    sparse: bool,
    chosen: BTreeSet<PeerId>,
    /// Routers that have links enough, and since when.
    declined: BTreeMap<PeerId, Instant>,
}

impl Degree {
    /// Takes note of the size of the mesh; whether it is too large for links to everybody.
    fn is_sparse(&mut self, others: usize) -> bool {
        let bound = if self.sparse {
            FULL_MESH * 3 / 4
        } else {
            FULL_MESH - 1
        };
        self.sparse = others > bound;
        self.sparse
    }

    /// Chooses among those within reach, `me` included, in ascending order: those on the ring, and so many at random,
    /// first of all those that were drawn `before`.
    fn choose(
        &mut self,
        me: PeerId,
        reachable: &[PeerId],
        random: usize,
        before: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) {
        self.declined
            .retain(|_, since| now.since(*since) < DECLINED_FOR);
        self.chosen = ring_after(me, reachable).collect();
        if random == 0 {
            return;
        }
        let others = reachable.iter().filter(|peer| {
            **peer != me && !self.chosen.contains(peer) && !self.declined.contains_key(peer)
        });
        let (again, new): (Vec<PeerId>, Vec<PeerId>) = others.partition(|peer| before(peer));
        let again = lottery(me, again.iter(), random);
        let new = lottery(me, new.iter(), random - again.len());
        self.chosen.extend(again.into_iter().chain(new));
    }
}

/// The next [`RING_LINKS`] after `me` on the ring of these identities, which come in ascending order.
fn ring_after(me: PeerId, all: &[PeerId]) -> impl Iterator<Item = PeerId> + '_ {
    let at = all.partition_point(|peer| *peer <= me);
    let round = all.iter().cycle().skip(at).take(all.len());
    round
        .filter(move |peer| **peer != me)
        .take(RING_LINKS)
        .copied()
}

/// The winners of a lottery that `me` holds: others are drawn by everybody else, and a newcomer seldom changes who wins.
fn lottery<'a>(me: PeerId, all: impl Iterator<Item = &'a PeerId>, prizes: usize) -> Vec<PeerId> {
    let mut winners: Vec<(u64, PeerId)> = Vec::with_capacity(prizes + 1);
    for peer in all {
        winners.push((draw(me, *peer), *peer));
        winners.sort_unstable();
        winners.truncate(prizes);
    }
    winners.into_iter().map(|(_, peer)| peer).collect()
}

/// A number that looks random, the same each time (`SplitMix64` of both identities).
fn draw(me: PeerId, peer: PeerId) -> u64 {
    let half = |id: PeerId| u64::from_be_bytes(id.prefix().0);
    let mut x = half(me).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ half(peer);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Control {
    /// Dials whom a link is wanted to.
    pub(super) fn discover(&mut self, now: Instant) {
        if !self.config.discovery {
            return;
        }
        // A router that is only said to be there counts for nothing: anybody may say so of any number.
        let known = self.routes.known();
        let known = known.filter(|peer| *peer != self.me && self.gossip.lsdb().was_reachable(peer));
        let reachable = self.routes.all_reachable();
        // What the operator typed is as random as anything.
        let typed = self.targets.explicit_peers();
        let typed = typed.filter(|peer| self.routes.is_reachable(peer)).count();
        let random = RANDOM_LINKS.saturating_sub(typed);
        let memory = &self.memory;
        let recalled: BTreeSet<PeerId> = memory.recalled().collect();
        if recalled.is_empty() {
            let before = |peer: &PeerId| memory.knows(peer);
            self.degree.choose(self.me, &reachable, random, before, now);
        } else {
            self.degree.chosen.clone_from(&recalled);
        }
        let wanted: Vec<PeerId> = if self.degree.is_sparse(known.clone().count()) {
            // Those that were cut off: whoever of us meets one of them first joins both halves.
            let gone: Vec<PeerId> = self
                .routes
                .unreachable()
                .filter(|p| *p != self.me)
                .collect();
            let gone = lottery(self.me, gone.iter(), UNREACHABLE_DIALS);
            self.degree.chosen.iter().copied().chain(gone).collect()
        } else {
            let only_said = self.routes.unreachable();
            let only_said = only_said.filter(|peer| !self.gossip.lsdb().was_reachable(peer));
            let only_said: Vec<PeerId> = only_said.collect();
            let few = lottery(self.me, only_said.iter(), UNREACHABLE_DIALS);
            let all: BTreeSet<PeerId> = known.chain(recalled).chain(few).collect();
            all.into_iter().collect()
        };
        let unlinked = wanted
            .into_iter()
            .filter(|peer| self.links.of_peer(peer).is_none() && !self.forgotten.has(peer));
        let (first, second): (Vec<_>, Vec<_>) = unlinked.partition(|peer| self.me < *peer);
        // Both ends would dial at once; the higher identity lets the lower one begin. In a large mesh hardly anybody is
        // chosen by whom it chooses.
        let (sparse, delay) = (self.degree.sparse, self.dial_spread());
        let all: Vec<PeerId> = first.iter().chain(&second).copied().collect();
        self.targets
            .set_discovered(&all, delay, now, &mut *self.entropy);
        // In a mesh that starts, everybody knows few others for a moment.
        let later = all.iter().filter(|peer| !self.degree.chosen.contains(peer));
        let later: Vec<PeerId> = later.copied().collect();
        self.targets.delay_new(&later, FULL_MESH_DELAY, now);
        if sparse {
            let chosen = &self.degree.chosen;
            self.targets.hasten(
                |peer| chosen.contains(peer),
                SPREAD,
                now,
                &mut *self.entropy,
            );
        } else {
            self.targets.delay_new(&second, POLITE, now);
        }
    }

    /// The mean time before a peer is dialled that came within reach, or was chosen.
    pub(super) fn dial_spread(&self) -> Duration {
        if self.degree.sparse {
            SPREAD
        } else {
            POLITE / 2
        }
    }

    /// Whether this router wants a link to `peer`.
    pub(super) fn wants_link(&self, peer: &PeerId) -> bool {
        !self.degree.sparse
            || self.degree.chosen.contains(peer)
            || self.targets.explicit_peers().any(|p| p == *peer)
    }

    /// Whether the mesh could fall apart without a link between the two.
    fn is_on_ring(&self, peer: &PeerId) -> bool {
        let reachable = self.routes.all_reachable();
        let after = |a: PeerId, b: PeerId| ring_after(a, &reachable).any(|p| p == b);
        after(self.me, *peer) || after(*peer, self.me)
    }

    /// Whether `peer` can do without a link to this router, as far as it says itself.
    fn has_others(&self, peer: &PeerId) -> bool {
        let us = self.me.prefix();
        let links = self.gossip.lsdb().links(peer).iter();
        let others = links.filter(|n| n.established && n.peer != us).count();
        others >= ENOUGH && self.routes.is_reachable(peer) && !self.is_on_ring(peer)
    }

    /// Whether an acceptor has links enough to refuse one more to `peer`, which finds it through others.
    pub(super) fn has_enough_without(&self, peer: &PeerId) -> bool {
        self.config.discovery
            && self.degree.sparse
            && self.links.neighbours().count() >= MAX_DEGREE
            && !self.wants_link(peer)
            && self.has_others(peer)
    }

    /// The other end has links enough; it is within reach through others.
    pub(super) fn was_declined(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        if self.routes.is_reachable(&peer) {
            self.degree.declined.insert(peer, now);
            self.targets.declined(conn, peer, now);
        }
    }

    /// The other end of a link says whether it wants it.
    pub(super) fn take_wanted(&mut self, conn: ConnId, wanted: bool, now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            slot.peer_unwanted_since = (!wanted).then(|| slot.peer_unwanted_since.unwrap_or(now));
        }
    }

    /// Tells the other ends which links are wanted here, and ends those that nobody wants or that are too many.
    pub(super) fn prune_links(&mut self, now: Instant) {
        if !self.config.discovery {
            return;
        }
        let all: Vec<(PeerId, ConnId)> = self
            .links
            .neighbours()
            .filter_map(|(peer, _)| Some((*peer, self.links.of_peer(peer)?)))
            .collect();
        let (mut spare, mut kept) = (Vec::new(), 0);
        for (peer, conn) in &all {
            let wanted = self.wants_link(peer);
            kept += usize::from(wanted && self.paths.direct(peer).is_some());
            if let Some(slot) = self.links.get_mut(*conn) {
                slot.say_wanted(wanted, now);
                if slot.is_unwanted(now) {
                    spare.push((*peer, *conn, slot.is_unwanted_there(now)));
                }
            }
            self.drain_link(*conn);
        }
        if kept < ENOUGH {
            return;
        }
        spare.retain(|(peer, _, _)| self.has_others(peer));
        for (_, conn, unwanted_there) in &spare {
            if *unwanted_there {
                self.end_link(*conn, "both ends have links enough", now);
            }
        }
        if self.links.neighbours().count() > MAX_DEGREE {
            // One at a time: the next look is at what is left.
            let slowest = |(peer, _, _): &&(PeerId, ConnId, bool)| {
                self.paths.direct(peer).map(|direct| direct.rtt)
            };
            let rest = spare
                .iter()
                .filter(|(_, _, unwanted_there)| !unwanted_there);
            if let Some((_, conn, _)) = rest.max_by_key(slowest).copied() {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.link.refuse(AlertCode::Full);
                }
                self.drop_link(conn, "this router has links enough", Retry::Slowly, now);
            }
        }
    }

    fn end_link(&mut self, conn: ConnId, reason: &str, now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            slot.send(&LinkMessage::Bye {
                reason: reason.to_owned(),
            });
        }
        self.drop_link(conn, reason, Retry::Later, now);
    }
}

impl Slot {
    /// Says whether the link is wanted here, if the other end was not told yet.
    fn say_wanted(&mut self, wanted: bool, now: Instant) {
        self.unwanted_since = (!wanted).then(|| self.unwanted_since.unwrap_or(now));
        if self.told_wanted != wanted && self.room() > 0 {
            self.told_wanted = wanted;
            self.send(&LinkMessage::Wanted(wanted));
        }
    }

    /// Whether the link is up, and not wanted here, for so long that both ends have had time to want it, and the mesh to
    /// come to rest: while it changes, spare links hold it together.
    fn is_unwanted(&self, now: Instant) -> bool {
        is_long_ago(self.up_since(), now) && is_long_ago(self.unwanted_since, now)
    }

    /// Whether the other end has not wanted it for as long as that.
    fn is_unwanted_there(&self, now: Instant) -> bool {
        is_long_ago(self.peer_unwanted_since, now)
    }
}

fn is_long_ago(since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|at| now.since(at) >= SPARE_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peers(n: usize) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = (0..n as u64)
            .map(|i| {
                let half = draw(PeerId([7; 16]), PeerId((u128::from(i) << 64).to_be_bytes()));
                PeerId((u128::from(half) << 64).to_be_bytes())
            })
            .collect();
        peers.sort_unstable();
        peers
    }

    fn chosen(me: PeerId, all: &[PeerId]) -> BTreeSet<PeerId> {
        let mut degree = Degree::default();
        degree.choose(me, all, RANDOM_LINKS, |_| false, Instant::ZERO);
        degree.chosen
    }

    #[test]
    fn the_ring_goes_round() {
        let all = peers(5);
        let after = |i: usize| ring_after(all[i], &all).collect::<Vec<_>>();
        assert_eq!(after(0), [all[1], all[2]]);
        assert_eq!(after(4), [all[0], all[1]]);
        assert_eq!(ring_after(all[0], &all[..1]).count(), 0);
        assert_eq!(ring_after(all[0], &all[..2]).collect::<Vec<_>>(), [all[1]]);
    }

    #[test]
    fn a_mesh_is_sparse_with_some_inertia() {
        let mut degree = Degree::default();
        assert!(!degree.is_sparse(FULL_MESH - 1));
        assert!(degree.is_sparse(FULL_MESH));
        assert!(degree.is_sparse(FULL_MESH - 1));
        assert!(!degree.is_sparse(FULL_MESH / 2));
    }

    #[test]
    fn degrees_are_about_eight_and_ways_are_short() {
        let all = peers(1_000);
        let mut links = BTreeSet::new();
        for me in &all {
            links.extend(chosen(*me, &all).iter().map(|p| (*me.min(p), *me.max(p))));
        }
        let mut degrees = BTreeMap::<PeerId, usize>::new();
        for (a, b) in &links {
            *degrees.entry(*a).or_default() += 1;
            *degrees.entry(*b).or_default() += 1;
        }
        assert!(
            (7_000..=8_000).contains(&(2 * links.len())),
            "{}",
            links.len()
        );
        assert!(degrees.values().all(|d| *d <= MAX_DEGREE));
    }

    #[test]
    fn who_was_drawn_before_is_drawn_again() {
        let all = peers(100);
        let (me, before) = (all[0], [all[50], all[60], all[70]]);
        let mut degree = Degree::default();
        let again = |peer: &PeerId| before.contains(peer);
        degree.choose(me, &all, RANDOM_LINKS, again, Instant::ZERO);
        let drawn = before.iter().filter(|p| degree.chosen.contains(p)).count();
        assert_eq!(drawn, RANDOM_LINKS);
        degree.choose(me, &all[..55], RANDOM_LINKS, again, Instant::ZERO);
        assert!(degree.chosen.contains(&all[50]), "the one that is left");
        assert_eq!(degree.chosen.len(), RING_LINKS + RANDOM_LINKS);
    }

    #[test]
    fn who_has_enough_is_not_drawn_again_for_a_while() {
        let all = peers(100);
        let mut degree = Degree::default();
        degree.choose(all[0], &all, RANDOM_LINKS, |_| false, Instant::ZERO);
        let drawn = *degree
            .chosen
            .iter()
            .find(|p| **p != all[1] && **p != all[2])
            .unwrap();
        degree.declined.insert(drawn, Instant::ZERO);
        degree.choose(all[0], &all, RANDOM_LINKS, |_| false, Instant::ZERO);
        assert!(!degree.chosen.contains(&drawn));
        assert_eq!(degree.chosen.len(), RING_LINKS + RANDOM_LINKS);
        degree.choose(
            all[0],
            &all,
            RANDOM_LINKS,
            |_| false,
            Instant::ZERO + DECLINED_FOR,
        );
        assert!(degree.chosen.contains(&drawn));
    }

    proptest! {
        #[test]
        fn whoever_comes_or_goes_changes_few_choices(n in 40usize..200, gone in any::<prop::sample::Index>()) {
            let all = peers(n);
            let gone = all[gone.index(n)];
            let left: Vec<PeerId> = all.iter().copied().filter(|p| *p != gone).collect();
            for me in &left {
                let (before, after) = (chosen(*me, &all), chosen(*me, &left));
                // One place became free, and perhaps a winner moved on to the ring.
                prop_assert!(before.difference(&after).count() <= 2);
                prop_assert!(before.contains(&gone) || before == after);
            }
        }
    }
}
