//! The text of `mesh status`: stable columns, one record per line.

use std::fmt::Write as _;

use crate::ipam;
use mesh_proto::api::{
    BridgeReport, ConnectionReport, ConnectionState, DnsSummary, ExposedAddress, HostReport,
    PeerReport, Report, RouterReport,
};

/// States of connections, in the order in which they are counted.
pub(crate) const STATES: [ConnectionState; 5] = [
    ConnectionState::Established,
    ConnectionState::Pending,
    ConnectionState::Retrying,
    ConnectionState::Failed,
    ConnectionState::Connecting,
];

/// `mesh status`: returns blocks of lines with right-aligned keys.
pub(crate) fn overview(report: &Report) -> String {
    let router = &report.router;
    let mut out = String::from("\n");
    key(&mut out, "Version", &report.version);
    out.push('\n');
    key(&mut out, "Service", "router");
    key(&mut out, "Protocol", &protocol(router));
    if !router.restart.is_empty() {
        key(&mut out, "Restart", &router.restart);
    }
    key(&mut out, "Name", &named(&router.name, &router.nick_name));
    key(&mut out, "Encryption", &encryption(router));
    key(&mut out, "Secret", &router.secret);
    key(&mut out, "PeerDiscovery", enabled(router.peer_discovery));
    key(&mut out, "Datapath", &datapath(router));
    if !router.latency.is_empty() {
        key(&mut out, "Latency", &router.latency);
    }
    key(&mut out, "MTU", &router.mtu.to_string());
    key(&mut out, "Targets", &router.targets.len().to_string());
    if !router.forgotten.is_empty() {
        key(&mut out, "Forgotten", &router.forgotten.join(", "));
    }
    key(
        &mut out,
        "Connections",
        &connection_counts(&router.connections),
    );
    key(&mut out, "Peers", &peer_counts(&router.peers));
    if let Some(resolution) = resolution(router) {
        key(&mut out, "ARP and ND", &resolution);
    }
    if let Some(storms) = storms(router) {
        key(&mut out, "Storms", &storms);
    }
    if let Some(report) = &report.ipam {
        key(&mut out, "Addresses", &ipam::summary(report));
        if report.off.is_empty() {
            key(&mut out, "DefaultSubnet", &report.default_subnet);
        }
    }
    if let Some(dns) = &report.dns {
        key(&mut out, "Domain", &domain(dns));
    }
    if let Some(host) = report.host.as_ref().filter(|h| !h.exposed.is_empty()) {
        key(&mut out, "Exposed", &exposed(host));
    }
    if let Some(host) = report.host.as_ref().filter(|h| !h.bridges.is_empty()) {
        key(&mut out, "Bridges", &bridges(host));
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
pub(crate) fn connections(rows: &[&ConnectionReport]) -> String {
    let mut out = String::new();
    for connection in rows {
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

fn key(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key:>15}: {value}");
}

/// Returns the line about ARP and ND requests sent to one container, and those dropped by the rate limit; `None`
/// without counters of them.
fn resolution(router: &RouterReport) -> Option<String> {
    let count = |name: &str| router.counters.get(name);
    let (arp, nd) = (count("arp_directed")?, count("nd_directed")?);
    let mut text = format!("{arp} and {nd} asked of one container, not of everybody");
    if let Some(dropped) = router.drops.get("question_limited").filter(|n| **n > 0) {
        let _ = write!(text, "; {dropped} beyond the limit dropped");
    }
    Some(text)
}

/// Formats the domain, as in `mesh.local (answered at 172.17.0.1:53)`.
fn domain(dns: &DnsSummary) -> String {
    let how = match dns.listen.as_slice() {
        _ if !dns.enabled => "not answered: --no-dns".to_owned(),
        [] => "answered within containers only".to_owned(),
        listen => format!("answered at {}", listen.join(", ")),
    };
    format!("{} ({how})", dns.domain)
}

/// Formats the frames dropped by storm control, by kind; `None` if there are none.
fn storms(router: &RouterReport) -> Option<String> {
    let kinds = [
        ("broadcast_limited", "broadcasts (launch --broadcast-limit)"),
        ("multicast_limited", "multicasts (launch --multicast-limit)"),
        ("unknown_limited", "to unknown MACs"),
    ];
    let dropped = kinds.into_iter().filter_map(|(name, words)| {
        let number = router.drops.get(name).filter(|n| **n > 0)?;
        Some(format!("{number} {words}"))
    });
    let dropped: Vec<String> = dropped.collect();
    (!dropped.is_empty())
        .then(|| format!("frames beyond the limits dropped: {}", dropped.join(", ")))
}

fn protocol(router: &RouterReport) -> String {
    let (min, max) = (router.protocol_min_version, router.protocol_max_version);
    if min == max {
        format!("{} {min}", router.protocol)
    } else {
        format!("{} {min}..{max}", router.protocol)
    }
}

pub(crate) fn named(name: &str, nick_name: &str) -> String {
    format!("{name}({nick_name})")
}

fn enabled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

/// Formats the encryption, with what goes unencrypted.
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

/// Formats the host's addresses, as in `10.32.0.1/12 (masqueraded by nft), 10.2.1.254/24`.
fn exposed(host: &HostReport) -> String {
    let shown = |a: &ExposedAddress| {
        let mut how = Vec::new();
        if a.masquerade {
            how.push(format!("masqueraded by {}", host.firewall));
        }
        if a.forward {
            how.push("forwards to all".to_owned());
        }
        match how.is_empty() {
            true => a.address.clone(),
            false => format!("{} ({})", a.address, how.join(", ")),
        }
    };
    let all: Vec<String> = host.exposed.iter().map(shown).collect();
    all.join(", ")
}

/// Formats the bridges, as in `br0, virbr0 (not joined: cannot …)`.
fn bridges(host: &HostReport) -> String {
    let shown = |b: &BridgeReport| match b.problem.is_empty() {
        true => b.bridge.clone(),
        false => format!("{} (not joined: {})", b.bridge, b.problem),
    };
    let all: Vec<String> = host.bridges.iter().map(shown).collect();
    all.join(", ")
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

/// Formats counts by state, as in `5 established, 1 pending`; states without connections are left out.
pub(crate) fn counted(states: impl Iterator<Item = ConnectionState>) -> String {
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

pub(crate) fn arrow(outbound: bool) -> &'static str {
    if outbound { "->" } else { "<-" }
}

pub(crate) fn announced_state(established: bool) -> ConnectionState {
    if established {
        ConnectionState::Established
    } else {
        ConnectionState::Pending
    }
}

pub(crate) fn state_name(state: ConnectionState) -> &'static str {
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
    // The error says why the data path of a pending connection is down.
    if !connection.error.is_empty() {
        let _ = write!(info, " {}", connection.error);
    }
    info
}

fn dead_info(connection: &ConnectionReport) -> String {
    let retry = match connection.retry_in {
        Some(seconds) => format!("retry in {:.0}s", seconds.max(0.0).ceil()),
        // Only the other end knows if an inbound connection is retried.
        None if !connection.outbound => return connection.error.clone(),
        None => "no retry".to_owned(),
    };
    if connection.error.is_empty() {
        return retry;
    }
    format!("{}, {retry}", connection.error)
}
