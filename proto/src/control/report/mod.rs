//! Report of the control plane for `mesh status` and `mesh report`.

mod connections;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{BroadcastReport, ControlReport, PeerConnectionReport, PeerReport, RouteReport};
use crate::crypto::secret::SecretKind;
use crate::forward::Path;
use crate::ids::PeerId;
use crate::limits::{
    MAX_CALLERS, MAX_DATABASE, MAX_FAMILIAR, MAX_FDB, MAX_HALF_OPEN, MAX_LINKS, MAX_NETWORKS_HERE,
    MAX_OUTSTANDING_PROBES, MAX_PEERS, MAX_PINS, MAX_RECORD, MAX_REQUESTS, MAX_SESSIONS,
    MAX_TARGETS, MAX_TOPICS,
};
use crate::session::Sessions;
use crate::time::Instant;
use crate::topology::bodies::Neighbour;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

use super::Config;
use super::links::LinkSlot;
use super::neighbours::Neighbours;
use super::routing::Routing;
use super::view::ControlView;

/// The parts of the control plane, to report on.
#[derive(Clone, Copy)]
pub(crate) struct ControlStatus<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The parts that say what is known.
    pub(crate) view: ControlView<'a>,
    /// The neighbours.
    pub(crate) neighbours: &'a Neighbours,
    /// The routing.
    pub(crate) routing: &'a Routing,
    /// The sessions.
    pub(crate) sessions: &'a Sessions,
    /// The present time.
    pub(crate) now: Instant,
}

