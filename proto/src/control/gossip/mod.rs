//! Gossip: the database of all routers' records, the records of this router, and how both ends of each link come to agree.
//!
//! Inputs are messages of neighbours ([`Gossip::message`]), links that come up and end, and the routes; effects come out of
//! [`Gossip::poll_effect`], and what waits for a link out of [`Gossip::next_message`]. The model is Plumtree (eager push along
//! broadcast trees, lazy push beside them) with anti-entropy over a tree of digests.
//!
//! | file | subject |
//! |---|---|
//! | `messages` | messages of neighbours: which records are taken, and how gaps are found |
//! | `push` | how updates are propagated |
//! | `queue` | what waits for one neighbour |
//! | `requests` | requests in flight |
//! | `peering` | the state of gossip with one neighbour |
//! | `origination` | the records of this router, and their hold-down |
//! | `duplicate_identity` | another router with the key of this one |
//! | `unicast` | messages to one router |
//! | `announcement` | announcements about topics of others |
//! | `effect` | effects and counters |

mod announcement;
mod duplicate_identity;
mod effect;
mod messages;
mod origination;
mod peering;
mod push;
mod queue;
mod requests;
mod unicast;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::ids::{ConnId, PeerId};
use crate::limits::{MAX_CANDIDATES, MAX_HOPS};
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::bodies::{Attached, IdentityBody, Neighbour};
use crate::topology::lsdb::Lsdb;
use crate::topology::record::{SignedRecord, Verifier};
use crate::topology::routes::Routes;
use crate::topology::unicast::SignedUnicast;
use crate::wire::message::LinkMessage;
use crate::wire::topic::{RecordKey, Topic};

use super::note::Note;
pub use announcement::Announcement;
use duplicate_identity::DuplicateIdentity;
pub(crate) use effect::{GossipCounters, GossipEffect};
use origination::LocalRecords;
use peering::Peering;
use requests::Requests;
use unicast::Unicasts;

/// Gossip of one router.
pub(crate) struct Gossip {
    me: PeerId,
    verifier: Arc<dyn Verifier + Send + Sync>,
    lsdb: Lsdb,
    own: LocalRecords,
    requests: Requests,
    links: BTreeMap<ConnId, Peering>,
    by_peer: BTreeMap<PeerId, ConnId>,
    routes: Arc<Routes>,
    duplicate: DuplicateIdentity,
    counters: GossipCounters,
    unicasts: Unicasts,
    effects: VecDeque<GossipEffect>,
}

impl Gossip {
    /// Creates the gossip of a router that has just started, with its identity record.
    ///
    /// # Errors
    /// When the body breaks a bound (a nickname too long, …).
    pub(crate) fn new(
        identity: Arc<Identity>,
        epoch: u64,
        body: IdentityBody,
        verifier: Arc<dyn Verifier + Send + Sync>,
        now: Instant,
    ) -> Result<Self, RecordError> {
        let me = identity.id();
        let own = LocalRecords::new(identity, epoch, body)?;
        let mut lsdb = Lsdb::default();
        lsdb.insert(own.introduction().clone(), now);
        Ok(Self {
            me,
            verifier,
            lsdb,
            own,
            requests: Requests::default(),
            links: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            routes: Arc::new(Routes::none(me)),
            duplicate: DuplicateIdentity::default(),
            counters: GossipCounters::default(),
            unicasts: Unicasts::new(me),
            effects: VecDeque::new(),
        })
    }

    /// Takes over the database of another router of the mesh, and our records of this run in it ([`super::Control::resume`]).
    pub(crate) fn resume(&mut self, lsdb: &Lsdb, now: Instant) {
        self.lsdb = lsdb.clone();
        self.lsdb.insert(self.own.introduction().clone(), now);
        if let Some(links) = lsdb.get(RecordKey::new(self.me, Topic::LINKS)) {
            self.own.resume(links.clone());
        }
    }

