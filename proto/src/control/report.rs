//! What `mesh status` and `mesh report` show of the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use core::time::Duration;

use crate::api::{
    BroadcastReport, ConnectionReport, ConnectionState, PeerConnectionReport, PeerReport,
    RouteReport, RouterReport,
};
use crate::crypto::aead::Suites;
use crate::crypto::secret::SecretKind;
use crate::forward::Path;
use crate::ids::PeerId;
use crate::limits::UDP_PATIENCE;
use crate::time::Instant;
use crate::topology::bodies::Neighbour;
use crate::topology::record::SignedRecord;
use crate::topology::topic::{RecordKey, Topic};

use super::links::Slot;
use super::targets::{DialTo, Target, TargetKey, TargetState, parse_target};
use super::{Control, Way};

/// In the place of the cipher where unicast frames are not encrypted.
const PLAIN: &str = "vxlan";
/// The datapath of those frames.
const KERNEL: &str = "kernel";

/// Names that several routers bear which are warned of, and routers named for each.
const MAX_NAMES_WARNED: usize = 8;

impl Control {
    /// The control plane's part of the report; the shell fills in what the host adds (bridge, datapath, MACs, drops).
    pub fn report(&self, now: Instant) -> RouterReport {
        RouterReport {
            protocol: "mesh".to_owned(),
            protocol_min_version: crate::link::VERSION,
            protocol_max_version: crate::link::VERSION,
            name: self.config.name.to_string(),
            nick_name: self.config.nickname.clone(),
            id: self.me.to_string(),
            epoch: self.config.epoch,
            secret: secret_in_words(self.config.secret.kind()).to_owned(),
            encryption: self.fast.local().is_none(),
            plain: self
                .fast
                .local()
                .map(|l| l.consent.to_string())
                .unwrap_or_default(),
            fast_path: String::new(),
            peer_discovery: self.config.discovery,
            port: self.config.port,
            host: String::new(),
            bridge: String::new(),
            datapath: String::new(),
            datapath_reason: String::new(),
            latency: String::new(),
            mtu: self.config.mtu,
            targets: self.explicit_targets(),
            forgotten: self.forgotten_words(),
            restart: String::new(),
            connections: self.connections(now),
            peers: self.peer_reports(),
            unicast_routes: self.unicast_routes(),
            broadcast_routes: self.broadcast_routes(),
            macs: Vec::new(),
            drops: BTreeMap::new(),
            counters: self.counters(),
            warnings: self.warnings(now),
        }
    }

    fn connections(&self, now: Instant) -> Vec<ConnectionReport> {
        let mut rows: Vec<ConnectionReport> = self
            .links
            .iter()
            .map(|(_, slot)| self.link_row(slot, now))
            .collect();
        rows.extend(
            self.targets
                .iter()
                .filter_map(|(key, target)| self.target_row(key, target, now)),
        );
        rows.extend(
            self.links
                .failed_inbound(now)
                .map(|failed| ConnectionReport {
                    error: failed.error.clone(),
                    ..empty_row(failed.address.to_string(), false, ConnectionState::Failed)
                }),
        );
        rows
    }

    fn link_row(&self, slot: &Slot, now: Instant) -> ConnectionReport {
        let row = empty_row(
            slot.address.to_string(),
            slot.outbound,
            ConnectionState::Connecting,
        );
        let Some(peer) = slot.peer.filter(|_| slot.up) else {
            return row;
        };
        let direct = self.paths.direct(&peer);
        let (state, error) = match direct {
            Some(_) => (ConnectionState::Established, String::new()),
            None => (ConnectionState::Pending, self.why_pending(peer, slot, now)),
        };
        let is_fast = self.fast_peers.get(&peer).is_some_and(|p| p.fast);
        let doubt = direct.map(|d| self.fast.doubt(&peer, d.address, now));
        let session = self.sessions.current(peer);
        let cipher = session.map(|s| s.suite().to_string()).unwrap_or_default();
        ConnectionReport {
            state,
            error,
            peer: self.display(&peer),
            encrypted: !is_fast,
            cipher: if is_fast { PLAIN.to_owned() } else { cipher },
            datapath: if is_fast { KERNEL } else { "" }.to_owned(),
            fast_path_doubt: doubt.unwrap_or_default(),
            mtu: self.mtu_to(&peer),
            rtt_ms: direct.map(|d| millis(d.rtt)).or(slot.rtt.map(millis)),
            ..row
        }
    }

