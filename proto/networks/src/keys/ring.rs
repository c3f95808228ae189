//! Keys of one network in which this router has containers: what it holds, seals with, announces, lacks and makes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mesh_proto::crypto::dh::DhSecret;
use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::entropy::Entropy;
use mesh_proto::forward::NetworkKeys;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    MAX_ANSWERED_NETWORK_KEY_REQUESTS, MAX_NETWORK_KEYS, MAX_NETWORK_LEFT,
    NETWORK_KEY_ANSWER_BURST, NETWORK_KEY_ANSWER_RATE, NETWORK_KEY_LEFT, NETWORK_KEY_REVIEW,
    NETWORK_KEY_SETTLE, NETWORK_KEY_TICK,
};
use mesh_proto::network::{NetworkId, NetworkKeyPrint};
use mesh_proto::rate::FixedBucket;
use mesh_proto::time::Instant;

use super::announcement::{AnnouncedKey, KeyAnnouncement};
use super::asking::KeyAsking;
use super::company::{Company, KeyOrder};
use super::held::HeldKeys;
use super::keepers::KeeperTurn;
use super::message::{KeyMessage, KeyReply, KeyRequest};
use super::rotation::KeyRotation;

/// Keys of one network.
#[derive(Debug)]
pub(super) struct KeyRing {
    network: NetworkId,
    held: HeldKeys,
    sealing: Option<NetworkKeyPrint>,
    asking: KeyAsking,
    rotation: KeyRotation,
    keepers: KeeperTurn,
    /// Members that left a moment ago.
    left: BTreeMap<PeerId, Instant>,
    /// Requests of each member.
    answered: BTreeMap<PeerId, AnsweredRequests>,
    /// Keys that are held or asked for; all others make room.
    places: Vec<NetworkKeyPrint>,
    /// Keys as they were last reported, the sealing one first.
    reported: Vec<NetworkKeyPrint>,
    announced: KeyAnnouncement,
    reviewed: Instant,
    /// Time of the next review.
    due: Instant,
}

/// Requests of one member for keys of one network.
#[derive(Debug, Default)]
struct AnsweredRequests {
    bucket: FixedBucket<NETWORK_KEY_ANSWER_RATE, NETWORK_KEY_ANSWER_BURST>,
    /// First bytes of the ephemeral keys of the last ones, oldest first.
    recent: VecDeque<[u8; 8]>,
}

/// Effects of a review.
#[derive(Debug, Default)]
pub(super) struct RingReview {
    /// True if the keys are others than before.
    pub(super) is_changed: bool,
    /// True if what is announced is something else.
    pub(super) is_announced: bool,
    /// Request to be sent.
    pub(super) request: Option<(PeerId, Vec<u8>)>,
}

impl KeyRing {
    /// Begins without a key, at the time at which this router becomes a member.
    pub(super) fn new(network: NetworkId, now: Instant) -> Self {
        Self {
            network,
            held: HeldKeys::new(network),
            sealing: None,
            asking: KeyAsking::default(),
            rotation: KeyRotation::new(),
            keepers: KeeperTurn::default(),
            left: BTreeMap::new(),
            answered: BTreeMap::new(),
            places: Vec::new(),
            reported: Vec::new(),
            announced: KeyAnnouncement::default(),
            reviewed: Instant::ZERO,
            due: now,
        }
    }

    /// Returns the keys, the sealing one first.
    pub(super) fn keys(&self) -> NetworkKeys {
        let keys = self.listing().into_iter();
        let keys = keys.filter_map(|print| self.held.get(print));
        NetworkKeys::new(keys.map(|held| Arc::clone(&held.key)).collect())
    }

    /// Returns what this router announces.
    pub(super) fn announced(&self) -> &KeyAnnouncement {
        &self.announced
    }

    /// Returns the time of the next review.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes note that there is something to review. Many changes in a row are reviewed together.
    pub(super) fn touch(&mut self, now: Instant) {
        let soon = (self.reviewed + NETWORK_KEY_REVIEW).max(now);
        self.due = self.due.min(soon);
    }

    /// Takes note that another router became a member, or is one under another label.
    pub(super) fn note_member(&mut self, peer: &PeerId, now: Instant) {
        self.left.remove(peer);
        self.touch(now);
    }

    /// Takes note that another router is no member any more: it may have all keys that this router has by now.
    pub(super) fn note_left(&mut self, peer: PeerId, now: Instant) {
        self.answered.remove(&peer);
        if self.left.len() >= MAX_NETWORK_LEFT {
            self.left.clear();
            self.held.iter_mut().for_each(|held| held.stale = true);
        }
        self.left.insert(peer, now);
        self.touch(now);
    }

