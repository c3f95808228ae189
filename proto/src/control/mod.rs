//! The control plane of one router: links, targets, gossip, sessions and paths, put together.
//!
//! [`Control`] only routes inputs to its parts and effects to the shell. Inputs are `handle_*` calls with `now`;
//! effects come out of [`Control::poll_output`]; [`Control::next_deadline`] says when [`Control::handle_timeout`] wants
//! to be called. The simulator and the router drive the same code.
//!
//! | file | what it decides |
//! |---|---|
//! | `targets` | whom to dial, and when again |
//! | `links` | the table of TCP links, heartbeats, silence |
//! | `admission` | whether an authenticated peer is let in |
//! | `gossip` | which records go to which neighbour |
//! | `own` | what this router says of itself |
//! | `paths` | which address reaches a peer directly |
//! | `data` | what the lanes report, and the sessions they need |
//! | `publish` | the snapshot the lanes read |
//! | `report` | what `mesh status` and `mesh report` show |

pub mod admission;
mod data;
mod gossip;
mod inspect;
pub mod links;
pub mod own;
pub mod paths;
mod publish;
mod report;
pub mod targets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use core::time::Duration;

use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::entropy::Entropy;
use crate::forward::{Forwarder, Snapshot};
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits;
use crate::link::{AlertCode, Link, LinkConfig, LinkError, LinkEvent, LinkRole};
use crate::session::Sessions;
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::{Attached, RecordBody, RecordError, SignedRecord, Verifier};
use crate::topology::routes::Routes;

use self::links::{Links, Slot};
use self::own::OwnRecord;
use self::paths::Paths;
use self::targets::{DialTo, Retry, TargetKey, Targets};

/// What a router is told at its start.
pub struct Config {
    /// Its keys.
    pub identity: Arc<Identity>,
    /// What guards the mesh.
    pub secret: Arc<MeshSecret>,
    /// Boot epoch, raised and persisted before.
    pub epoch: u64,
    /// Its name.
    pub name: PeerName,
    /// Its human name; at most [`limits::MAX_NICKNAME`] bytes.
    pub nickname: String,
    /// TCP and UDP port.
    pub port: u16,
    /// Addresses others may dial.
    pub endpoints: Vec<SocketAddr>,
    /// Whether peers learnt by gossip are dialled.
    pub discovery: bool,
    /// MTU inside the mesh.
    pub mtu: u16,
    /// Names and the signing keys they were first seen with.
    pub pins: BTreeMap<PeerName, [u8; 32]>,
}

/// An effect for the shell to carry out.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection; answer with `handle_connected` or `handle_closed`.
    Dial {
        /// Its handle.
        conn: ConnId,
        /// Where to; names are resolved now.
        to: DialTo,
    },
    /// Write to a connection; answer with `handle_written`.
    Send {
        /// Which connection.
        conn: ConnId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection after what was written; no answer is wanted.
    Close {
        /// Which connection.
        conn: ConnId,
    },
    /// Send a UDP datagram.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// The lanes are to read this from now on.
    Publish(Arc<Snapshot>),
    /// A name is bound to a key from now on: keep it.
    Pin(PeerName, [u8; 32]),
    /// A name is free again: forget its key.
    Unpin(PeerName),
    /// The explicit targets changed: keep them.
    Targets(Vec<String>),
    /// Something an operator may want to read; at most one line.
    Note(Note),
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Normal life: a link came up, a peer left.
    Info(String),
    /// Something is wrong and somebody should look.
    Warn(String),
}

/// The control plane of one router.
pub struct Control {
    config: Config,
    verifier: Arc<dyn Verifier + Send + Sync>,
    entropy: Box<dyn Entropy + Send>,
    forwarder: Arc<Forwarder>,
    me: PeerId,
    own: OwnRecord,
    lsdb: Lsdb,
    routes: Routes,
    links: Links,
    targets: Targets,
    sessions: Sessions,
    paths: Paths,
    snapshot: Arc<Snapshot>,
    outputs: VecDeque<Output>,
    next_conn: u64,
    /// Peers we hold a session with for frames (neighbours are held anyway), and when a frame last went there.
    wanted: BTreeMap<PeerId, Instant>,
    next_probe: Instant,
    topology_dirty: bool,
    snapshot_dirty: bool,
    not_before: Instant,
    settle_until: Instant,
    gossip_counters: gossip::Counters,
    observed: BTreeSet<SocketAddr>,
    overtaken: VecDeque<Instant>,
}

