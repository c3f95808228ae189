//! Neighbour selection (an active view as in HyParView). Up to [`FULL_MESH`] routers: all. Above: a few, so that links,
//! heartbeats and gossip cost the same in a mesh of any size.
//!
//! Each router chooses the next two identities on the ring of all within reach, so that all links together are
//! connected by construction, and two at random, so that every way is short; a selected router need not select back.
//! The operator's targets stay. A link that neither end wants any more goes; above [`crate::limits::MAX_DEGREE`] a router
//! gives up links that only the other end wants, if that has others. A link that the ring needs never goes.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::PeerId;
use crate::limits::{DECLINED_FOR, FULL_MESH, RING_LINKS};
use crate::time::Instant;

/// Selection of one router.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// True if the mesh is too large for links to all. Ends well below where it begins, or a router that comes and goes would
    /// make and break them all.
    sparse: bool,
    chosen: BTreeSet<PeerId>,
    /// Routers that have links enough, and since when.
    declined: BTreeMap<PeerId, Instant>,
}

impl Selection {
    /// Returns true if the mesh is too large for links to all.
    pub(super) fn sparse(&self) -> bool {
        self.sparse
    }

    /// Returns true if a peer is selected.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.chosen.contains(peer)
    }

    /// Returns the selected peers.
    pub(super) fn chosen(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.chosen.iter().copied()
    }

    /// Selects these peers.
    pub(super) fn set(&mut self, chosen: BTreeSet<PeerId>) {
        self.chosen = chosen;
    }

    /// Takes note of a peer that has links enough.
    pub(super) fn declined(&mut self, peer: PeerId, now: Instant) {
        self.declined.insert(peer, now);
    }

    /// Takes note of the size of the mesh. Returns true if it is too large for links to all.
    pub(super) fn is_sparse(&mut self, others: usize) -> bool {
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
    pub(super) fn choose(
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
pub(super) fn ring_after(me: PeerId, all: &[PeerId]) -> impl Iterator<Item = PeerId> + '_ {
    let at = all.partition_point(|peer| *peer <= me);
    let round = all.iter().cycle().skip(at).take(all.len());
    round
        .filter(move |peer| **peer != me)
        .take(RING_LINKS)
        .copied()
}

/// Returns the winners of a lottery that `me` holds: each router draws others, and a newcomer rarely changes the winners.
pub(super) fn lottery<'a>(
    me: PeerId,
    all: impl Iterator<Item = &'a PeerId>,
    prizes: usize,
) -> Vec<PeerId> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_DEGREE, RANDOM_LINKS};
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
        let mut selection = Selection::default();
        selection.choose(me, all, RANDOM_LINKS, |_| false, Instant::ZERO);
        selection.chosen
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
        let mut selection = Selection::default();
        assert!(!selection.is_sparse(FULL_MESH - 1));
        assert!(selection.is_sparse(FULL_MESH));
        assert!(selection.is_sparse(FULL_MESH - 1));
        assert!(!selection.is_sparse(FULL_MESH / 2));
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
        let mut selection = Selection::default();
        let again = |peer: &PeerId| before.contains(peer);
        selection.choose(me, &all, RANDOM_LINKS, again, Instant::ZERO);
        let drawn = before
            .iter()
            .filter(|p| selection.chosen.contains(p))
            .count();
        assert_eq!(drawn, RANDOM_LINKS);
        selection.choose(me, &all[..55], RANDOM_LINKS, again, Instant::ZERO);
        assert!(selection.chosen.contains(&all[50]), "the one that is left");
        assert_eq!(selection.chosen.len(), RING_LINKS + RANDOM_LINKS);
    }

    #[test]
    fn who_has_enough_is_not_drawn_again_for_a_while() {
        let all = peers(100);
        let mut selection = Selection::default();
        selection.choose(all[0], &all, RANDOM_LINKS, |_| false, Instant::ZERO);
        let drawn = *selection
            .chosen
            .iter()
            .find(|p| **p != all[1] && **p != all[2])
            .unwrap();
        selection.declined.insert(drawn, Instant::ZERO);
        selection.choose(all[0], &all, RANDOM_LINKS, |_| false, Instant::ZERO);
        assert!(!selection.chosen.contains(&drawn));
        assert_eq!(selection.chosen.len(), RING_LINKS + RANDOM_LINKS);
        selection.choose(
            all[0],
            &all,
            RANDOM_LINKS,
            |_| false,
            Instant::ZERO + DECLINED_FOR,
        );
        assert!(selection.chosen.contains(&drawn));
    }

    proptest! {
        #[test]
        fn a_router_that_comes_or_goes_changes_few_choices(n in 40usize..200, gone in any::<prop::sample::Index>()) {
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
