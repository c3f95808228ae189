//! The control plane of one router: links, neighbours, gossip, paths and routing, put together.
//!
//! [`Control`] only routes inputs of the shell to its parts; `ControlParts` routes the effects of each part to
//! the others and to the shell. Inputs are `handle_*` calls with `now`; effects come out of [`Control::poll_output`];
//! [`Control::next_deadline`] says when [`Control::handle_timeout`] must be called. The simulator and the router drive the
//! same code.
//!
//! | part | what it owns |
//! |---|---|
//! | `links` | TCP connections, who is let in, and neighbours whose link is dialled again |
//! | `neighbours` | targets and their dials, the selection of neighbours |
//! | `gossip` | the database, the records of this router, what waits for each neighbour |
//! | `paths` | direct paths, path MTUs, ports and addresses of this host |
//! | `routing` | routes, announced adjacencies and containers, the snapshot that the lanes read |
//! | `report` | what `mesh status` and `mesh report` show |
//!
//! | file | subject |
//! |---|---|
//! | `connections` | connections, from what the shell reports to the parts |
//! | `follow` | the parts together, and what follows from the effects of each |
//! | `timer` | deadlines |
//! | `upkeep` | what ends because of time or of others |
//! | `view` | what the parts know together |
//! | `hold_down` | when an action may be repeated |
//! | `io` | configuration and effects |
//! | `note` | lines for the log |

mod connections;
mod follow;
mod gossip;
mod hold_down;
mod io;
mod links;
mod neighbours;
mod note;
mod paths;
mod report;
mod routing;
mod timer;
mod upkeep;
mod view;

use core::time::Duration;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::api::ControlReport;
use crate::crypto::secret::SecretKind;
use crate::entropy::Entropy;
use crate::fastpath::{Beat, Local};
use crate::forward::{Forwarder, LaneEvent};
use crate::ids::{PeerId, PeerName};
use crate::limits;
use crate::room;
use crate::session::{Directory, Sessions};
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::bodies::{Attached, IdentityBody};
use crate::topology::lsdb::Lsdb;
use crate::topology::record::{SignedRecord, Verifier};
use crate::topology::routes::Routes;
use crate::wire::topic::{RecordKey, Topic};
use crate::wire::via::Via;

use self::follow::{ControlChange, ControlParts};
pub use self::gossip::Announcement;
use self::gossip::Gossip;
pub use self::io::{Config, Output};
pub use self::links::Ending;
use self::links::Links;
pub use self::neighbours::target_text as targets;
pub use self::neighbours::{Forgot, Forgotten, StoredNeighbour};
use self::neighbours::{NeighbourSetup, Neighbours};
pub use self::note::Note;
use self::paths::Paths;
pub use self::paths::{RouteLookup, SparePort, UnderlayRoute, probe};
use self::routing::Routing;
pub use self::routing::{JoinedNetwork, RemoteAddresses, RemoteAttached, RightfulRouter};
use self::timer::Timer;

/// Time that the links of a router that resumes have to become what is announced of them.
const LINKING: Duration = Duration::from_secs(5);

/// The control plane of one router.
pub struct Control {
    parts: ControlParts,
    /// Time of the next housekeeping, once a second.
    next_heartbeat: Instant,
}

/// The X25519 keys in the database.
struct KnownKeys<'a>(&'a Lsdb);

impl Directory for KnownKeys<'_> {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        let body = self.0.identity(peer);
        body.is_some_and(|body| body.dh_key == *dh_key)
    }
}