    /// Returns the next effect, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<GossipEffect> {
        self.effects.pop_front()
    }

    // Links

    /// Begins gossip on a link that is up. One end compares, for both.
    pub(crate) fn link_up(&mut self, conn: ConnId, peer: PeerId, outbound: bool) {
        self.links.insert(conn, Peering::new(peer));
        self.by_peer.insert(peer, conn);
        if outbound {
            self.compare(conn);
        }
    }

    /// Ends gossip on a link.
    pub(crate) fn link_down(&mut self, conn: ConnId) {
        if let Some(link) = self.links.remove(&conn)
            && self.by_peer.get(&link.peer) == Some(&conn)
        {
            self.by_peer.remove(&link.peer);
        }
    }

    /// Compares the databases of both ends of a link.
    pub(crate) fn compare(&mut self, conn: ConnId) {
        let digest = LinkMessage::Digest(self.digest());
        self.effects.push_back(GossipEffect::Send(conn, digest));
    }

    /// Records that a peer refused our link because it has one to us already, while we have none at all: a duplicate identity
    /// has it, which also keeps from us what gossip could tell.
    pub(crate) fn refused_as_duplicate(&mut self, address: SocketAddr, now: Instant) {
        let who = format!("the router at {address} is linked to it");
        self.suspect(who, false, now);
    }

    fn suspect(&mut self, who: String, introduced: bool, now: Instant) {
        if self.duplicate.met(who, introduced, now)
            && let Some(warning) = self.duplicate.warning()
        {
            self.note(Note::Warn(warning));
        }
    }

    /// Reports the end of a suspicion of a duplicate identity.
    pub(crate) fn tick_duplicate(&mut self, now: Instant) {
        if self.duplicate.ended(now) {
            self.note(Note::Info(
                "no other router uses this router's key any more".to_owned(),
            ));
        }
    }

    fn note(&mut self, note: Note) {
        self.effects.push_back(GossipEffect::Note(note));
    }

    // Messages to one router

    /// Sends `body` about `topic` to one router. It may be lost.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own, or the body too long.
    pub(crate) fn originate_unicast(
        &mut self,
        to: PeerId,
        topic: Topic,
        body: &[u8],
    ) -> Result<(), RecordError> {
        if topic.is_built_in() {
            return Err(RecordError::BuiltIn(topic));
        }
        let message = self.own.sign_unicast(topic, to, body)?;
        self.send_unicast(message, MAX_HOPS, None);
        Ok(())
    }

    /// Sends a message towards its destination, not back to where it came from.
    fn send_unicast(&mut self, message: SignedUnicast, hops: u8, from: Option<PeerId>) {
        let next = self.routes.next_hop(&message.destination());
        let next = next
            .map(|(peer, _)| peer)
            .filter(|peer| Some(*peer) != from && hops > 0);
        let Some(conn) = next.and_then(|peer| self.by_peer.get(&peer)).copied() else {
            self.unicasts.count(from.is_some(), false);
            return;
        };
        let bytes = message.into_bytes();
        self.effects.push_back(GossipEffect::Unicast {
            conn,
            message: LinkMessage::Unicast { hops, bytes },
            forwarded: from.is_some(),
        });
    }

    /// Counts a [`GossipEffect::Unicast`] that was sent, or dropped for want of room.
    pub(crate) fn unicast_sent(&mut self, forwarded: bool, sent: bool) {
        self.unicasts.count(forwarded, sent);
    }

    // Our own records

    /// Announces `body` about `topic` from now on; an empty one withdraws the last announcement.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own.
    pub(crate) fn announce(&mut self, topic: Topic, body: Vec<u8>) -> Result<(), RecordError> {
        if topic.is_built_in() {
            return Err(RecordError::BuiltIn(topic));
        }
        self.own.set(topic, body);
        Ok(())
    }

    /// Announces these containers from now on.
    pub(crate) fn set_attached(&mut self, attached: &[Attached]) {
        self.own.set_attached(attached);
    }

    /// Announces these addresses for dialling from now on.
    pub(crate) fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        self.own.set_endpoints(endpoints);
    }

    /// Announces these neighbours from now on.
    pub(crate) fn set_neighbours(&mut self, neighbours: &[Neighbour], now: Instant) {
        self.own.set_neighbours(neighbours, now);
    }

    /// Publishes our records that changed and are not held down.
    pub(crate) fn publish(&mut self, now: Instant) {
        match self.own.publish(now) {
            Ok(records) => {
                for record in records {
                    let key = record.key();
                    self.lsdb.insert(record, now);
                    self.propagate(key, None, now);
                    self.effects.push_back(GossipEffect::Changed(key));
                }
            }
            Err(error) => self.note(Note::Warn(format!("cannot announce a change: {error}"))),
        }
    }

    /// Returns the time of the next [`Gossip::publish`] with a change.
    pub(crate) fn next_publish(&self) -> Option<Instant> {
        self.own.next_deadline()
    }

    /// Returns the time of the next [`Gossip::tick_requests`].
    pub(crate) fn next_request(&self) -> Option<Instant> {
        self.requests.next_deadline()
    }

    // The database

    /// Takes the new routes, along which updates are propagated.
    pub(crate) fn routes_changed(&mut self, routes: Arc<Routes>) {
        self.routes = routes;
    }

    /// Records which routers are within reach.
    pub(crate) fn note_reach(&mut self, routes: &Routes, now: Instant) {
        self.lsdb.note_reach(|peer| routes.is_reachable(peer), now);
    }

    /// Takes the routers whose links may have changed since the last call.
    pub(crate) fn take_relinked(&mut self) -> BTreeSet<PeerId> {
        self.lsdb.take_relinked()
    }

    /// Drops the records of routers that have been out of reach for long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let gone = self.lsdb.expire(now);
        self.dropped(gone);
    }

    fn dropped(&mut self, gone: Vec<RecordKey>) {
        if gone.is_empty() {
            return;
        }
        // The queue of a neighbour that does not read would else hold the keys of all routers that ever came and went.
        for link in self.links.values_mut() {
            link.queue.forget(|key| self.lsdb.get(*key).is_none());
        }
        self.effects
            .extend(gone.into_iter().map(GossipEffect::Changed));
    }

    /// Returns the database.
    pub(crate) fn lsdb(&self) -> &Lsdb {
        &self.lsdb
    }

    /// Returns the digest of the database.
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.lsdb.digest()
    }

    /// Returns the identity of a router.
    pub(crate) fn identity(&self, peer: &PeerId) -> Option<&IdentityBody> {
        self.lsdb.identity(peer)
    }

    /// Returns `name(nickname)`, or the bare identity of a router without a record.
    pub(crate) fn display(&self, peer: &PeerId) -> String {
        match self.identity(peer) {
            Some(body) => body.to_string(),
            None => peer.to_string(),
        }
    }

    /// Returns the boot epoch of a router, as its identity record says.
    pub(crate) fn epoch_of(&self, peer: &PeerId) -> Option<u64> {
        let identity = self.lsdb.get(RecordKey::new(*peer, Topic::IDENTITY))?;
        Some(identity.version().epoch)
    }

    /// Returns our own identity record as last published.
    pub(crate) fn introduction(&self) -> &SignedRecord {
        self.own.introduction()
    }

    /// Returns the addresses that we announce for dialling.
    pub(crate) fn own_endpoints(&self) -> &[SocketAddr] {
        &self.own.body().endpoints
    }

    /// Returns the underlay addresses that a peer announces, and those at which its neighbours dialled it, without our own.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let identity = self.identity(peer);
        let mut addresses = identity.map_or_else(Vec::new, |body| body.endpoints.clone());
        for neighbour in self.lsdb.links(peer) {
            let Some(other) = self.lsdb.by_prefix(neighbour.peer) else {
                continue;
            };
            let back = self.lsdb.links(&other).iter();
            let dialled = back.filter(|n| n.peer == peer.prefix() && n.outbound);
            for address in dialled.filter_map(|n| n.address) {
                if addresses.len() < 2 * MAX_CANDIDATES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        let ours = self.own_endpoints();
        addresses.retain(|a| !ours.contains(a));
        addresses
    }

    /// Returns the announcements of all routers about a topic, in order of their identities.
    pub(crate) fn announcements(&self, topic: Topic) -> impl Iterator<Item = Announcement<'_>> {
        let records = self.lsdb.about(topic);
        records.map(|(record, reachable)| Announcement::of(record, reachable))
    }

    /// Returns the announcement of one router about a topic.
    pub(crate) fn announcement(&self, origin: PeerId, topic: Topic) -> Option<Announcement<'_>> {
        let record = self.lsdb.get(RecordKey::new(origin, topic))?;
        Some(Announcement::of(record, self.lsdb.is_reachable(&origin)))
    }

    // The report

    /// Returns the warning of a duplicate identity, while there is a suspicion.
    pub(crate) fn duplicate_warning(&self) -> Option<String> {
        self.duplicate.warning()
    }

    /// Returns the counters.
    pub(crate) fn counters(&self) -> &GossipCounters {
        &self.counters
    }

    /// Returns the counters of messages to one router, with their names.
    pub(crate) fn unicast_report(&self) -> [(&'static str, u64); 5] {
        self.unicasts.report()
    }

    /// Returns the number of requests in flight.
    pub(crate) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Returns the number of records in the longest queue.
    pub(crate) fn longest_queue(&self) -> usize {
        let links = self.links.values();
        links.map(|link| link.queue.len()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
