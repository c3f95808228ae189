//! Consequences of the effects of each part for the others and for the shell.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::gossip::{Gossip, GossipEffect};
use super::links::{LinkEffect, LinkEnd, Links};
use super::neighbours::{NeighbourEffect, Neighbours};
use super::paths::{PathContext, PathEffect, Paths};
use super::report::ControlStatus;
use super::routing::{JoinedNetwork, Routing, RoutingEffect, routes_hold_down};
use super::view::ControlView;
use super::{Config, Note, Output};
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::session::{SessionOutput, Sessions};
use crate::time::Instant;
use crate::topology::bodies::Attached;
use crate::topology::routes::Routes;
use crate::wire::datagram::Kind;
use crate::wire::topic::{RecordKey, Topic};
use crate::wire::via::Via;

/// A change in one part that concerns routing.
#[derive(Clone, Copy, Debug)]
pub(super) enum ControlChange {
    /// The link to a neighbour came up.
    LinkUp,
    /// The link to a neighbour ended.
    LinkDown,
    /// The route to a neighbour without a link is not kept any more, or there is a link again.
    RouteReleased,
    /// The direct path to a peer appeared or moved.
    PathMoved,
    /// The direct path to a peer fell silent.
    PathDied,
    /// Sizes or sources of paths changed.
    PathsChanged,
    /// The session with a peer was forgotten.
    SessionForgotten,
    /// The epoch of this router was raised.
    EpochRaised,
    /// A record of the control plane's own topics is new, or gone.
    Record(RecordKey),
}

/// The parts of a control plane, and what is not part of any.
pub(super) struct ControlParts {
    pub(super) config: Config,
    pub(super) entropy: Box<dyn Entropy + Send>,
    pub(super) sessions: Sessions,
    pub(super) links: Links,
    pub(super) neighbours: Neighbours,
    pub(super) gossip: Gossip,
    pub(super) paths: Paths,
    pub(super) routing: Routing,
    /// Containers of this host, in all networks.
    pub(super) attached: Vec<Attached>,
    pub(super) outputs: VecDeque<Output>,
}

impl ControlParts {
    // The parts, each with what it sees of the others