impl Control {
    /// A router that has just started.
    ///
    /// # Errors
    /// When the configuration cannot be put into a record (nickname too long, too many endpoints).
    pub fn new(
        config: Config,
        forwarder: Arc<Forwarder>,
        verifier: Arc<dyn Verifier + Send + Sync>,
        entropy: Box<dyn Entropy + Send>,
        now: Instant,
    ) -> Result<Self, RecordError> {
        let me = config.identity.id();
        let own = OwnRecord::new(config.identity.clone(), first_record(&config))?;
        let mut lsdb = Lsdb::default();
        lsdb.insert(own.signed().clone(), now);
        let sessions = Sessions::new(
            config.identity.clone(),
            config.epoch,
            config.secret.session_psk(),
        );
        let routes = Routes::compute(&lsdb, me);
        let snapshot = Arc::new(Snapshot::alone(me, config.epoch, config.mtu, now));
        let mut control = Self {
            verifier,
            entropy,
            forwarder,
            me,
            own,
            lsdb,
            routes,
            links: Links::default(),
            targets: Targets::default(),
            sessions,
            paths: Paths::default(),
            snapshot,
            outputs: VecDeque::new(),
            next_conn: 1,
            wanted: BTreeMap::new(),
            next_probe: now,
            topology_dirty: true,
            snapshot_dirty: true,
            not_before: now,
            settle_until: now,
            gossip_counters: gossip::Counters::default(),
            observed: BTreeSet::new(),
            overtaken: VecDeque::new(),
            config,
        };
        control.flush(now);
        Ok(control)
    }