impl Control {
    /// Creates the control plane of a router that has just started.
    ///
    /// # Errors
    /// When the configuration cannot be put into a record (nickname too long, too many endpoints).
    pub fn new(
        mut config: Config,
        forwarder: Arc<Forwarder>,
        verifier: Arc<dyn Verifier + Send + Sync>,
        entropy: Box<dyn Entropy + Send>,
        now: Instant,
    ) -> Result<Self, RecordError> {
        let (identity, me) = (config.identity.clone(), config.identity.id());
        let mut gossip = Gossip::new(
            identity.clone(),
            config.epoch,
            introduction(&config),
            verifier,
            now,
        )?;
        let routes = Arc::new(Routes::compute(gossip.lsdb(), me));
        gossip.note_reach(&routes, now);
        gossip.routes_changed(routes.clone());
        let psk = config.secret.session_psk();
        let setup = NeighbourSetup {
            me,
            port: config.port,
            discovery: config.discovery,
            stored_neighbours: core::mem::take(&mut config.stored_neighbours),
            forgotten: core::mem::take(&mut config.forgotten),
        };
        let strict = config.secret.kind() == SecretKind::Open;
        let pins = core::mem::take(&mut config.pins);
        let lanes = (config.epoch, config.mtu);
        let parts = ControlParts {
            entropy,
            sessions: Sessions::new(identity, config.epoch, psk, config.suites),
            links: Links::new((config.name, me), pins, strict),
            neighbours: Neighbours::new(setup, now),
            gossip,
            paths: Paths::new(me, config.discovery),
            routing: Routing::new(me, forwarder, routes, lanes, now),
            attached: Vec::new(),
            outputs: VecDeque::new(),
            config,
        };
        let mut control = Self {
            parts,
            next_heartbeat: now,
        };
        control.parts.flush(now);
        Ok(control)
    }

    /// Takes over what another router of the mesh holds and sees, which has records of this one in this run: the links in
    /// those stay announced for a few seconds, until they are there.
    ///
    /// For simulations of meshes in which a beginning from nothing would cost more than all that follows. To be called once,
    /// before anything else happens; a record of another run than [`Config::epoch`] is overtaken as ever.
    pub fn resume(&mut self, lsdb: &Lsdb, routes: &Routes, now: Instant) {
        self.parts.gossip.resume(lsdb, now);
        self.parts.routing.resume(lsdb, LINKING, now);
        self.parts.take_routes(routes.seen_by(self.me()), now);
        self.parts.routing.snapshot_changed();
        self.parts.flush(now);
    }

