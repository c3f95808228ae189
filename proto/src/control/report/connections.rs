//! The connections in `mesh status`: links, targets, and what failed.

use std::net::SocketAddr;

use core::time::Duration;

use crate::api::{ConnectionReport, ConnectionState};
use crate::crypto::aead::Suites;
use crate::forward::Path;
use crate::ids::PeerId;
use crate::limits::UDP_PATIENCE;

use super::ControlStatus;
use crate::control::links::LinkSlot;
use crate::control::neighbours::target_text::{DialTo, parse_target};
use crate::control::neighbours::{DialTarget, TargetKey, TargetState};
use crate::control::routing::mtu_by;

/// In the place of the cipher where unicast frames are not encrypted.
const PLAIN: &str = "vxlan";
/// The datapath of those frames.
const KERNEL: &str = "kernel";

impl ControlStatus<'_> {
    pub(super) fn connections(&self) -> Vec<ConnectionReport> {
        let mut rows: Vec<ConnectionReport> = self
            .view
            .links
            .iter()
            .map(|(_, slot)| self.link_row(slot))
            .collect();
        rows.extend(
            self.neighbours
                .targets()
                .filter_map(|(key, target)| self.target_row(key, target)),
        );
        rows.extend(
            self.view
                .links
                .failed_inbound(self.now)
                .map(|failed| ConnectionReport {
                    error: failed.error.clone(),
                    ..empty_row(failed.address.to_string(), false, ConnectionState::Failed)
                }),
        );
        rows
    }

    fn link_row(&self, slot: &LinkSlot) -> ConnectionReport {
        let row = empty_row(
            slot.address().to_string(),
            slot.is_outbound(),
            ConnectionState::Connecting,
        );
        let Some(peer) = slot.peer().filter(|_| slot.is_up()) else {
            return row;
        };
        let direct = self.view.paths.direct(&peer);
        let (state, error) = match direct {
            Some(_) => (ConnectionState::Established, String::new()),
            None => (ConnectionState::Pending, self.why_pending(peer, slot)),
        };
        let is_fast = self.view.paths.fast().is_fast(&peer);
        let doubt = direct.map(|d| self.view.paths.fast().doubt(&peer, d.address, self.now));
        let session = self.sessions.current(peer);
        let cipher = session.map(|s| s.suite().to_string()).unwrap_or_default();
        ConnectionReport {
            state,
            error,
            peer: self.view.gossip.display(&peer),
            encrypted: !is_fast,
            cipher: if is_fast { PLAIN.to_owned() } else { cipher },
            datapath: if is_fast { KERNEL } else { "" }.to_owned(),
            fast_path_doubt: doubt.unwrap_or_default(),
            mtu: mtu_by(self.view.paths, self.view.path_to(&peer), &peer).min(self.config.mtu),
            rtt_ms: direct.map(|d| millis(d.rtt)).or(slot.rtt().map(millis)),
            ..row
        }
    }

    /// Returns what is known of a neighbour that UDP does not reach directly.
    fn why_pending(&self, peer: PeerId, slot: &LinkSlot) -> String {
        if let Some(offered) = self.mismatch(&peer) {
            return format!(
                "no cipher in common: this router takes {}, that one {offered}; start both with --cipher auto",
                self.sessions.suites()
            );
        }
        if let Some(looped) = self
            .view
            .paths
            .why_looped(slot.address(), self.view.links, self.now)
        {
            return looped;
        }
        let since = slot.up_since().max(self.view.paths.lost(&peer));
        if since.is_some_and(|since| self.now.since(since) >= UDP_PATIENCE) {
            let frames = match self.view.path_to(&peer) {
                Path::Via(next) => format!(
                    "until then frames go via {}",
                    self.view.gossip.display(&next)
                ),
                Path::Direct(_) | Path::None => "until then no frames get through".to_owned(),
            };
            return format!(
                "UDP between the two is blocked: open UDP port {} both ways, or a NAT box or firewall on the way holds on \
                 to an old state and other source ports are tried; {frames}",
                self.view
                    .udp_address(
                        &peer,
                        (slot.address(), slot.is_outbound()),
                        self.config.port
                    )
                    .port()
            );
        }
        match self.sessions.current(peer) {
            None => "no answer by UDP yet; is the UDP port open both ways?".to_owned(),
            Some(_) => "probing the UDP path".to_owned(),
        }
    }

    /// Returns the ciphers of a peer that takes none of ours, as long as there is no session.
    fn mismatch(&self, peer: &PeerId) -> Option<Suites> {
        let talking = self.sessions.current(*peer).is_some();
        self.sessions.mismatch(*peer).filter(|_| !talking)
    }

    fn target_row(&self, key: &TargetKey, target: &DialTarget) -> Option<ConnectionReport> {
        if self.is_linked_otherwise(key) || self.needs_no_link(key) {
            return None;
        }
        let address = match (target.address, key) {
            (_, TargetKey::Explicit(text)) => with_port(text, self.config.port),
            (Some(address), TargetKey::Discovered(_)) => address.to_string(),
            (None, TargetKey::Discovered(peer)) => {
                self.view.addresses_of(peer).first()?.to_string()
            }
        };
        let (state, retry_in) = match target.state {
            TargetState::Satisfied(_) | TargetState::Suppressed(_) => return None,
            // Its link has a row of its own from the moment TCP is up.
            TargetState::Dialling(conn) if self.view.links.get(conn).is_some() => return None,
            TargetState::Dialling(_) => (ConnectionState::Connecting, None),
            TargetState::GivenUp => (ConnectionState::Failed, None),
            TargetState::Waiting(at) => (
                ConnectionState::Retrying,
                Some(at.since(self.now).as_secs_f64()),
            ),
        };
        let peer = match key {
            TargetKey::Discovered(peer) => self.view.gossip.display(peer),
            TargetKey::Explicit(_) => String::new(),
        };
        let at = target.address.or_else(|| self.typed_address(key));
        let looped = at.and_then(|at| self.view.paths.why_looped(at, self.view.links, self.now));
        let nowhere = at.filter(|at| self.view.paths.underlay().leads_nowhere(*at));
        let state = if nowhere.is_some() {
            ConnectionState::Failed
        } else {
            state
        };
        let nowhere = nowhere.map(|at| format!("this host has no route to {}", at.ip()));
        let error = looped.or(nowhere).unwrap_or_else(|| target.error.clone());
        Some(ConnectionReport {
            error: self.with_detour(key, error),
            retry_in,
            peer,
            ..empty_row(address, true, state)
        })
    }

    /// Returns true if the address that was typed is one of a router that is linked already, by any address.
    fn is_linked_otherwise(&self, key: &TargetKey) -> bool {
        let typed = self.typed_address(key);
        let mut linked = self.view.links.neighbours().map(|(peer, _)| peer);
        typed.is_some_and(|typed| {
            linked.any(|peer| {
                self.view
                    .gossip
                    .identity(peer)
                    .is_some_and(|body| body.endpoints.contains(&typed))
            })
        })
    }

    /// Returns true if a discovered router is reached through others, and this host has no route to any of its addresses.
    fn needs_no_link(&self, key: &TargetKey) -> bool {
        let TargetKey::Discovered(peer) = key else {
            return false;
        };
        let nowhere = |at: &SocketAddr| self.view.paths.underlay().leads_nowhere(*at);
        matches!(self.view.path_to(peer), Path::Via(_))
            && self.view.addresses_of(peer).iter().all(nowhere)
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

    /// Returns the error, and how frames get to a discovered router all the same.
    fn with_detour(&self, key: &TargetKey, error: String) -> String {
        let TargetKey::Discovered(peer) = key else {
            return error;
        };
        match self.view.path_to(peer) {
            Path::Via(next) if !error.is_empty() => {
                format!(
                    "{error}; until then frames go via {}",
                    self.view.gossip.display(&next)
                )
            }
            _ => error,
        }
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

/// A target as it is dialled: a port that was not typed is shown, too.
fn with_port(target: &str, default_port: u16) -> String {
    match parse_target(target, default_port) {
        Ok(DialTo::Address(address)) => address.to_string(),
        Ok(DialTo::Name { host, port }) if host.contains('%') => format!("[{host}]:{port}"),
        Ok(DialTo::Name { host, port }) => format!("{host}:{port}"),
        Err(_) => target.to_owned(),
    }
}
