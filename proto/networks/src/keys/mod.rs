//! Agreement of the members of each network on the key with which they seal broadcasts for one another.
//!
//! Each member *holds* a few keys and *seals* with one of them. In its statement it *announces* those that others may
//! need, by fingerprints ([`KeyAnnouncement`]); the first one is that with which it seals. A member that lacks an
//! announced key asks for it, in a message to one router ([`KeyMessage`]).
//!
//! **Who gets a key.** A member gives keys to a router that states a membership in the network now, as far as it knows,
//! and to no other. The reply is sealed under an ephemeral Diffie-Hellman agreement of both, whose messages are signed
//! by the routers; so relays on the way neither read nor replace a key, and nobody can later. What the reply has is
//! compared with the fingerprint that was asked for. Keys are neither on disk nor in any record: one who copies a state
//! directory cannot open broadcasts that were recorded. After a restart a router gets them from the others; if all
//! members start at once they make a new one, and nothing is lost by that, as broadcasts are not kept.
//!
//! **Which key seals.** There is no number in the order of keys. A member follows *the member with the lowest id*: it
//! seals with the first key that such a member announces, if it holds it, if it is not *stale*, and if it is *ready*:
//! all others announce it, or it was here for [`NETWORK_KEY_SETTLE`]. If there is none, the one with the next id counts. A
//! number (a generation) would be an agreement that no honest member can take back: a member that announces the greatest
//! possible one ends all later changes, and two halves that were apart compare numbers that mean nothing to each other.
//! Here each change can be followed by another one, and an announcement has an effect only as long as its author
//! announces it and gives the key.
//!
//! Why all members within reach of one another end with one key: let A be the member with the lowest id of those whose
//! sealing key is fresh. Nobody before A leads away from it. So it stays with its key, and all others get this key, from A or
//! from any that has it, and seal with it when it is ready. When no sealing key is fresh, one of them makes a new key, as
//! below. Each of these steps has a bound of time, unless all messages are lost.
//!
//! **Changes without loss.** A new key is announced as the *next* one. Others get it, and its maker seals with it when
//! it is ready; they follow. In a network of up to [`NETWORK_KEY_KEEPERS`] members all announce, so no broadcast is lost. In a
//! larger one a member may lose some if it does not get the key within [`NETWORK_KEY_SETTLE`]. The former key opens for
//! [`NETWORK_KEY_LINGER`] longer, then it is erased.
//!
//! **Stale keys.** When a member leaves and does not come back within [`NETWORK_KEY_LEFT`], each key that was here when
//! it left is stale: the one that left may have it. So is one after [`NETWORK_KEY_PERIOD`], and one that any member
//! announces as stale. It seals only as long as there is no other. The member with the lowest id that announces a key
//! makes the next one, the others if it does not within [`NETWORK_KEY_STEP`] each, and each of them only once in
//! [`NETWORK_KEY_HOLD`]. So a member that comes and goes costs one key a minute. A key that was stale when it was erased
//! is remembered by its fingerprint and never fresh again: when a part of the mesh returns that did not hear of the
//! departure, its members' broadcasts are opened, and nobody seals with their key.
//! A router out of reach has not left; one whose record was forgotten has. A router that hears of a departure late, as after a
//! partition, may have a key replaced that was made after it: it cannot tell, and errs on the safe side.
//!
//! **Halves that were apart.** Each member gets the sealing key of the other half to open with it, and all follow the
//! member with the lowest id.
//!
//! **Cost.** Statements go to all routers, so few members announce ([`keepers`]): two statements of each of them for each new
//! key. Requests and replies are two messages for each member and key. A review of one network is in proportion to its
//! members within reach, and happens ten times a second at most.
//!
//! **A hostile member** knows the key, and can give it to others, or speak in the name of another member; no agreement
//! prevents that, and any router of the mesh can state a membership. What it cannot do is wear others out or make its
//! lies stay:
//!
//! - It announces keys and does not give them: they are asked for with back-off, after those of others, and every third
//!   time somebody else is asked. They hold up nothing: what is not held is not followed, and does not keep a new key from
//!   being made. A newcomer who gets none makes one after [`NETWORK_KEY_PATIENCE`].
//! - It replies with another key, or replies late, twice or unasked: dropped, as fingerprint and ephemeral key do not
//!   match. It, or a relay, repeats requests of others: those are not answered again, and do not count against their
//!   authors; the answer would be sealed for a secret that is erased.
//! - It floods requests: a few are answered for each member and network, and so many in all.
//! - It announces other keys all the time: each is asked for within the same rate, held within [`MAX_NETWORK_KEYS`], and not
//!   followed before all have it or [`NETWORK_KEY_SETTLE`] has passed.
//! - It says that fresh keys are stale: a new key a minute.
//!
//! | part | subject |
//! |---|---|
//! | `announcement`, `message` | the bytes that travel |
//! | `board` | announcements of all routers |
//! | `company` | members of one network within reach, and the order of keys |
//! | `ring` | one network: all decisions |
//! | `held`, `asking`, `rotation`, `keepers` | keys, requests, new keys, choice of announcers |