    /// What is known of a neighbour that UDP does not reach directly.
    fn why_pending(&self, peer: PeerId, slot: &Slot, now: Instant) -> String {
        if let Some(offered) = self.mismatch(&peer) {
            return format!(
                "no cipher in common: this router takes {}, that one {offered}; start both with --cipher auto",
                self.sessions.suites()
            );
        }
        if let Some(looped) = self.why_looped(slot.address, now) {
            return looped;
        }
        let since = slot.up_since().max(self.paths.lost(&peer));
        if since.is_some_and(|since| now.since(since) >= UDP_PATIENCE) {
            let frames = match self.path_to(&peer) {
                Path::Via(next) => format!("until then frames go via {}", self.display(&next)),
                Path::Direct(_) | Path::None => "until then no frames get through".to_owned(),
            };
            return format!(
                "UDP between the two is blocked: open UDP port {} both ways, or a NAT box or firewall on the way holds on \
                 to an old state and other source ports are tried; {frames}",
                self.udp_address(&peer, slot.address, slot.outbound).port()
            );
        }
        match self.sessions.current(peer) {
            None => "no answer by UDP yet; is the UDP port open both ways?".to_owned(),
            Some(_) => "probing the UDP path".to_owned(),
        }
    }

    /// The ciphers of a peer that takes none of ours, as long as there is no session.
    fn mismatch(&self, peer: &PeerId) -> Option<Suites> {
        let talking = self.sessions.current(*peer).is_some();
        self.sessions.mismatch(*peer).filter(|_| !talking)
    }

    fn target_row(
        &self,
        key: &TargetKey,
        target: &Target,
        now: Instant,
    ) -> Option<ConnectionReport> {
        if self.is_linked_otherwise(key) || self.needs_no_link(key) {
            return None;
        }
        let address = match (target.address, key) {
            (_, TargetKey::Explicit(text)) => with_port(text, self.config.port),
            (Some(address), TargetKey::Discovered(_)) => address.to_string(),
            (None, TargetKey::Discovered(peer)) => self.addresses_of(peer).first()?.to_string(),
        };
        let (state, retry_in) = match target.state {
            TargetState::Satisfied(_) | TargetState::Elsewhere(_) => return None,
            // Its link has a row of its own from the moment TCP is up.
            TargetState::Dialling(conn) if self.links.get(conn).is_some() => return None,
            TargetState::Dialling(_) => (ConnectionState::Connecting, None),
            TargetState::GivenUp => (ConnectionState::Failed, None),
            TargetState::Waiting(at) => {
                (ConnectionState::Retrying, Some(at.since(now).as_secs_f64()))
            }
        };
        let peer = match key {
            TargetKey::Discovered(peer) => self.display(peer),
            TargetKey::Explicit(_) => String::new(),
        };
        let at = target.address.or_else(|| self.typed_address(key));
        let looped = at.and_then(|at| self.why_looped(at, now));
        let nowhere = at.filter(|at| self.ways.way(*at) == Way::None);
        let state = if nowhere.is_some() {
            ConnectionState::Failed
        } else {
            state
        };
        let nowhere = nowhere.map(|at| format!("this host has no route to {}", at.ip()));
        let error = looped.or(nowhere).unwrap_or_else(|| target.error.clone());
        Some(ConnectionReport {
            error: self.and_meanwhile(key, error),
            retry_in,
            peer,
            ..empty_row(address, true, state)
        })
    }

    /// Whether the address that was typed is one of a router that is linked already, by whatever address.
    fn is_linked_otherwise(&self, key: &TargetKey) -> bool {
        let typed = self.typed_address(key);
        let mut linked = self.links.neighbours().map(|(peer, _)| peer);
        typed.is_some_and(|typed| {
            linked.any(|peer| {
                self.body_of(peer)
                    .is_some_and(|body| body.endpoints.contains(&typed))
            })
        })
    }

