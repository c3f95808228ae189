//! The control plane of one router: links, targets, gossip, sessions and paths, put together.
//!
//! [`Control`] only routes inputs to its parts and effects to the shell. Inputs are `handle_*` calls with `now`;
//! effects come out of [`Control::poll_output`]; [`Control::next_deadline`] says when [`Control::handle_timeout`] wants
//! to be called. The simulator and the router drive the same code.
//!
//! | file | what it decides |
//! |---|---|
//! | `agreement` | which settings others have otherwise |
//! | `targets`, `dial`, `elsewhere` | whom to dial, when again, and whom not because of who is within reach |
//! | `kept` | whose routes stay while their link is dialled again |
//! | `costs` | what the links to neighbours are said to cost |
//! | `remembered` | whom to dial first, at the next start |
//! | `degree` | with whom to be linked, in a small mesh and in a large one |
//! | `links`, `connections` | the table of TCP links; their life from opening to end |
//! | `strangers` | how many that are not known may dial, and how long they wait after a wrong secret |
//! | `admission` | whether an authenticated peer is let in |
//! | `gossip` | which records are taken, and how gaps are found |
//! | `spread`, `untold`, `asked` | which news go to which neighbour, what it is yet to be told, and what is missed |
//! | `clones` | whether somebody else uses this router's key |
//! | `own`, `pace` | what this router says of itself, and how soon anew |
//! | `topics` | what others than the control plane say through it, to all |
//! | `unicast` | what they say to one router |
//! | `contests` | who is right about an address that several routers announce, and what operators are told |
//! | `moves` | how often a container moved to another router, and which MACs flap |
//! | `observed` | which of our addresses, as neighbours see them, to announce |
//! | `paths` | which address reaches a peer directly |
//! | `underlay` | which ways lead through the mesh itself, and are none |
//! | `sources` | from which address of this host datagrams leave |
//! | `compare` | whether another address of a peer is better than the one in use |
//! | `flows` | which datagrams leave from a second port |
//! | `probe` | the bodies of probes |
//! | `sizes` | how long datagrams may be on each direct path |
//! | `data` | what the lanes report, and the sessions they need |
//! | `heartbeat` | which probes are due, and what follows from those that come or fail to |
//! | `held` | which other router announces which address |
//! | `fast` | with which peers plain VXLAN is exchanged |
//! | `publish` | routes, and what the host is told of others |
//! | `snapshot` | the snapshot the lanes read |
//! | `resume` | how a router begins that is as if it had run before |
//! | `report` | what `mesh status` and `mesh report` show |

pub mod admission;
mod agreement;
mod compare;
mod connections;
mod contests;
mod costs;
mod data;
mod degree;
mod dial;
mod elsewhere;
mod fast;
mod flows;
mod forgotten;
mod gossip;
mod heartbeat;
mod held;
mod hold_down;
mod inspect;
mod io;
mod kept;
pub mod links;
mod moves;
mod observed;
pub mod paths;
pub mod probe;
mod publish;
mod remembered;
mod report;
mod resume;
mod sizes;
mod snapshot;
mod sources;
mod strangers;
mod target_text;
pub mod targets;
mod underlay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::fastpath::{FastPaths, FastPeers};
use crate::forward::throttle::TokenBucket;
use crate::forward::{Forwarder, Snapshot};
use crate::ids::{ConnId, PeerId};
use crate::limits;
use crate::room;
use crate::session::Sessions;
use crate::time::Instant;
use crate::topology::bodies::{Attached, IdentityBody};
use crate::topology::record::{RecordError, Verifier};
use crate::topology::routes::Routes;
use crate::topology::topic::{RecordKey, Topic};
use crate::wire::message::LinkMessage;