    /// Decides all that is to be decided.
    pub(super) fn review(
        &mut self,
        company: &Company<'_>,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> RingReview {
        self.reviewed = now;
        self.note_announced(company, now);
        self.expire_left(now);
        let mut order = self.order(company);
        if self.make(company, &order, entropy, now) {
            order = self.order(company);
        }
        self.choose(company, &order, now);
        self.held.erase_unused(self.sealing, now);
        let announced: Vec<NetworkKeyPrint> = self.sealing.into_iter().chain(order.all()).collect();
        self.places = self.asking.places(&announced);
        let wanted: Vec<NetworkKeyPrint> = self
            .places
            .iter()
            .copied()
            .filter(|print| self.held.get(*print).is_none())
            .collect();
        let request = self
            .asking
            .ask(self.network, &wanted, company, entropy, now);
        let is_announced = self.announce(company, &order, now);
        let listing = self.listing();
        let is_changed = listing != self.reported;
        self.reported = listing;
        self.due = self.next_review(company, &wanted, now);
        RingReview {
            is_changed,
            is_announced,
            request,
        }
    }

    /// Answers a request of another member. The caller limits how many are answered of all members together.
    pub(super) fn answer(
        &mut self,
        me: &PeerId,
        asker: &PeerId,
        request: &KeyRequest,
        entropy: &mut impl Entropy,
    ) -> Option<Vec<u8>> {
        let wanted = request.wanted.iter();
        let mut known = wanted
            .filter_map(|print| self.held.get(*print))
            .map(|held| (&*held.key, held.stale))
            .peekable();
        known.peek()?;
        let secret = DhSecret::from_bytes(entropy.key());
        let transfer = KeyTransfer {
            network: &self.network,
            asker,
            giver: me,
            asker_public: &request.public,
            giver_public: &secret.public(),
        };
        let sealed = transfer.seal(&secret, known).ok()?;
        let reply = KeyReply {
            network: self.network,
            asker_public: request.public,
            giver_public: secret.public(),
            sealed,
        };
        Some(KeyMessage::Reply(reply).encode())
    }

    /// Returns true if this request of a member may be answered. One that was answered before may not, and costs its
    /// member nothing: a relay may have repeated it.
    pub(super) fn may_ask(&mut self, asker: PeerId, request: &KeyRequest, now: Instant) -> bool {
        let answered = self.answered.entry(asker).or_default();
        let [a, b, c, d, e, f, g, h, ..] = request.public;
        let start = [a, b, c, d, e, f, g, h];
        if answered.recent.contains(&start) || !answered.bucket.take(now) {
            return false;
        }
        if answered.recent.len() >= MAX_ANSWERED_NETWORK_KEY_REQUESTS {
            answered.recent.pop_front();
        }
        answered.recent.push_back(start);
        true
    }

    /// Takes the reply of another member. Returns true if it answered a request of this router.
    pub(super) fn take(
        &mut self,
        me: &PeerId,
        giver: &PeerId,
        reply: &KeyReply,
        now: Instant,
    ) -> bool {
        let Some(arrived) = self.asking.take(me, giver, reply) else {
            return false;
        };
        for sent in arrived.keys {
            self.held.make_room(1, &self.places);
            self.held.add(sent.key, sent.stale, arrived.asked, now);
        }
        self.touch(now);
        true
    }

    /// Takes note of what others say of the keys that this router holds, and of their age.
    fn note_announced(&mut self, company: &Company<'_>, now: Instant) {
        let said = company.announcers.iter().flat_map(|(_, says)| &says.keys);
        for key in said {
            if key.stale {
                self.held.note_stale(key.print);
            }
            if key.next {
                self.held.note_next(key.print);
            }
        }
        let firsts = company.announcers.iter();
        let firsts = firsts.filter_map(|(_, says)| says.first());
        for print in firsts.map(|key| key.print).chain(self.sealing) {
            self.held.note_use(print, now);
        }
        let is_old = now >= self.rotation.expires(company);
        if let Some(sealing) = self.sealing.filter(|_| is_old) {
            self.held.note_stale(sealing);
        }
    }

    /// Marks the keys that members may have that left and did not come back.
    fn expire_left(&mut self, now: Instant) {
        let held = &mut self.held;
        self.left.retain(|_, at| {
            let is_over = now >= *at + NETWORK_KEY_LEFT;
            if is_over {
                let known = held.iter_mut().filter(|held| held.since <= *at);
                known.for_each(|held| held.stale = true);
            }
            !is_over
        });
    }

    fn order(&self, company: &Company<'_>) -> KeyOrder {
        company.order(
            &self.own(),
            |print| self.held.is_stale(print),
            |print| self.held.get(print).is_some(),
        )
    }

    /// Returns the keys that this router seals with, or that will replace another one.
    fn own(&self) -> KeyAnnouncement {
        let Some(sealing) = self.sealing else {
            return KeyAnnouncement::default();
        };
        let next = self.held.iter().filter(|held| held.next);
        let next = next.map(|held| held.print);
        let next = next.filter(|print| *print != sealing);
        self.announcement([sealing].into_iter().chain(next))
    }