    /// Whether a discovered router is reached through others, and this host has no route to any of its addresses.
    fn needs_no_link(&self, key: &TargetKey) -> bool {
        let TargetKey::Discovered(peer) = key else {
            return false;
        };
        let nowhere = |at: &SocketAddr| self.ways.way(*at) == Way::None;
        matches!(self.path_to(peer), Path::Via(_)) && self.addresses_of(peer).iter().all(nowhere)
    }

    fn typed_address(&self, key: &TargetKey) -> Option<SocketAddr> {
        let TargetKey::Explicit(text) = key else {
            return None;
        };
        match parse_target(text, self.config.port) {
            Ok(DialTo::Address(address)) => Some(address),
            _ => None,
        }
    }

    /// The error, and how frames get to a discovered router all the same.
    fn and_meanwhile(&self, key: &TargetKey, error: String) -> String {
        let TargetKey::Discovered(peer) = key else {
            return error;
        };
        match self.path_to(peer) {
            Path::Via(next) if !error.is_empty() => {
                format!("{error}; meanwhile frames go via {}", self.display(&next))
            }
            _ => error,
        }
    }

    /// The routers that can be reached, and those with a link that carries no data yet.
    fn peer_reports(&self) -> Vec<PeerReport> {
        let linked = self.links.neighbours().map(|(peer, _)| *peer);
        let shown: BTreeSet<PeerId> = self.routes.reachable().chain(linked).collect();
        shown
            .iter()
            .filter_map(|peer| self.peer_report(peer))
            .collect()
    }

    fn peer_report(&self, peer: &PeerId) -> Option<PeerReport> {
        let body = self.body_of(peer)?;
        let version = self
            .gossip
            .lsdb()
            .get(RecordKey::new(*peer, Topic::LINKS))
            .map(SignedRecord::version);
        let path = if *peer == self.me {
            "self".to_owned()
        } else {
            match self.path_to(peer) {
                Path::Direct(address) => format!("direct {address}"),
                Path::Via(next) => format!("via {}", self.display(&next)),
                Path::None => "none".to_owned(),
            }
        };
        let connections = if *peer == self.me {
            self.own_connections()
        } else {
            self.peer_connections(peer)
        };
        Some(PeerReport {
            name: body.name.to_string(),
            nick_name: body.nickname.clone(),
            id: peer.to_string(),
            epoch: self.gossip.epoch_of(peer).unwrap_or_default(),
            version: version.map(|v| v.seq).unwrap_or_default(),
            is_self: *peer == self.me,
            path,
            attached: self.gossip.lsdb().attached(peer).len(),
            connections,
        })
    }

    /// The links of a router in its own words; an address that the other end announces is not among them.
    fn peer_connections(&self, peer: &PeerId) -> Vec<PeerConnectionReport> {
        let links = self.gossip.lsdb().links(peer).iter();
        let connection = |link: &Neighbour| {
            let other = self.gossip.lsdb().by_prefix(link.peer);
            let announced = || self.body_of(&other?)?.endpoints.first().copied();
            let dialled = || announced().filter(|_| link.outbound);
            PeerConnectionReport {
                peer: other.map_or_else(|| link.peer.to_string(), |other| self.display(&other)),
                outbound: link.outbound,
                address: link.address.or_else(dialled),
                established: link.established,
            }
        };
        links.map(connection).collect()
    }

    /// Our own links, those included that carry no data yet.
    fn own_connections(&self) -> Vec<PeerConnectionReport> {
        let links = self.links.neighbours();
        let connection = |(peer, slot): (&PeerId, &Slot)| PeerConnectionReport {
            peer: self.display(peer),
            outbound: slot.outbound,
            address: Some(slot.address),
            established: self.paths.direct(peer).is_some(),
        };
        links.map(connection).collect()
    }

    fn unicast_routes(&self) -> Vec<RouteReport> {
        let route = |peer: PeerId| {
            let (next, hops) = self.routes.next_hop(&peer)?;
            Some(RouteReport {
                destination: self.display(&peer),
                via: self.display(&next),
                hops: u32::from(hops),
            })
        };
        self.routes
            .reachable()
            .filter(|peer| *peer != self.me)
            .filter_map(route)
            .collect()
    }