    /// Who this router is.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// The next effect to carry out, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
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
        offer(self.own.next_deadline(), "publish record");
        offer(self.targets.next_deadline(), "dial");
        offer(self.sessions.next_deadline().map(|(at, _)| at), "session");
        offer(
            (self.topology_dirty || self.snapshot_dirty).then_some(self.not_before),
            "snapshot",
        );
        for (_, slot) in self.links.iter() {
            offer(slot.next_due(), "link");
            offer(slot.link.next_deadline(), "handshake");
        }
        next
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick_links(now);
        self.tick_paths(now);
        self.sessions.handle_timeout(now, &mut *self.entropy);
        self.dial_due(now);
        self.flush(now);
    }

    // Targets

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
        for target in targets {
            targets::parse_target(target, self.config.port)?;
        }
        let kept = if replace {
            0
        } else {
            self.targets.explicit().count()
        };
        if kept + targets.len() > limits::MAX_TARGETS {
            return Err(format!(
                "too many targets: a router keeps at most {}",
                limits::MAX_TARGETS
            ));
        }
        if replace {
            self.targets.retain_explicit(targets);
        }
        self.targets.add_explicit(targets.iter().cloned(), now);
        self.save_targets();
        self.dial_due(now);
        self.flush(now);
        Ok(())
    }

    /// `mesh forget`: stops dialling these targets (live links stay), or forgets the key pinned to a name.
    pub fn forget(&mut self, targets: &[String]) {
        for text in targets {
            self.targets.forget(text);
            if let Ok(name) = text.parse::<PeerName>()
                && self.config.pins.remove(&name).is_some()
            {
                self.outputs.push_back(Output::Unpin(name));
            }
        }
        self.save_targets();
    }

    /// The explicit targets, as typed.
    pub fn explicit_targets(&self) -> Vec<String> {
        self.targets.explicit().map(str::to_owned).collect()
    }

    fn save_targets(&mut self) {
        let targets = self.explicit_targets();
        self.outputs.push_back(Output::Targets(targets));
    }

    fn dial_due(&mut self, now: Instant) {
        for (key, tries) in self.targets.due(now) {
            let to = match &key {
                TargetKey::Explicit(text) => targets::parse_target(text, self.config.port).ok(),
                TargetKey::Discovered(peer) => {
                    self.discovered_address(peer, tries).map(DialTo::Address)
                }
            };
            let conn = self.new_conn();
            self.targets.dialling(&key, conn);
            match to {
                Some(to) if self.links.has_room() => {
                    self.outputs.push_back(Output::Dial { conn, to });
                }
                Some(_) => self.dial_failed(
                    conn,
                    "this router has as many links as it may",
                    Retry::Slowly,
                    now,
                ),
                None => self.dial_failed(
                    conn,
                    "no address of that router is known",
                    Retry::Slowly,
                    now,
                ),
            }
        }
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    fn dial_failed(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        self.targets
            .failed(conn, error, retry, now, &mut *self.entropy);
    }

    /// The addresses of a discovered peer, one after the other: its own, then those others reach it at.
    fn discovered_address(&self, peer: &PeerId, tries: usize) -> Option<SocketAddr> {
        let addresses = self.addresses_of(peer);
        addresses.get(tries.checked_rem(addresses.len())?).copied()
    }

    // Connections

    /// Somebody dialled us. The shell gets a handle, or `None` when there is no room: close it at once.
    pub fn handle_accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId> {
        if !self.links.has_room() {
            return None;
        }
        let conn = self.new_conn();
        self.open_link(conn, from, LinkRole::Acceptor, now);
        Some(conn)
    }

    /// A dial succeeded.
    pub fn handle_connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant) {
        self.targets.reached(conn, to);
        self.open_link(conn, to, LinkRole::Dialler, now);
    }

    fn open_link(&mut self, conn: ConnId, address: SocketAddr, role: LinkRole, now: Instant) {
        let config = LinkConfig {
            identity: self.config.identity.clone(),
            secret: self.config.secret.clone(),
            record: self.own.signed().clone(),
            features: 0,
        };
        let outbound = matches!(role, LinkRole::Dialler);
        let link = Link::new(role, &config, now, &mut *self.entropy);
        let evicted = self
            .links
            .insert(conn, Slot::new(link, address, outbound, now));
        if let Some(evicted) = evicted {
            self.drop_link(
                evicted,
                "made room for newer connections",
                Retry::Later,
                now,
            );
        }
        self.pump_link(conn, now);
        self.flush(now);
    }

    /// Bytes arrived on a connection.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            let before = slot.link.records();
            slot.link.handle_bytes(bytes, now, &mut *self.entropy);
            // A damaged length makes the link wait for bytes that mean nothing: those are no sign of life.
            if slot.link.records() != before {
                slot.heard(now);
            }
            self.pump_link(conn, now);
        }
        self.flush(now);
    }

    /// The shell wrote `bytes` bytes of a connection to its socket.
    pub fn handle_written(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        if let Some(slot) = self.links.get_mut(conn) {
            slot.written(bytes);
        }
        self.flush(now);
    }

    /// A connection ended, or a dial failed.
    pub fn handle_closed(&mut self, conn: ConnId, error: &str, now: Instant) {
        if self.links.get(conn).is_some() {
            self.drop_link(conn, error, Retry::Later, now);
        } else {
            self.dial_failed(conn, error, Retry::Later, now);
        }
        self.flush(now);
    }

    /// Moves what a link has to say to where it belongs.
    fn pump_link(&mut self, conn: ConnId, now: Instant) {
        while let Some(event) = self
            .links
            .get_mut(conn)
            .and_then(|slot| slot.link.poll_event())
        {
            match event {
                LinkEvent::Authenticated { record, peer } => self.admit(conn, peer, record, now),
                LinkEvent::Up => self.link_up(conn, now),
                LinkEvent::Message(message) => self.handle_message(conn, message, now),
                LinkEvent::Closed(error) => self.link_failed(conn, &error, now),
            }
        }
        self.drain_link(conn);
    }

    fn drain_link(&mut self, conn: ConnId) {
        let Some(slot) = self.links.get_mut(conn) else {
            return;
        };
        while let Some(bytes) = slot.link.poll_transmit() {
            slot.queued(bytes.len());
            self.outputs.push_back(Output::Send { conn, bytes });
        }
    }

    fn link_up(&mut self, conn: ConnId, now: Instant) {
        let Some(slot) = self.links.get(conn) else {
            return;
        };
        let Some(peer) = slot.peer else { return };
        let (address, outbound) = (slot.address, slot.outbound);
        if !self.settle_duplicate(conn, peer, now) {
            return;
        }
        self.links.set_up(conn, peer, now);
        self.links.forget_failed(address);
        self.targets.satisfied(conn, peer);
        self.begin_paths(peer, address, outbound, now);
        self.greet(conn);
        let who = self.display(&peer);
        self.note(Note::Info(format!("link to {who} at {address} is up")));
        self.topology_dirty = true;
    }

    fn link_failed(&mut self, conn: ConnId, error: &LinkError, now: Instant) {
        let retry = match error.alert() {
            Some(AlertCode::SelfConnection) => Retry::Never,
            Some(AlertCode::NameConflict | AlertCode::Version | AlertCode::WrongSecret) => {
                Retry::Slowly
            }
            _ => Retry::Later,
        };
        self.drop_link(conn, &error.to_string(), retry, now);
    }

    /// Ends a link: tells the shell, its target, and whoever routed through it.
    fn drop_link(&mut self, conn: ConnId, error: &str, retry: Retry, now: Instant) {
        self.drain_link(conn);
        let Some((slot, lost)) = self.links.remove(conn) else {
            return;
        };
        self.outputs.push_back(Output::Close { conn });
        self.dial_failed(conn, error, retry, now);
        if !slot.outbound && !slot.up {
            self.links
                .remember_failed(slot.address, error.to_owned(), now);
        }
        if let Some(peer) = lost {
            let who = self.display(&peer);
            self.note(Note::Info(format!(
                "link to {who} at {} ended: {error}",
                slot.address
            )));
            self.targets.lost(peer, error, now, &mut *self.entropy);
            self.topology_dirty = true;
        }
    }

    fn tick_links(&mut self, now: Instant) {
        let mut work = Vec::new();
        for (conn, slot) in self.links.iter_mut() {
            slot.link.handle_timeout(now);
            work.push((conn, slot.due(now, &mut *self.entropy)));
        }
        for (conn, due) in work {
            for item in due {
                self.link_due(conn, &item, now);
            }
            self.pump_link(conn, now);
        }
    }

    fn link_due(&mut self, conn: ConnId, due: &links::Due, now: Instant) {
        use crate::wire::message::LinkMessage;
        match due {
            links::Due::Silent => {
                let silence = limits::DEAD_AFTER.as_secs_f32();
                self.drop_link(
                    conn,
                    &format!("nothing heard for {silence:.1} s"),
                    Retry::Later,
                    now,
                );
            }
            links::Due::Ping(nonce) => {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.send(&LinkMessage::Ping { nonce: *nonce });
                }
            }
            links::Due::Digest => self.send_digest(conn),
        }
    }

    // What the host tells

    /// The containers attached on this host changed.
    pub fn set_attached(&mut self, attached: Vec<Attached>, now: Instant) {
        self.own.set_attached(attached);
        self.flush(now);
    }

    /// The host's own underlay addresses changed.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>, now: Instant) {
        self.config.endpoints = endpoints;
        self.refresh_endpoints();
        self.flush(now);
    }

    fn refresh_endpoints(&mut self) {
        let mut all = self.config.endpoints.clone();
        all.extend(
            self.observed
                .iter()
                .copied()
                .filter(|a| !self.config.endpoints.contains(a)),
        );
        all.truncate(limits::MAX_ENDPOINTS);
        self.own.set_endpoints(all);
    }

    /// Ends all links in good order; the router is about to stop.
    pub fn shut_down(&mut self, now: Instant) {
        use crate::wire::message::LinkMessage;
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
    fn flush(&mut self, now: Instant) {
        self.drain_sessions(now);
        if self.topology_dirty {
            self.refresh_neighbours();
        }
        match self.own.publish(now) {
            Ok(Some(record)) => self.publish_own(record, now),
            Ok(None) => {}
            Err(error) => self.note(Note::Warn(format!("cannot announce a change: {error}"))),
        }
        if (self.topology_dirty || self.snapshot_dirty) && now >= self.not_before {
            self.rebuild(now);
            self.not_before = now + limits::DEBOUNCE;
        }
        self.send_gossip();
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    fn body_of(&self, peer: &PeerId) -> Option<&RecordBody> {
        self.lsdb.get(peer).map(SignedRecord::body)
    }

    /// `name(nickname)`, or the bare identity of a peer whose record is not known.
    fn display(&self, peer: &PeerId) -> String {
        match self.body_of(peer) {
            Some(body) => format!("{}({})", body.name, body.nickname),
            None => peer.to_string(),
        }
    }
}

fn first_record(config: &Config) -> RecordBody {
    RecordBody {
        version: crate::ids::Version {
            epoch: config.epoch,
            seq: 1,
        },
        name: config.name,
        nickname: config.nickname.clone(),
        sign_key: config.identity.sign_key(),
        dh_key: config.identity.dh_key(),
        endpoints: config.endpoints.clone(),
        neighbours: Vec::new(),
        attached: Vec::new(),
        features: 0,
        extensions: Vec::new(),
    }
}

/// How long a discovered peer is left to dial us first, when its identity is the lower one.
const POLITE: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests;