mod announcement;
mod asking;
mod board;
mod company;
mod held;
mod keepers;
mod message;
mod ring;
mod rotation;

pub use announcement::{AnnouncedKey, KeyAnnouncement};
pub use message::{BadKeyMessage, KeyMessage, KeyReply, KeyRequest};

use std::collections::BTreeMap;

use mesh_proto::entropy::Entropy;
use mesh_proto::forward::NetworkKeys;
use mesh_proto::ids::PeerId;
#[cfg(doc)]
use mesh_proto::limits::{
    MAX_NETWORK_KEYS, NETWORK_KEY_HOLD, NETWORK_KEY_KEEPERS, NETWORK_KEY_LEFT, NETWORK_KEY_LINGER,
    NETWORK_KEY_PATIENCE, NETWORK_KEY_PERIOD, NETWORK_KEY_SETTLE, NETWORK_KEY_STEP,
};
use mesh_proto::limits::{NETWORK_KEY_ANSWERS_BURST, NETWORK_KEY_ANSWERS_RATE};
use mesh_proto::network::NetworkId;
use mesh_proto::rate::FixedBucket;
use mesh_proto::time::Instant;

use super::origins::Origins;
use super::statement::NetworksStatement;
use board::KeyBoard;
use company::Company;
use ring::{KeyRing, RingReview};

/// Keys of all networks in which this router has containers.
#[derive(Debug)]
pub(crate) struct KeyRings {
    me: PeerId,
    rings: BTreeMap<NetworkId, KeyRing>,
    board: KeyBoard,
    answers: FixedBucket<NETWORK_KEY_ANSWERS_RATE, NETWORK_KEY_ANSWERS_BURST>,
    /// Messages that were refused or not answered.
    refused: u64,
}

/// Effects of a review of keys.
#[derive(Debug, Default)]
pub(crate) struct KeyReview {
    /// Networks with other keys than before.
    pub(crate) changed: Vec<NetworkId>,
    /// Messages to be sent.
    pub(crate) requests: Vec<(PeerId, Vec<u8>)>,
    /// True if this router announces other keys than before.
    pub(crate) is_announced: bool,
}