use self::contests::Contests;
use self::costs::Costs;
use self::degree::Degree;
use self::flows::Flows;
pub use self::flows::SparePort;
use self::forgotten::Forgets;
pub use self::forgotten::{Forgot, Forgotten};
pub use self::gossip::Said;
use self::gossip::{Gossip, GossipEffect};
pub use self::held::{HeldAddresses, Holder};
use self::hold_down::HoldDown;
pub use self::io::{Config, Ending, Note, Output};
use self::kept::Kept;
use self::links::Links;
use self::moves::Moves;
use self::observed::Observed;
use self::paths::Paths;
use self::remembered::Memory;
pub use self::remembered::Remembered;
use self::sizes::Sizes;
use self::sources::Sources;
use self::strangers::{Familiar, Strangers};
use self::targets::{Retry, Targets};
use self::underlay::{AllOut, Looped};
pub use self::underlay::{Way, Ways};

/// The control plane of one router.
pub struct Control {
    config: Config,
    entropy: Box<dyn Entropy + Send>,
    forwarder: Arc<Forwarder>,
    me: PeerId,
    gossip: Gossip,
    routes: Arc<Routes>,
    links: Links,
    kept: Kept,
    targets: Targets,
    degree: Degree,
    forgotten: Forgets,
    memory: Memory,
    sessions: Sessions,
    paths: Paths,
    sizes: Sizes,
    flows: Flows,
    costs: Costs,
    fast: FastPaths,
    /// What the host was told last.
    fast_peers: Arc<FastPeers>,
    snapshot: Arc<Snapshot>,
    outputs: VecDeque<Output>,
    next_conn: u64,
    /// Peers we hold a session with for frames (neighbours are held anyway), and when a frame last went there.
    wanted: BTreeMap<PeerId, Instant>,
    next_probe: Instant,
    topology_dirty: bool,
    /// The links are others than before, or what is said of them.
    neighbours_dirty: bool,
    /// What is said of the links stays as it is until then.
    links_said_until: Instant,
    snapshot_dirty: bool,
    /// Routers whose announcements the lanes are to be told anew.
    announced_dirty: BTreeSet<PeerId>,
    contests: Contests,
    moves: Moves,
    /// No snapshot is made before, and no routes are computed before.
    not_before: Instant,
    routes_hold_down: HoldDown,
    settle_until: Instant,
    observed: Observed,
    ways: Box<dyn Ways + Send>,
    looped: Looped,
    sources: Sources,
    /// Whether it was said that no further names are bound to keys.
    pins_full: bool,
    penalty_alerts: TokenBucket,
    strangers: Strangers,
    familiar: Familiar,
}

