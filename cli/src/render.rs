//! The text of `mesh status`: stable columns, one record per line.

use std::fmt::Write as _;

use crate::ipam;
use mesh_proto::api::{ConnectionReport, ConnectionState, PeerReport, Report, RouterReport};

/// States in the order in which they are counted.
const STATES: [ConnectionState; 5] = [
    ConnectionState::Established,
    ConnectionState::Pending,
    ConnectionState::Retrying,
    ConnectionState::Failed,
    ConnectionState::Connecting,
];

/// `mesh status`: blocks of right-aligned keys.
pub(crate) fn overview(report: &Report) -> String {
    let router = &report.router;
    let mut out = String::from("\n");
    key(&mut out, "Version", &report.version);
    out.push('\n');
    key(&mut out, "Service", "router");
    key(&mut out, "Protocol", &protocol(router));
    key(&mut out, "Name", &named(&router.name, &router.nick_name));
    key(&mut out, "Encryption", &encryption(router));
    key(&mut out, "Secret", &router.secret);
    key(&mut out, "PeerDiscovery", enabled(router.peer_discovery));
    key(&mut out, "Datapath", &datapath(router));
    key(&mut out, "MTU", &router.mtu.to_string());
    key(&mut out, "Targets", &router.targets.len().to_string());
    key(
        &mut out,
        "Connections",
        &connection_counts(&router.connections),
    );
    key(&mut out, "Peers", &peer_counts(&router.peers));
    if let Some(report) = &report.ipam {
        key(&mut out, "Addresses", &ipam::summary(report));
    }
    warnings(&mut out, &router.warnings);
    out.push('\n');
    out
}

/// `mesh status targets`.
pub(crate) fn targets(router: &RouterReport) -> String {
    router.targets.iter().map(|t| format!("{t}\n")).collect()
}

/// `mesh status connections`.
pub(crate) fn connections(router: &RouterReport) -> String {
    let mut out = String::new();
    for connection in &router.connections {
        let line = format!(
            "{} {:<21} {:<11} {}",
            arrow(connection.outbound),
            connection.address,
            state_name(connection.state),
            connection_info(connection)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// `mesh status peers`: every peer of the mesh, with its connections.
pub(crate) fn peers(router: &RouterReport) -> String {
    let mut out = String::new();
    for peer in &router.peers {
        let _ = writeln!(out, "{}", named(&peer.name, &peer.nick_name));
        for connection in &peer.connections {
            let address = connection
                .address
                .map(|a| a.to_string())
                .unwrap_or_default();
            let _ = writeln!(
                out,
                "   {} {address:<21} {:<37} {}",
                arrow(connection.outbound),
                connection.peer,
                state_name(announced_state(connection.established)),
            );
        }
    }
    out
}

fn key(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key:>15}: {value}");
}

fn protocol(router: &RouterReport) -> String {
    let (min, max) = (router.protocol_min_version, router.protocol_max_version);
    if min == max {
        format!("{} {min}", router.protocol)
    } else {
        format!("{} {min}..{max}", router.protocol)
    }
}

fn named(name: &str, nick_name: &str) -> String {
    format!("{name}({nick_name})")
}

fn enabled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

/// What goes plain is said beside what does not.
fn encryption(router: &RouterReport) -> String {
    if router.encryption {
        return "enabled".to_owned();
    }
    format!(
        "enabled, but not with {} ({})",
        router.plain, router.fast_path
    )
}

fn datapath(router: &RouterReport) -> String {
    if router.datapath_reason.is_empty() {
        return router.datapath.clone();
    }
    format!("{} ({})", router.datapath, router.datapath_reason)
}

fn connection_counts(connections: &[ConnectionReport]) -> String {
    let counts = counted(connections.iter().map(|c| c.state));
    if counts.is_empty() {
        return connections.len().to_string();
    }
    format!("{} ({counts})", connections.len())
}

fn peer_counts(peers: &[PeerReport]) -> String {
    let links = peers.iter().flat_map(|p| &p.connections);
    let counts = counted(links.map(|c| announced_state(c.established)));
    if counts.is_empty() {
        return peers.len().to_string();
    }
    format!("{} (with {counts} connections)", peers.len())
}

/// `5 established, 1 pending`; states that do not occur are left out.
fn counted(states: impl Iterator<Item = ConnectionState>) -> String {
    let states: Vec<_> = states.collect();
    let count = |state| states.iter().filter(|s| **s == state).count();
    let parts: Vec<_> = STATES
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| format!("{} {}", count(state), state_name(state)))
        .collect();
    parts.join(", ")
}

fn warnings(out: &mut String, warnings: &[String]) {
    let Some((first, others)) = warnings.split_first() else {
        return key(out, "Warnings", "none");
    };
    key(out, "Warnings", first);
    for warning in others {
        let _ = writeln!(out, "{:>16} {warning}", "");
    }
}

fn arrow(outbound: bool) -> &'static str {
    if outbound { "->" } else { "<-" }
}

fn announced_state(established: bool) -> ConnectionState {
    if established {
        ConnectionState::Established
    } else {
        ConnectionState::Pending
    }
}

fn state_name(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Established => "established",
        ConnectionState::Pending => "pending",
        ConnectionState::Retrying => "retrying",
        ConnectionState::Failed => "failed",
        ConnectionState::Connecting => "connecting",
    }
}

fn connection_info(connection: &ConnectionReport) -> String {
    match connection.state {
        ConnectionState::Established | ConnectionState::Pending => live_info(connection),
        ConnectionState::Connecting => connection.error.clone(),
        ConnectionState::Retrying | ConnectionState::Failed => dead_info(connection),
    }
}

fn live_info(connection: &ConnectionReport) -> String {
    let encrypted = if connection.encrypted {
        "encrypted"
    } else {
        "unencrypted"
    };
    let mut info = format!(
        "{encrypted:<11} {:<6} {}",
        connection.datapath, connection.peer
    );
    if !connection.cipher.is_empty() {
        let _ = write!(info, " {}", connection.cipher);
    }
    let _ = write!(info, " mtu={}", connection.mtu);
    if let Some(rtt) = connection.rtt_ms {
        let _ = write!(info, " rtt={rtt:.1}ms");
    }
    if !connection.fast_path_doubt.is_empty() {
        let _ = write!(info, " (encrypted: {})", connection.fast_path_doubt);
    }
    // Why the data path of a pending connection is not up.
    if !connection.error.is_empty() {
        let _ = write!(info, " {}", connection.error);
    }
    info
}

fn dead_info(connection: &ConnectionReport) -> String {
    let retry = match connection.retry_in {
        Some(seconds) => format!("retry in {:.0}s", seconds.max(0.0).ceil()),
        // Whether an inbound connection is tried again is for the other side to say.
        None if !connection.outbound => return connection.error.clone(),
        None => "no retry".to_owned(),
    };
    if connection.error.is_empty() {
        return retry;
    }
    format!("{}, {retry}", connection.error)
}