impl ControlStatus<'_> {
    /// Returns the control plane's part of the report.
    pub(crate) fn report(&self) -> ControlReport {
        ControlReport {
            protocol: "mesh".to_owned(),
            protocol_min_version: crate::link::VERSION,
            protocol_max_version: crate::link::VERSION,
            name: self.config.name.to_string(),
            nick_name: self.config.nickname.clone(),
            id: self.me().to_string(),
            epoch: self.config.epoch,
            secret: secret_in_words(self.config.secret.kind()).to_owned(),
            encryption: self.view.paths.fast().local().is_none(),
            plain: self
                .view
                .paths
                .fast()
                .local()
                .map(|l| l.consent.to_string())
                .unwrap_or_default(),
            peer_discovery: self.config.discovery,
            port: self.config.port,
            mtu: self.config.mtu,
            targets: self.neighbours.explicit().map(str::to_owned).collect(),
            forgotten: self.neighbours.forgotten_words(),
            connections: self.connections(),
            peers: self.peer_reports(),
            unicast_routes: self.unicast_routes(),
            broadcast_routes: self.broadcast_routes(),
            counters: self.counters(),
            warnings: self.warnings(),
        }
    }

    fn me(&self) -> PeerId {
        self.config.identity.id()
    }

    /// Returns the routers that can be reached, and those with a link that carries no data yet.
    fn peer_reports(&self) -> Vec<PeerReport> {
        let linked = self.view.links.neighbours().map(|(peer, _)| *peer);
        let shown: BTreeSet<PeerId> = self.view.routes.reachable().chain(linked).collect();
        shown
            .iter()
            .filter_map(|peer| self.peer_report(peer))
            .collect()
    }

    fn peer_report(&self, peer: &PeerId) -> Option<PeerReport> {
        let body = self.view.gossip.identity(peer)?;
        let version = self
            .view
            .gossip
            .lsdb()
            .get(RecordKey::new(*peer, Topic::LINKS))
            .map(SignedRecord::version);
        let path = if *peer == self.me() {
            "self".to_owned()
        } else {
            match self.view.path_to(peer) {
                Path::Direct(address) => format!("direct {address}"),
                Path::Via(next) => format!("via {}", self.view.gossip.display(&next)),
                Path::None => "none".to_owned(),
            }
        };
        let connections = if *peer == self.me() {
            self.own_connections()
        } else {
            self.peer_connections(peer)
        };
        Some(PeerReport {
            name: body.name.to_string(),
            nick_name: body.nickname.clone(),
            id: peer.to_string(),
            epoch: self.view.gossip.epoch_of(peer).unwrap_or_default(),
            version: version.map(|v| v.seq).unwrap_or_default(),
            is_self: *peer == self.me(),
            path,
            attached: self.view.gossip.lsdb().attached(peer).len(),
            connections,
        })
    }

    /// Returns the links of a router in its own words; an address that the other end announces is not among them.
    fn peer_connections(&self, peer: &PeerId) -> Vec<PeerConnectionReport> {
        let links = self.view.gossip.lsdb().links(peer).iter();
        let connection = |link: &Neighbour| {
            let other = self.view.gossip.lsdb().by_prefix(link.peer);
            let announced = || {
                self.view
                    .gossip
                    .identity(&other?)?
                    .endpoints
                    .first()
                    .copied()
            };
            let dialled = || announced().filter(|_| link.outbound);
            PeerConnectionReport {
                peer: other.map_or_else(
                    || link.peer.to_string(),
                    |other| self.view.gossip.display(&other),
                ),
                outbound: link.outbound,
                address: link.address.or_else(dialled),
                established: link.established,
            }
        };
        links.map(connection).collect()
    }

    /// Returns our own links, those included that carry no data yet.
    fn own_connections(&self) -> Vec<PeerConnectionReport> {
        let links = self.view.links.neighbours();
        let connection = |(peer, slot): (&PeerId, &LinkSlot)| PeerConnectionReport {
            peer: self.view.gossip.display(peer),
            outbound: slot.is_outbound(),
            address: Some(slot.address()),
            established: self.view.paths.direct(peer).is_some(),
        };
        links.map(connection).collect()
    }

    fn unicast_routes(&self) -> Vec<RouteReport> {
        let route = |peer: PeerId| {
            let (next, hops) = self.view.routes.next_hop(&peer)?;
            Some(RouteReport {
                destination: self.view.gossip.display(&peer),
                via: self.view.gossip.display(&next),
                hops: u32::from(hops),
            })
        };
        self.view
            .routes
            .reachable()
            .filter(|peer| *peer != self.me())
            .filter_map(route)
            .collect()
    }

    fn broadcast_routes(&self) -> Vec<BroadcastReport> {
        let route = |origin: PeerId| BroadcastReport {
            origin: self.view.gossip.display(&origin),
            via: self
                .view
                .routes
                .flood(&origin)
                .map(|p| self.view.gossip.display(&p))
                .collect(),
        };
        self.view.routes.reachable().map(route).collect()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let refused = self
            .sessions
            .refusals()
            .map(|(reason, n)| (format!("session handshakes refused: {reason}"), n));
        self.gossip_report().chain(refused).collect()
    }

    fn gossip_report(&self) -> impl Iterator<Item = (String, u64)> {
        let c = self.view.gossip.counters();
        [
            ("gossip records accepted", c.accepted),
            ("gossip records known", c.known),
            ("gossip records refused", c.refused),
            (
                "gossip records refused for want of room",
                self.view.gossip.lsdb().refused_full(),
            ),
            ("connections refused: too many", self.view.links.refused().0),
            (
                "connections refused: wrong secrets before",
                self.view.links.refused().1,
            ),
            ("gossip records not verified", c.unverified),
            ("gossip records put off", c.put_off),
            ("gossip messages unknown", c.unknown),
        ]
        .into_iter()
        .chain(self.view.gossip.unicast_report())
        .map(|(name, n)| (name.to_owned(), n))
    }

    /// Returns the tables that grow with what others say: name, entries, and the bound from [`crate::limits`].
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize, usize)> {
        let (sources, familiar, pins) = self.view.links.tables();
        let (wanted, probed, waiting) = self.view.paths.tables();
        let lsdb = self.view.gossip.lsdb();
        let (explicit, targets) = (self.neighbours.explicit(), self.neighbours.targets());
        let links = self.view.links.iter().count();
        let (queued, requests) = (
            self.view.gossip.longest_queue(),
            self.view.gossip.requests(),
        );
        let sessions = self.sessions.statuses().count();
        let macs = self.routing.forwarder().fdb().len();
        // Of each router one record about each topic.
        let topics = usize::from(MAX_TOPICS);
        let records = MAX_PEERS * topics;
        let bytes = MAX_DATABASE + MAX_RECORD * topics;
        vec![
            ("known routers", lsdb.len(), MAX_PEERS),
            ("records", lsdb.records(), records),
            ("bytes of records", lsdb.bytes(), bytes),
            ("links", links, MAX_LINKS + MAX_HALF_OPEN),
            ("sources", sources, MAX_CALLERS),
            ("routers that were linked", familiar, MAX_FAMILIAR),
            ("explicit targets", explicit.count(), MAX_TARGETS),
            ("all targets", targets.count(), MAX_TARGETS + MAX_PEERS),
            (
                "records that wait for one neighbour",
                queued,
                3 * records + MAX_REQUESTS,
            ),
            ("records asked for", requests, MAX_REQUESTS),
            ("sessions", sessions, MAX_SESSIONS),
            ("wanted sessions", wanted, MAX_SESSIONS),
            ("probed peers", probed, MAX_SESSIONS),
            ("probes of one peer", waiting, MAX_OUTSTANDING_PROBES),
            ("pinned names", pins, MAX_PINS),
            ("MAC addresses", macs, MAX_FDB),
            ("networks", self.routing.other_networks(), MAX_NETWORKS_HERE),
        ]
    }
}

fn secret_in_words(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::KeyFile => "key file",
        SecretKind::Password => "password",
        SecretKind::Open => "none (anyone who can reach this router may join)",
    }
}