impl Control {
    /// A router that has just started.
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
        let me = config.identity.id();
        let identity = config.identity.clone();
        let mut gossip = Gossip::new(identity, config.epoch, who(&config), verifier, now)?;
        let sessions = Sessions::new(
            config.identity.clone(),
            config.epoch,
            config.secret.session_psk(),
            config.suites,
        );
        let routes = Arc::new(Routes::compute(gossip.lsdb(), me));
        gossip.note_reach(&routes, now);
        gossip.routes_changed(routes.clone());
        let snapshot = Arc::new(Snapshot::alone(me, config.epoch, config.mtu, now));
        let mut control = Self {
            entropy,
            forwarder,
            me,
            gossip,
            routes,
            links: Links::default(),
            kept: Kept::default(),
            targets: Targets::default(),
            degree: Degree::default(),
            forgotten: Forgets::new(core::mem::take(&mut config.forgotten)),
            memory: Memory::new(core::mem::take(&mut config.remembered), now),
            sessions,
            paths: Paths::default(),
            sizes: Sizes::default(),
            flows: Flows::default(),
            costs: Costs::default(),
            fast: FastPaths::default(),
            fast_peers: Arc::default(),
            snapshot,
            outputs: VecDeque::new(),
            next_conn: 1,
            wanted: BTreeMap::new(),
            next_probe: now,
            topology_dirty: true,
            neighbours_dirty: true,
            links_said_until: now,
            snapshot_dirty: true,
            announced_dirty: BTreeSet::new(),
            contests: Contests::default(),
            moves: Moves::default(),
            not_before: now,
            routes_hold_down: HoldDown::default(),
            settle_until: now,
            observed: Observed::default(),
            ways: Box::new(AllOut),
            looped: Looped::default(),
            sources: Sources::default(),
            pins_full: false,
            penalty_alerts: TokenBucket::new(limits::PENALTY_ALERTS, limits::PENALTY_ALERTS),
            strangers: Strangers::default(),
            familiar: Familiar::default(),
            config,
        };
        control.flush(now);
        Ok(control)
    }

    /// Who this router is.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Whether the operator named routers to dial.
    pub fn has_targets(&self) -> bool {
        self.targets.explicit().next().is_some()
    }

    /// The next effect to carry out, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        room::give_back_entries(&mut self.outputs);
        self.outputs.pop_front()
    }

    /// When [`Control::handle_timeout`] wants to be called, and what for.
    pub fn next_deadline(&self) -> (Instant, &'static str) {
        let mut next = (self.next_probe, "probe");
        let mut offer = |at: Option<Instant>, what| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, what);
            }
        };
        offer(Some(self.sizes.next_deadline()), "path MTU");
        offer(self.paths.next_expiry(), "silent path");
        offer(self.paths.next_ask(), "path heartbeat");
        offer(self.kept.next_deadline(), "route without a link");
        offer(self.gossip.next_publish(), "publish record");
        let links = self.neighbours_dirty.then_some(self.links_said_until);
        offer(links, "links to say");
        offer(self.targets.next_deadline(), "dial");
        offer(self.memory.next_deadline(), "choice of links");
        offer(self.sessions.next_deadline().map(|(at, _)| at), "session");
        let routes = self.routes_hold_down.not_before(true).max(self.not_before);
        offer(self.topology_dirty.then_some(routes), "routes");
        offer(self.gossip.next_request(), "ask again");
        let dirty = self.snapshot_dirty || !self.announced_dirty.is_empty();
        offer(dirty.then_some(self.not_before), "snapshot");
        for (_, slot) in self.links.iter() {
            offer(slot.next_due(), "link");
            offer(slot.link.next_deadline(), "handshake");
        }
        let push = self.gossip.next_push(|conn| self.links.has_room_on(conn));
        offer(push, "gossip");
        next
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick_links(now);
        self.tick_paths(now);
        self.tick_kept(now);
        self.tick_sizes(now);
        self.gossip.tick_duplicate(now);
        self.drain_gossip(now);
        self.tick_flaps(now);
        self.tick_contests(now);
        self.tick_looped(now);
        self.gossip.tick_requests(now);
        self.drain_gossip(now);
        self.tick_memory(now);
        self.sessions.handle_timeout(now, &mut *self.entropy);
        self.dial_due(now);
        self.flush(now);
    }

    // What the host tells

    /// The containers attached on this host changed.
    pub fn set_attached(&mut self, attached: &[Attached], now: Instant) {
        let attached = self.with_moves(attached);
        self.gossip.set_attached(&attached);
        self.flush(now);
    }

    /// The host's own underlay addresses changed.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>, now: Instant) {
        self.config.endpoints = endpoints;
        self.refresh_endpoints();
        // What there was no route to may be reached now.
        self.targets.try_again(now);
        self.flush(now);
    }

    pub(super) fn refresh_endpoints(&mut self) {
        let mut all = self.config.endpoints.clone();
        all.extend(
            self.observed
                .addresses()
                .into_iter()
                // A neighbour may see us at an address that leads through the mesh.
                .filter(|a| !self.config.endpoints.contains(a) && self.leads_out(*a)),
        );
        all.truncate(limits::MAX_ENDPOINTS);
        self.gossip.set_endpoints(all);
    }

    /// Ends all links in good order; the router is about to stop.
    pub fn shut_down(&mut self, now: Instant) {
        let conns: Vec<ConnId> = self.links.iter().map(|(conn, _)| conn).collect();
        for conn in conns {
            if let Some(slot) = self.links.get_mut(conn).filter(|slot| slot.up) {
                slot.send(&LinkMessage::Bye {
                    reason: "that router was stopped".to_owned(),
                });
            }
            self.drop_link(conn, "this router is stopping", Retry::Later, now);
        }
    }

    // After every input

    /// Publishes what changed: the own record, the routes, the snapshot; sends what gossip has to send.
    pub(super) fn flush(&mut self, now: Instant) {
        self.drain_sessions(now);
        if self.neighbours_dirty && now >= self.links_said_until {
            self.refresh_neighbours(now);
        }
        self.gossip.publish(now);
        self.drain_gossip(now);
        let routes_due = self.topology_dirty && now >= self.routes_hold_down.not_before(true);
        if (routes_due || self.snapshot_dirty) && now >= self.not_before {
            self.rebuild(now);
            self.not_before = now + limits::DEBOUNCE;
        } else if !self.announced_dirty.is_empty() && now >= self.not_before {
            self.tell_announced(now);
            self.not_before = now + limits::DEBOUNCE;
        }
        self.send_gossip(now);
    }

    /// Carries out what gossip asks for.
    pub(super) fn drain_gossip(&mut self, now: Instant) {
        while let Some(effect) = self.gossip.poll_effect() {
            match effect {
                GossipEffect::Send(conn, message) => self.links.send(conn, &message),
                GossipEffect::Unicast {
                    conn,
                    message,
                    forwarded,
                } => {
                    let has_room = self.links.has_room_on(conn);
                    if has_room {
                        self.links.send(conn, &message);
                        self.drain_link(conn);
                    }
                    self.gossip.unicast_sent(forwarded, has_room);
                }
                GossipEffect::CompareAt(conn, at) => {
                    if let Some(slot) = self.links.get_mut(conn) {
                        slot.compare_at(at);
                    }
                }
                GossipEffect::CompareSoon(conn) => {
                    if let Some(slot) = self.links.get_mut(conn) {
                        slot.compare_soon(now);
                    }
                }
                GossipEffect::Changed(key) => self.changed(key),
                // The keys of its earlier run are gone; frames would go into a session that it does not have.
                GossipEffect::Restarted(peer, epoch) => self.sessions.forget_before(peer, epoch),
                GossipEffect::EpochRaised(epoch) => {
                    // Others take only handshakes and broadcasts of an epoch that is not older than the last they saw.
                    self.config.epoch = epoch;
                    self.sessions.raise_epoch(epoch);
                    self.snapshot_dirty = true;
                    self.outputs.push_back(Output::Epoch(epoch));
                }
                GossipEffect::Received { from, topic, body } => {
                    self.outputs.push_back(Output::Told { from, topic, body });
                }
                GossipEffect::Note(note) => self.note(note),
            }
        }
    }

    /// Draws the consequences of a changed record, by topic.
    fn changed(&mut self, key: RecordKey) {
        match key.topic {
            Topic::IDENTITY | Topic::LINKS => {
                self.topology_dirty = true;
                self.tell_underlay(key.origin);
                // An address that a neighbour announces itself is not announced for it.
                self.neighbours_dirty |=
                    key.topic == Topic::IDENTITY && self.links.of_peer(&key.origin).is_some();
            }
            Topic::ATTACHED => {
                self.announced_dirty.insert(key.origin);
            }
            _ if key.topic.is_built_in() => {}
            _ => self.outputs.push_back(Output::Said(key)),
        }
    }

    /// Sends what gossip has to send, link by link, as far as each has room.
    fn send_gossip(&mut self, now: Instant) {
        let links = &self.links;
        for conn in self.gossip.due(|conn| links.has_room_on(conn), now) {
            while self.links.has_room_on(conn)
                && let Some(message) = self.gossip.next_message(conn, now)
            {
                self.links.send(conn, &message);
            }
            self.drain_link(conn);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    pub(super) fn body_of(&self, peer: &PeerId) -> Option<&IdentityBody> {
        self.gossip.identity(peer)
    }

    /// `name(nickname)`, or the bare identity of a peer whose record is not known.
    pub(super) fn display(&self, peer: &PeerId) -> String {
        match self.body_of(peer) {
            Some(body) => body.to_string(),
            None => peer.to_string(),
        }
    }
}

fn who(config: &Config) -> IdentityBody {
    IdentityBody {
        endpoints: config.endpoints.clone(),
        ..IdentityBody::new(&config.identity, config.name, config.nickname.clone())
    }
}

/// How long a discovered peer is left to dial us first, when its identity is the lower one.
const POLITE: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests;