    fn announcement(&self, prints: impl Iterator<Item = NetworkKeyPrint>) -> KeyAnnouncement {
        let held = prints.filter_map(|print| self.held.get(print));
        let keys = held.map(|held| AnnouncedKey {
            print: held.print,
            stale: held.stale,
            next: held.next,
        });
        KeyAnnouncement {
            keys: keys.take(MAX_NETWORK_KEYS).collect(),
        }
    }

    /// Makes a key, if it is time. Returns true if it did.
    fn make(
        &mut self,
        company: &Company<'_>,
        order: &KeyOrder,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> bool {
        let has_key = self.held.iter().next().is_some();
        let is_replacing = self.sealing.is_some();
        let is_due = if !has_key {
            self.rotation.makes_first(company, now)
        } else if !is_replacing {
            false
        } else if self.has_fresh(order) {
            self.rotation.note_fresh();
            false
        } else {
            let is_expected = !order.fresh.is_empty() || !order.next.is_empty();
            self.rotation.replaces(company, is_expected, now)
        };
        if !is_due {
            return false;
        }
        self.held.make_room(1, self.sealing.as_slice());
        let made = NetworkKey::new(entropy.key());
        let Some(print) = self.held.add(made, false, now, now) else {
            return false;
        };
        if is_replacing {
            self.rotation.note_made(now);
            self.held.note_next(print);
        }
        true
    }

    /// Returns true if this router holds a key that need not be replaced.
    fn has_fresh(&self, order: &KeyOrder) -> bool {
        let mut fresh = order.fresh.iter().chain(&order.next);
        fresh.any(|print| self.held.get(*print).is_some())
    }

    /// Chooses the key that seals: the first in order that all have, as far as this router can tell, or that it has had
    /// for a while.
    fn choose(&mut self, company: &Company<'_>, order: &KeyOrder, now: Instant) {
        let before = self.sealing.filter(|print| self.held.get(*print).is_some());
        let is_ready = |print: &NetworkKeyPrint| {
            let held = self.held.get(*print);
            held.is_some_and(|held| {
                before == Some(*print)
                    || company.is_known_to_all(*print)
                    || now >= held.learnt + NETWORK_KEY_SETTLE
            })
        };
        let mut used = order.fresh.iter().chain(&order.stale).copied();
        let chosen = order.all().find(is_ready).or(before);
        let chosen = chosen
            .or_else(|| used.find(|print| self.held.get(*print).is_some()))
            .or_else(|| self.held.iter().next().map(|held| held.print));
        if chosen != self.sealing {
            self.rotation.note_sealing(self.sealing.is_none(), now);
            self.sealing = chosen;
        }
        if let Some(sealing) = chosen {
            self.held.note_use(sealing, now);
        }
    }

    /// Decides what is announced. Returns true if it is something else than before.
    fn announce(&mut self, company: &Company<'_>, order: &KeyOrder, now: Instant) -> bool {
        // Of the keys to be replaced only those of members that do not know it yet.
        let unaware = order
            .stale
            .iter()
            .filter(|print| company.seals_unaware(**print));
        let others = order.fresh.iter().chain(&order.next).chain(unaware);
        let mut others: Vec<NetworkKeyPrint> = others.copied().collect();
        others.retain(|print| Some(*print) != self.sealing);
        others.sort();
        let own = self.announcement(self.sealing.into_iter().chain(others));
        let is_keeper = self.keepers.is_keeper(company, self.sealing, now);
        let announced = match is_keeper || own == self.announced {
            true => own,
            false => KeyAnnouncement::default(),
        };
        let is_other = announced != self.announced;
        self.announced = announced;
        is_other
    }

    fn listing(&self) -> Vec<NetworkKeyPrint> {
        let others = self.held.iter().map(|held| held.print);
        let others = others.filter(|print| Some(*print) != self.sealing);
        self.sealing.into_iter().chain(others).collect()
    }

    fn next_review(
        &self,
        company: &Company<'_>,
        wanted: &[NetworkKeyPrint],
        now: Instant,
    ) -> Instant {
        let sealing = self.sealing.and_then(|print| self.held.get(print));
        let is_settled = sealing.is_some_and(|held| !held.stale)
            && self.held.iter().count() == 1
            && self.left.is_empty()
            && wanted.is_empty()
            && !self.keepers.is_waiting();
        if is_settled {
            return self.rotation.expires(company).max(now + NETWORK_KEY_REVIEW);
        }
        let wait = self.asking.wait(wanted, now);
        let wait = wait.map_or(NETWORK_KEY_TICK, |wait| wait.max(NETWORK_KEY_REVIEW));
        now + wait.min(NETWORK_KEY_TICK)
    }
}
