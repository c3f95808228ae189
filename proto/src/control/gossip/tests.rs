//! Gossip alone: what one neighbour is told, and what follows from what it says.

use super::*;
use crate::entropy::SeededEntropy;
use crate::topology::record::Ed25519;
use crate::topology::testing;

const CONN: ConnId = ConnId(1);
const NOW: Instant = Instant::ZERO;

impl Gossip {
    /// Replaces the verifier.
    pub(crate) fn set_verifier(&mut self, verifier: Arc<dyn Verifier + Send + Sync>) {
        self.verifier = verifier;
    }

    /// Forgets all that waits for neighbours.
    pub(crate) fn clear_queues(&mut self) {
        for link in self.links.values_mut() {
            link.queue = queue::PeerQueue::default();
        }
    }

    /// Forgets one record that waits for a neighbour.
    pub(crate) fn unqueue(&mut self, conn: ConnId, key: &RecordKey) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.queue.has(key);
        }
    }

    /// Returns the epoch of the records of this router.
    pub(crate) fn own_epoch(&self) -> u64 {
        self.own.epoch()
    }
}

fn gossip(n: u64) -> Gossip {
    let identity = Arc::new(testing::identity(n));
    let body = testing::body_of(&identity);
    Gossip::new(identity, 1, body, Arc::new(Ed25519), NOW).unwrap()
}

fn hand(gossip: &mut Gossip, message: LinkMessage) {
    gossip.message(CONN, message, NOW, &mut SeededEntropy::new(1));
}

fn effects(gossip: &mut Gossip) -> Vec<GossipEffect> {
    core::iter::from_fn(|| gossip.poll_effect()).collect()
}

/// Hands `to` what `from` has to say to it.
fn exchange(from: &mut Gossip, to: &mut Gossip) {
    for effect in effects(from) {
        if let GossipEffect::Send(CONN, message) = effect {
            hand(to, message);
        }
    }
    for conn in from.due(|_| true, NOW) {
        while let Some(message) = from.next_message(conn, NOW) {
            hand(to, message);
        }
    }
}

#[test]
fn the_end_that_dialled_compares_and_differences_lead_to_the_records() {
    let (mut a, mut b) = (gossip(1), gossip(2));
    for gossip in [&mut a, &mut b] {
        // A digest is of the routers within reach.
        let routes = Routes::compute(gossip.lsdb(), gossip.me);
        gossip.note_reach(&routes, NOW);
    }
    a.link_up(CONN, b.me, true);
    b.link_up(CONN, a.me, false);
    for _ in 0..10 {
        exchange(&mut a, &mut b);
        exchange(&mut b, &mut a);
    }
    assert_eq!((a.lsdb().len(), b.lsdb().len()), (2, 2));
}

#[test]
fn what_is_new_is_an_effect_and_waits_for_the_others() {
    let mut gossip = gossip(1);
    let stranger = testing::identity(7);
    let record = testing::record(&stranger, 1, 1, "host");
    let other = ConnId(2);
    gossip.link_up(CONN, PeerId([1; 16]), false);
    gossip.link_up(other, PeerId([2; 16]), false);
    hand(
        &mut gossip,
        LinkMessage::Records(vec![record.bytes().to_vec()]),
    );
    let told = effects(&mut gossip);
    assert!(
        matches!(told[..], [GossipEffect::Changed(key)] if key == record.key()),
        "{told:?}"
    );
    let later = NOW + crate::limits::COALESCE;
    assert_eq!(gossip.next_push(|_| true), Some(later));
    assert_eq!(gossip.next_push(|_| false), None, "no room");
    assert_eq!(gossip.due(|_| true, later), [other]);
    gossip.link_down(other);
    assert_eq!(gossip.next_push(|_| true), None);
}

#[test]
fn a_new_epoch_of_a_peer_is_a_restart() {
    let mut gossip = gossip(1);
    let peer = testing::identity(7);
    gossip.link_up(CONN, peer.id(), false);
    for epoch in [1, 2] {
        let record = testing::record(&peer, epoch, 1, "host");
        hand(
            &mut gossip,
            LinkMessage::Records(vec![record.bytes().to_vec()]),
        );
    }
    let restarts = effects(&mut gossip)
        .into_iter()
        .filter(|effect| matches!(effect, GossipEffect::Restarted(who, 2) if *who == peer.id()));
    assert_eq!(restarts.count(), 1);
}