    /// Returns the next effect to carry out, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        room::give_back_entries(&mut self.parts.outputs);
        self.parts.outputs.pop_front()
    }

    // Time

    /// Returns the time at which [`Control::handle_timeout`] wants to be called, and the name of what is due then.
    pub fn next_deadline(&self) -> (Instant, &'static str) {
        let mut next = (self.next_heartbeat, Timer::Heartbeat);
        for (timer, at) in self.deadlines() {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, timer);
            }
        }
        (next.0, next.1.name())
    }

    fn deadlines(&self) -> [(Timer, Option<Instant>); 15] {
        let session = self.parts.sessions.next_deadline().map(|(at, _)| at);
        let push = self
            .parts
            .gossip
            .next_push(|conn| self.parts.links.has_room_on(conn));
        [
            (Timer::PathMtu, Some(self.parts.paths.next_size())),
            (Timer::SilentPath, self.parts.paths.next_expiry()),
            (Timer::PathProbe, self.parts.paths.next_probe()),
            (
                Timer::GracefulRestart,
                self.parts.links.next_graceful_restart(),
            ),
            (Timer::Publish, self.parts.gossip.next_publish()),
            (Timer::Adjacencies, self.parts.routing.next_adjacencies()),
            (Timer::Dial, self.parts.neighbours.next_dial()),
            (Timer::WarmStart, self.parts.neighbours.next_warm_start()),
            (Timer::Session, session),
            (Timer::Routes, self.parts.routing.next_routes()),
            (Timer::Request, self.parts.gossip.next_request()),
            (Timer::Snapshot, self.parts.routing.next_snapshot()),
            (Timer::Link, self.parts.links.next_due()),
            (Timer::Push, push),
            (Timer::Handshake, self.parts.links.next_handshake()),
        ]
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick_links(now);
        self.tick_paths(now);
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + self.parts.entropy.jitter(limits::HEARTBEAT, 10);
            self.heartbeat(now);
        }
        self.parts.tick_graceful_restart(now);
        self.parts.paths.tick_sizes(now, &mut *self.parts.entropy);
        self.parts.drain_paths(now);
        self.parts.gossip.tick_duplicate(now);
        self.parts.drain_gossip(now);
        self.parts.routing.tick_flaps(&self.parts.gossip, now);
        self.parts.routing.tick_contests(&self.parts.gossip, now);
        self.parts.drain_routing();
        self.parts.tick_looped(now);
        self.parts.gossip.tick_requests(now);
        self.parts.drain_gossip(now);
        if self.parts.neighbours.warm_start_ends(now) {
            self.parts.discover(now);
        }
        self.parts
            .sessions
            .handle_timeout(now, &mut *self.parts.entropy);
        self.dial_due(now);
        self.parts.flush(now);
    }

    /// Does the housekeeping of each second.
    fn heartbeat(&mut self, now: Instant) {
        let (neighbours, view, _) = self.parts.with_neighbours();
        neighbours.doubt_targets(view, now);
        self.parts.prune_links(now);
        let (neighbours, view, _) = self.parts.with_neighbours();
        neighbours.remember_links(view, now);
        self.parts.drain_neighbours();
        let (links, paths) = (&self.parts.links, &self.parts.paths);
        if self
            .parts
            .routing
            .costs_changed(links, paths, &self.parts.gossip, now)
        {
            self.parts.announce_adjacencies(now);
        }
        self.parts.paths.note_use(&self.parts.sessions, now);
        self.parts.keep_sessions(now);
        let (paths, around, entropy) = self.parts.with_paths();
        paths.heartbeat(around, now, entropy);
        paths.refresh_sources(now);
        self.parts.drain_paths(now);
        self.parts.gossip.expire(now);
        self.parts.drain_gossip(now);
    }

    fn tick_paths(&mut self, now: Instant) {
        for peer in self.parts.paths.expire(now) {
            self.parts.path_died(peer, now);
        }
        let (paths, around, entropy) = self.parts.with_paths();
        paths.probe_due(around, now, entropy);
        self.parts.drain_paths(now);
    }

    // What the lanes report

    /// Takes what a lane met and cannot decide alone.
    pub fn handle_lane(&mut self, event: LaneEvent, now: Instant) {
        match event {
            LaneEvent::NeedSession(peer) => self.want_session(peer, now),
            LaneEvent::Handshake { via, bytes } => self.take_handshake(via, &bytes, now),
            LaneEvent::Confirmed { index, .. } => self.parts.sessions.confirmed(index, now),
            LaneEvent::EndpointSeen { peer, address } => {
                let (paths, around, entropy) = self.parts.with_paths();
                paths.endpoint_seen(peer, address, around, now, entropy);
                self.parts.drain_paths(now);
            }
            LaneEvent::Probe {
                peer,
                via: Via::Direct(from),
                body,
                ..
            } => {
                let (paths, around, entropy) = self.parts.with_paths();
                paths.take_probe(peer, (from, &body), around, now, entropy);
                self.parts.drain_paths(now);
            }
            // A probe tests an underlay path; one that was relayed tests nothing.
            LaneEvent::Probe { .. } => {}
            // The sender will notice the silence, or has begun a handshake already.
            LaneEvent::UnknownIndex { .. } => {}
        }
        self.parts.flush(now);
    }

    /// Takes what a lane met and cannot decide alone, in a datagram that came to the address `local` of this host.
    pub fn handle_lane_at(&mut self, event: LaneEvent, local: Option<IpAddr>, now: Instant) {
        self.parts.paths.answer_from(&event, local, now);
        self.parts.drain_paths(now);
        self.handle_lane(event, now);
        self.parts.paths.answered();
    }

    fn take_handshake(&mut self, via: Via, bytes: &[u8], now: Instant) {
        let directory = KnownKeys(self.parts.gossip.lsdb());
        // Refusals are counted where they are found.
        let _ = self.parts.sessions.handle_datagram(
            bytes,
            via,
            &directory,
            now,
            &mut *self.parts.entropy,
        );
    }

    fn want_session(&mut self, peer: PeerId, now: Instant) {
        let Some(dh_key) = self.parts.dh_key(&peer) else {
            return;
        };
        if self.parts.paths.want(peer, now) {
            self.parts.suggest_addresses(peer);
            self.parts
                .sessions
                .want(peer, dh_key, now, &mut *self.parts.entropy);
        }
    }

    /// Takes a beat that came by VXLAN; nothing of it is authenticated.
    pub fn handle_beat(&mut self, beat: Beat, now: Instant) {
        self.parts.paths.beat(beat, now);
        self.parts.drain_paths(now);
        self.parts.flush(now);
    }

    // What the host tells

    /// Announces these containers, which are attached on this host; those in networks of which this router is no member as
    /// soon as it is one.
    pub fn set_attached(&mut self, attached: &[Attached], now: Instant) {
        self.parts.set_attached(attached, now);
    }

    /// Replaces the memberships of this host in networks other than `default`, at most [`limits::MAX_NETWORKS_HERE`]. Tables of
    /// networks that are no longer among them are dropped.
    pub fn set_networks(&mut self, memberships: Vec<JoinedNetwork>, now: Instant) {
        self.parts.set_networks(memberships, now);
    }

    /// Announces these underlay addresses of the host.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>, now: Instant) {
        self.parts.config.endpoints = endpoints;
        self.parts.refresh_endpoints();
        // Targets to which there was no route may be reached now.
        self.parts.neighbours.try_again(now);
        self.parts.flush(now);
    }

    /// Sets the route lookup of the host.
    pub fn set_route_lookup(&mut self, lookup: Box<dyn RouteLookup + Send>) {
        self.parts.paths.set_route_lookup(lookup);
    }

    /// Offers plain VXLAN to the peers that the operator consents to. To be called once, at the start.
    pub fn set_fastpath(&mut self, local: Local) {
        self.parts.paths.set_fastpath(local);
    }

    /// Believes the rightful owners of addresses that several routers announce in a network; asks `rightful` for them once a
    /// second; to be called whenever that may have changed.
    pub fn settle_contests(&mut self, rightful: RightfulRouter<'_>, now: Instant) {
        self.parts.routing.settle_contests(rightful, now);
    }

    // What the operator tells

    /// `mesh connect`: adds targets, or replaces the whole list.
    ///
    /// # Errors
    /// A sentence naming the first target that is malformed or does not fit; nothing is changed then.
    pub fn connect(
        &mut self,
        targets: &[String],
        replace: bool,
        now: Instant,
    ) -> Result<(), String> {
        let (neighbours, view, _) = self.parts.with_neighbours();
        neighbours.connect(targets, replace, view, now)?;
        self.parts.drain_neighbours();
        self.dial_due(now);
        self.parts.flush(now);
        Ok(())
    }

    /// `mesh forget`: no longer dials these, neither as targets nor by discovery; live links stay. A name that is bound to a
    /// key is freed. Returns the outcome of each, in their order.
    pub fn forget(&mut self, targets: &[String]) -> Vec<Forgot> {
        let mut done = Vec::with_capacity(targets.len());
        for text in targets {
            let name = text.parse::<PeerName>().ok();
            let unpinned = name.filter(|name| self.parts.links.unpin(*name));
            self.parts.outputs.extend(unpinned.map(Output::Unpin));
            let (neighbours, view, _) = self.parts.with_neighbours();
            done.push(neighbours.forget(text, unpinned.is_some(), view));
        }
        self.parts.neighbours.save_targets();
        self.parts.neighbours.save_forgotten();
        self.parts.drain_neighbours();
        done
    }

    /// Returns the explicit targets, as typed.
    pub fn explicit_targets(&self) -> Vec<String> {
        let targets = self.parts.neighbours.explicit();
        targets.map(str::to_owned).collect()
    }

    /// Returns true if the operator named routers to dial.
    pub fn has_targets(&self) -> bool {
        self.parts.neighbours.explicit().next().is_some()
    }

    fn dial_due(&mut self, now: Instant) {
        for (key, row) in self.parts.neighbours.due(now) {
            let conn = self.parts.links.new_conn();
            let (neighbours, view, entropy) = self.parts.with_neighbours();
            neighbours.dial(conn, (&key, row), view, now, entropy);
        }
        self.parts.drain_neighbours();
    }

    // What other parts of the router announce and tell

    /// Announces `body` about `topic` from now on, to all routers; an empty one withdraws the last. Published at once after
    /// a quiet time, else with the next record ([`Topic::hold_down`]); to be announced again after a restart.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own.
    pub fn announce(
        &mut self,
        topic: Topic,
        body: Vec<u8>,
        now: Instant,
    ) -> Result<(), RecordError> {
        self.parts.gossip.announce(topic, body)?;
        self.parts.flush(now);
        Ok(())
    }

    /// Returns the announcements of all routers about a topic, this one included, in order of their identities.
    /// [`Output::Announcement`] tells when one changed, [`Output::Reach`] when others are within reach than before.
    pub fn announcements(&self, topic: Topic) -> impl Iterator<Item = Announcement<'_>> {
        self.parts.gossip.announcements(topic)
    }

    /// Returns the announcement of one router about a topic.
    pub fn announcement(&self, origin: PeerId, topic: Topic) -> Option<Announcement<'_>> {
        self.parts.gossip.announcement(origin, topic)
    }

    /// Sends `body` about `topic` to one router. It may be lost.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own, or the body too long.
    pub fn send_unicast(
        &mut self,
        to: PeerId,
        topic: Topic,
        body: &[u8],
        now: Instant,
    ) -> Result<(), RecordError> {
        self.parts.gossip.originate_unicast(to, topic, body)?;
        self.parts.drain_gossip(now);
        self.parts.flush(now);
        Ok(())
    }

    // What is known

    /// Returns the identity of this router.
    pub fn me(&self) -> PeerId {
        self.parts.config.identity.id()
    }

    /// Returns every router of which a record is held, within reach or not, this one included.
    pub fn identities(&self) -> impl Iterator<Item = (PeerId, &IdentityBody)> {
        let records = self.parts.gossip.lsdb().about(Topic::IDENTITY);
        records.filter_map(|(record, _)| Some((record.origin(), record.as_identity()?)))
    }

    /// Returns the routers to which there is a route, this one included, in order.
    pub fn reachable(&self) -> Vec<PeerId> {
        self.parts.routing.routes().reachable().collect()
    }

    /// Returns the digest on which all members of this part of the mesh agree once it is quiet.
    pub fn digest(&self) -> [u8; 16] {
        self.parts.gossip.digest()
    }

    /// Returns a record, as it is held.
    pub fn record(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.parts.gossip.lsdb().get(key)
    }

    /// Returns the number of records taken from others so far.
    pub fn records_taken(&self) -> u64 {
        self.parts.gossip.counters().accepted
    }

    /// Returns the control plane's part of the report.
    pub fn report(&self, now: Instant) -> ControlReport {
        self.parts.status(now).report()
    }

    /// Returns the tables that grow with what others say: name, entries, and the bound from [`limits`].
    pub fn tables(&self) -> Vec<(&'static str, usize, usize)> {
        self.parts.status(Instant::ZERO).tables()
    }
}

fn introduction(config: &Config) -> IdentityBody {
    IdentityBody {
        endpoints: config.endpoints.clone(),
        ..IdentityBody::new(&config.identity, config.name, config.nickname.clone())
    }
}

#[cfg(test)]
mod tests;