    pub(super) fn view(&self) -> ControlView<'_> {
        ControlView {
            links: &self.links,
            paths: &self.paths,
            gossip: &self.gossip,
            routes: self.routing.routes(),
        }
    }

    pub(super) fn with_neighbours(
        &mut self,
    ) -> (&mut Neighbours, ControlView<'_>, &mut dyn Entropy) {
        let view = ControlView {
            links: &self.links,
            paths: &self.paths,
            gossip: &self.gossip,
            routes: self.routing.routes(),
        };
        (&mut self.neighbours, view, &mut *self.entropy)
    }

    pub(super) fn with_paths(&mut self) -> (&mut Paths, PathContext<'_>, &mut dyn Entropy) {
        let around = PathContext {
            links: &self.links,
            sessions: &self.sessions,
        };
        (&mut self.paths, around, &mut *self.entropy)
    }

    pub(super) fn status(&self, now: Instant) -> ControlStatus<'_> {
        ControlStatus {
            config: &self.config,
            view: self.view(),
            neighbours: &self.neighbours,
            routing: &self.routing,
            sessions: &self.sessions,
            now,
        }
    }

    // After every input

    /// Publishes what changed: our own records, the routes, the snapshot; sends what gossip has to send.
    pub(super) fn flush(&mut self, now: Instant) {
        self.drain_sessions(now);
        if self.routing.adjacencies_due(now) {
            self.announce_adjacencies(now);
        }
        self.gossip.publish(now);
        self.drain_gossip(now);
        if self.routing.snapshot_due(now) {
            self.rebuild(now);
            self.routing.debounce(now);
        } else if self.routing.announced_due(now) {
            self.routing.hand_out_announced(&self.gossip, now);
            self.drain_routing();
            self.routing.debounce(now);
        }
        self.send_gossip(now);
    }

    /// Draws the consequences of a change for routing.
    pub(super) fn follow(&mut self, change: ControlChange) {
        match change {
            ControlChange::LinkUp | ControlChange::LinkDown => {
                self.routing.topology_changed();
                self.routing.adjacencies_changed();
            }
            ControlChange::RouteReleased | ControlChange::PathMoved | ControlChange::PathDied => {
                self.routing.topology_changed();
                self.routing.adjacencies_changed();
                self.routing.snapshot_changed();
            }
            ControlChange::PathsChanged
            | ControlChange::SessionForgotten
            | ControlChange::EpochRaised => {
                self.routing.snapshot_changed();
            }
            ControlChange::Record(key) if key.topic == Topic::ATTACHED => {
                self.routing.announced_changed(key.origin);
            }
            ControlChange::Record(key) => {
                self.routing.topology_changed();
                self.tell_underlay(key.origin);
                // An address that a neighbour announces itself is not announced for it.
                if key.topic == Topic::IDENTITY && self.links.of_peer(&key.origin).is_some() {
                    self.routing.adjacencies_changed();
                }
            }
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    pub(super) fn dh_key(&self, peer: &PeerId) -> Option<[u8; 32]> {
        Some(self.gossip.identity(peer)?.dh_key)
    }

    // Links

    pub(super) fn drain_links(&mut self, now: Instant) {
        while let Some(effect) = self.links.poll_effect() {
            match effect {
                LinkEffect::Send(conn, bytes) => {
                    self.outputs.push_back(Output::Send { conn, bytes });
                }
                LinkEffect::Close(conn, ending) => {
                    self.outputs.push_back(Output::Close { conn, ending });
                }
                LinkEffect::Pin(name, key) => self.outputs.push_back(Output::Pin(name, key)),
                LinkEffect::Note(note) => self.note(note),
                LinkEffect::Opened => self.tell_linked(),
                LinkEffect::Ended(ended) => self.link_ended(&ended, now),
            }
        }
    }

    fn link_ended(&mut self, ended: &LinkEnd, now: Instant) {
        let (conn, error) = (ended.conn, &ended.error);
        self.gossip.link_down(conn);
        self.tell_linked();
        self.neighbours
            .failed(conn, error, ended.retry, now, &mut *self.entropy);
        if let Some(peer) = ended.lost {
            let (who, address) = (self.gossip.display(&peer), ended.address);
            self.note(Note::Info(format!(
                "link to {who} at {address} ended: {error}"
            )));
            self.neighbours.lost(peer, error, now, &mut *self.entropy);
            self.paths.parted(&peer);
            self.drain_paths(now);
            self.follow(ControlChange::LinkDown);
        }
    }

    /// Hands the lanes the other ends of our links.
    pub(super) fn tell_linked(&self) {
        let ends = self.links.ends().collect();
        self.routing.forwarder().underlay().set_links(ends);
    }

    // Neighbours

    pub(super) fn drain_neighbours(&mut self) {
        while let Some(effect) = self.neighbours.poll_effect() {
            self.outputs.push_back(match effect {
                NeighbourEffect::Dial { conn, to, others } => Output::Dial { conn, to, others },
                NeighbourEffect::Targets(targets) => Output::Targets(targets),
                NeighbourEffect::Forgotten(all) => Output::Forgotten(all),
                NeighbourEffect::Neighbours(all) => Output::Neighbours(all),
            });
        }
    }

    /// Selects neighbours.
    pub(super) fn discover(&mut self, now: Instant) {
        let (neighbours, view, entropy) = self.with_neighbours();
        neighbours.discover(view, now, entropy);
    }

    // Gossip

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
                        self.links.drain(conn);
                        self.drain_links(now);
                    }
                    self.gossip.unicast_sent(forwarded, has_room);
                }
                GossipEffect::CompareAt(conn, at) => self.links.compare_at(conn, at),
                GossipEffect::CompareSoon(conn) => self.links.compare_soon(conn, now),
                GossipEffect::Changed(key) if key.topic.is_built_in() => {
                    self.follow(ControlChange::Record(key));
                }
                GossipEffect::Changed(key) => self.outputs.push_back(Output::Announcement(key)),
                // The keys of its earlier run are gone; frames would go into a session that it does not have.
                GossipEffect::Restarted(peer, epoch) => self.sessions.forget_before(peer, epoch),
                GossipEffect::EpochRaised(epoch) => {
                    // Others take only handshakes and broadcasts of an epoch that is not older than the last they saw.
                    self.config.epoch = epoch;
                    self.sessions.raise_epoch(epoch);
                    self.follow(ControlChange::EpochRaised);
                    self.outputs.push_back(Output::Epoch(epoch));
                }
                GossipEffect::Received { from, topic, body } => {
                    self.outputs
                        .push_back(Output::Unicast { from, topic, body });
                }
                GossipEffect::Note(note) => self.note(note),
            }
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
            self.links.drain(conn);
            self.drain_links(now);
        }
    }

    /// Hands the lanes the addresses that the records of a router name.
    fn tell_underlay(&self, router: PeerId) {
        let own = self.gossip.identity(&router);
        let own = own.map_or(&[][..], |body| &body.endpoints);
        let dialled = self.gossip.lsdb().links(&router).iter();
        let dialled = dialled.filter_map(|n| n.address);
        let all = own.iter().copied().chain(dialled).collect();
        self.routing.forwarder().underlay().set_router(router, all);
    }

    // Paths and sessions

    pub(super) fn drain_paths(&mut self, now: Instant) {
        while let Some(effect) = self.paths.poll_effect() {
            match effect {
                PathEffect::Probe {
                    peer,
                    to,
                    payload,
                    spare,
                } => match self.sealed(&peer, &payload, now) {
                    Some(bytes) if spare => {
                        self.outputs.push_back(Output::SpareDatagram { to, bytes });
                    }
                    Some(bytes) => self.send_datagram(to, bytes),
                    None => {}
                },
                PathEffect::Datagram(to, bytes) => self.send_datagram(to, bytes),
                PathEffect::SpareDatagram(to, bytes) => {
                    self.outputs.push_back(Output::SpareDatagram { to, bytes });
                }
                PathEffect::Moved(peer) => {
                    self.follow(ControlChange::PathMoved);
                    self.links.set_direct(&peer, true, now);
                }
                PathEffect::Changed => self.follow(ControlChange::PathsChanged),
                PathEffect::Endpoints => self.refresh_endpoints(),
                PathEffect::SparePort(spare) => self.outputs.push_back(Output::SparePort(spare)),
                PathEffect::Fast(peers) => self.outputs.push_back(Output::Fast(peers)),
                PathEffect::News(peer, news) => {
                    let words = news.words(&self.gossip.display(&peer));
                    self.note(Note::Info(words));
                }
            }
        }
    }

    pub(super) fn refresh_endpoints(&mut self) {
        let all = self.paths.endpoints(&self.config.endpoints);
        self.gossip.set_endpoints(all);
    }

    pub(super) fn suggest_addresses(&mut self, peer: PeerId) {
        if self.paths.may_go_direct(&peer, &self.links) {
            let addresses = self.view().addresses_of(&peer);
            self.paths.suggest(peer, &addresses);
        }
    }

    pub(super) fn probe(&mut self, peer: &PeerId, now: Instant) {
        let (paths, around, entropy) = self.with_paths();
        paths.probe(peer, around, now, entropy);
        self.drain_paths(now);
    }

    /// Carries out what the sessions ask for.
    fn drain_sessions(&mut self, now: Instant) {
        while let Some(output) = self.sessions.poll_output() {
            match output {
                SessionOutput::Send { peer, via, bytes } => {
                    self.send_handshake(peer, via, &bytes, now);
                }
                SessionOutput::Challenge { to, bytes } => self.send_datagram(to, bytes),
                SessionOutput::Changed(peer) => {
                    self.rebuild(now);
                    if self.paths.needs_path(&peer, &self.links, now) {
                        self.probe(&peer, now);
                    }
                }
            }
        }
    }

    /// Sends a handshake message: an answer goes back the way its question came, a first message wherever the peer may be.
    fn send_handshake(&mut self, peer: PeerId, via: Option<Via>, bytes: &[u8], now: Instant) {
        if let Some(Via::Direct(to)) = via {
            self.send_datagram(to, bytes.to_vec());
            return;
        }
        if via.is_none() && self.paths.direct(&peer).is_none() {
            self.paths.search_with(&peer, bytes, now);
            self.drain_paths(now);
        }
        // By the path that the lanes would take; without one it is lost, and repeated in time.
        for (to, bytes) in self.routing.by_path(peer, bytes, now) {
            self.send_datagram(to, bytes);
        }
    }

    fn send_datagram(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let source = self.paths.source_of(to);
        self.outputs
            .push_back(Output::Datagram { to, source, bytes });
    }

    /// Returns a datagram of kind Probe with this payload.
    fn sealed(&self, peer: &PeerId, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let transport = self.sessions.current(*peer)?;
        let mut bytes = Vec::with_capacity(64);
        let sealed = transport.seal(Kind::Probe, 1, &[], payload, now, &mut bytes);
        sealed.is_ok().then_some(bytes)
    }

    // Routing

    /// Takes the containers of this host.
    pub(super) fn set_attached(&mut self, attached: &[Attached], now: Instant) {
        self.attached = attached.to_vec();
        self.announce_attached();
        self.flush(now);
    }

    /// Announces the containers of this host in the networks of which it is a member.
    fn announce_attached(&mut self) {
        let attached = self.routing.to_announce(&self.attached, self.gossip.lsdb());
        self.gossip.set_attached(&attached);
    }

    /// Takes the memberships of this host in networks other than `default`.
    pub(super) fn set_networks(&mut self, memberships: Vec<JoinedNetwork>, now: Instant) {
        self.routing.set_networks(memberships, &mut *self.entropy);
        self.routing.hand_out_announced(&self.gossip, now);
        self.drain_routing();
        // What others announce there says how often containers moved here.
        self.announce_attached();
        self.flush(now);
    }

    pub(super) fn drain_routing(&mut self) {
        while let Some(effect) = self.routing.poll_effect() {
            self.outputs.push_back(match effect {
                RoutingEffect::Publish(snapshot) => Output::Publish(snapshot),
                RoutingEffect::RemoteAttached(attached) => Output::RemoteAttached(attached),
                RoutingEffect::Note(note) => Output::Note(note),
            });
        }
    }

    /// Announces which links carry data.
    pub(super) fn announce_adjacencies(&mut self, now: Instant) {
        let (links, paths) = (&self.links, &self.paths);
        let adjacencies = self.routing.adjacencies(links, paths, &self.gossip, now);
        self.gossip.set_neighbours(&adjacencies, now);
    }

    /// Computes routes if they are due, and publishes a new snapshot.
    fn rebuild(&mut self, now: Instant) {
        if self.routing.routes_due(now) {
            let relinked = self.gossip.take_relinked();
            let routes = self.routing.compute(self.gossip.lsdb(), &relinked);
            self.take_routes(routes, now);
            self.routing.computed(self.gossip.lsdb().len(), now);
        }
        self.routing.hand_out_announced(&self.gossip, now);
        self.drain_routing();
        self.paths.refresh_fast(now);
        self.paths.refresh_spare(now);
        self.drain_paths(now);
        let epoch = self.config.epoch;
        let snapshot = self.routing.build(self.view(), &self.sessions, epoch, now);
        self.routing.publish(snapshot);
        self.drain_routing();
    }

    /// Takes new routes, and tells the parts that they concern.
    pub(super) fn take_routes(&mut self, routes: Routes, now: Instant) {
        let change = self.routing.adopt(routes, now);
        let routes = self.routing.routes().clone();
        if change.reach {
            self.gossip.note_reach(&routes, now);
            self.outputs.push_back(Output::Reach);
            let is_new = |peer: &PeerId| change.came.contains(peer);
            self.neighbours
                .came_within_reach(is_new, now, &mut *self.entropy);
            if !change.came.is_empty() {
                let (interval, _) = routes_hold_down(self.gossip.lsdb().len());
                self.gossip.compare_when_quiet(interval, now);
                self.drain_gossip(now);
            }
        }
        for peer in &change.joined {
            self.links.joined(peer, now);
        }
        self.gossip.routes_changed(routes.clone());
        self.neighbours
            .reconsider(|peer| routes.is_reachable(peer), now);
        self.discover(now);
    }
}