impl KeyRings {
    /// Creates the rings of a router that is no member of any network.
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            me,
            rings: BTreeMap::new(),
            board: KeyBoard::default(),
            answers: FixedBucket::default(),
            refused: 0,
        }
    }

    /// Begins the membership of this router.
    pub(crate) fn join(&mut self, network: NetworkId, now: Instant) {
        let ring = self.rings.entry(network);
        ring.or_insert_with(|| KeyRing::new(network, now));
    }

    /// Ends the membership of this router: its keys are erased.
    pub(crate) fn leave(&mut self, network: &NetworkId) {
        self.rings.remove(network);
    }

    /// Returns the keys of a network, the sealing one first.
    pub(crate) fn keys(&self, network: &NetworkId) -> NetworkKeys {
        let ring = self.rings.get(network);
        ring.map(KeyRing::keys).unwrap_or_default()
    }

    /// Returns the extension of this router's membership in a network.
    pub(crate) fn extension(&self, network: &NetworkId) -> Vec<u8> {
        let ring = self.rings.get(network);
        ring.map(|ring| ring.announced().encode())
            .unwrap_or_default()
    }

    /// Returns the number of messages that were refused or not answered.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes note of what another router announces now.
    pub(crate) fn replace(&mut self, origin: PeerId, statement: &NetworksStatement, now: Instant) {
        for network in self.board.replace(origin, statement) {
            self.touch(&network, now);
        }
    }

    /// Takes note that another router announces nothing any more.
    pub(crate) fn forget(&mut self, origin: &PeerId, now: Instant) {
        for network in self.board.forget(origin).keys() {
            self.touch(network, now);
        }
    }

    /// Takes note that another router became a member, or ceased to be one.
    pub(crate) fn note_member(
        &mut self,
        network: &NetworkId,
        peer: PeerId,
        is_member: bool,
        now: Instant,
    ) {
        match self.rings.get_mut(network) {
            Some(ring) if is_member => ring.note_member(&peer, now),
            Some(ring) => ring.note_left(peer, now),
            None => {}
        }
    }

    /// Takes note that there is something to review.
    pub(crate) fn touch(&mut self, network: &NetworkId, now: Instant) {
        if let Some(ring) = self.rings.get_mut(network) {
            ring.touch(now);
        }
    }

    /// Returns the time of the next [`KeyRings::review`].
    pub(crate) fn due(&self) -> Instant {
        let due = self.rings.values().map(KeyRing::due).min();
        due.unwrap_or(Instant::FAR_FUTURE)
    }

    /// Reviews the networks for which it is time.
    pub(crate) fn review(
        &mut self,
        origins: &Origins,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> KeyReview {
        let mut all = KeyReview::default();
        let due = self.rings.iter_mut().filter(|(_, ring)| now >= ring.due());
        for (network, ring) in due {
            let members = origins.members_here(network);
            let announcers = members
                .iter()
                .filter_map(|peer| Some((*peer, self.board.get(peer, network)?)))
                .collect();
            let company = Company {
                me: self.me,
                members,
                announcers,
            };
            let RingReview {
                is_changed,
                is_announced,
                request,
            } = ring.review(&company, entropy, now);
            all.changed.extend(is_changed.then_some(*network));
            all.requests.extend(request);
            all.is_announced |= is_announced;
        }
        all
    }

    /// Handles a message of another router. Returns the reply to it, if there is one.
    pub(crate) fn handle_message(
        &mut self,
        origins: &Origins,
        from: PeerId,
        body: &[u8],
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let (is_taken, reply) = match KeyMessage::decode(body) {
            Ok(KeyMessage::Request(request)) => {
                let reply = self.answer(origins, from, &request, entropy, now);
                (reply.is_some(), reply)
            }
            Ok(KeyMessage::Reply(reply)) => {
                let ring = self.rings.get_mut(&reply.network);
                let is_taken = ring.is_some_and(|ring| ring.take(&self.me, &from, &reply, now));
                (is_taken, None)
            }
            Err(BadKeyMessage) => (false, None),
        };
        self.refused += u64::from(!is_taken);
        reply
    }

    fn answer(
        &mut self,
        origins: &Origins,
        from: PeerId,
        request: &KeyRequest,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let ring = self.rings.get_mut(&request.network)?;
        let is_admitted = from != self.me
            && origins.is_member(&request.network, &from)
            && ring.may_ask(from, request, now)
            && self.answers.take(now);
        is_admitted.then_some(())?;
        ring.answer(&self.me, &from, request, entropy)
    }
}