    fn broadcast_routes(&self) -> Vec<BroadcastReport> {
        let route = |origin: PeerId| BroadcastReport {
            origin: self.display(&origin),
            via: self
                .routes
                .flood(&origin)
                .map(|p| self.display(&p))
                .collect(),
        };
        self.routes.reachable().map(route).collect()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let refused = self
            .sessions
            .refusals()
            .map(|(reason, n)| (format!("session handshakes refused: {reason}"), n));
        self.gossip_report().chain(refused).collect()
    }

    fn gossip_report(&self) -> impl Iterator<Item = (String, u64)> {
        let c = self.gossip.counters();
        [
            ("gossip records accepted", c.accepted),
            ("gossip records known", c.known),
            ("gossip records refused", c.refused),
            (
                "gossip records refused for want of room",
                self.gossip.lsdb().refused_full(),
            ),
            ("connections refused: too many", self.strangers.refused().0),
            (
                "connections refused: wrong secrets before",
                self.strangers.refused().1,
            ),
            ("gossip records not verified", c.unverified),
            ("gossip records put off", c.put_off),
            ("gossip messages unknown", c.unknown),
        ]
        .into_iter()
        .chain(self.gossip.unicast_report())
        .map(|(name, n)| (name.to_owned(), n))
    }

    fn warnings(&self, now: Instant) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.config.secret.kind() == SecretKind::Open {
            warnings.push(
                "anyone who can reach this router's port may join the mesh; give all routers a --key-file \
                 (mesh keygen) or a --password-file"
                    .to_owned(),
            );
        }
        warnings.extend(self.duplicate_names());
        warnings.extend(self.setting_warnings());
        warnings.extend(self.gossip.duplicate_warning());
        warnings.extend(self.flap_warnings(now));
        warnings.extend(self.contest_warnings(now));
        if self.gossip.lsdb().is_full(now) {
            warnings.push(format!(
                "there is no room for all that is said in the mesh ({} KiB of records of {} routers): newcomers may not be \
                 known here; look for a member that makes up routers (mesh report, \"peers\")",
                self.gossip.lsdb().bytes() / 1024,
                self.gossip.lsdb().len()
            ));
        }
        warnings.extend(self.looped_warnings(now));
        warnings
    }

    fn duplicate_names(&self) -> Vec<String> {
        let mut by_name: BTreeMap<_, Vec<PeerId>> = BTreeMap::new();
        for peer in self.routes.reachable() {
            if let Some(body) = self.body_of(&peer) {
                by_name.entry(body.name).or_default().push(peer);
            }
        }
        let shared = by_name.into_iter().filter(|(_, peers)| peers.len() > 1);
        shared
            .take(MAX_NAMES_WARNED)
            .map(|(name, peers)| {
                let who = peers.iter().take(MAX_NAMES_WARNED);
                let who: Vec<String> = who.map(|p| self.display(p)).collect();
                format!(
                    "{} routers bear the name {name}: {}; give each its own --name",
                    peers.len(),
                    who.join(", ")
                )
            })
            .collect()
    }
}

fn empty_row(address: String, outbound: bool, state: ConnectionState) -> ConnectionReport {
    ConnectionReport {
        address,
        outbound,
        state,
        error: String::new(),
        retry_in: None,
        peer: String::new(),
        encrypted: false,
        cipher: String::new(),
        datapath: String::new(),
        fast_path_doubt: String::new(),
        mtu: 0,
        rtt_ms: None,
    }
}

fn millis(d: Duration) -> f64 {
    // Whole microseconds: more digits than that are noise.
    (d.as_secs_f64() * 1e6).round() / 1e3
}

fn secret_in_words(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::KeyFile => "key file",
        SecretKind::Password => "password",
        SecretKind::Open => "none (anyone who can reach this router may join)",
    }
}

/// A target as it is dialled: a port that was not typed is shown, too.
fn with_port(target: &str, default_port: u16) -> String {
    match parse_target(target, default_port) {
        Ok(DialTo::Address(address)) => address.to_string(),
        Ok(DialTo::Name { host, port }) if host.contains('%') => format!("[{host}]:{port}"),
        Ok(DialTo::Name { host, port }) => format!("{host}:{port}"),
        Err(_) => target.to_owned(),
    }
}
