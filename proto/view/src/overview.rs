//! The overview of `mesh status`: blocks of lines with right-aligned keys.

use std::fmt::Write as _;

use mesh_proto::api::{
    BridgeReport, ConnectionReport, DnsSummary, ExposedAddress, HostReport, PeerReport, Report,
    RouterReport,
};

use crate::connections::{announced_state, counted};
use crate::peers::named;
use crate::{ipam, networks};

/// Returns the overview of a report.
pub fn text(report: &Report) -> String {
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
    if let Some(summary) = &report.networks {
        key(&mut out, "Networks", &networks::summary(summary));
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

/// Returns the targets of `mesh status targets`, one per line.
pub fn targets(router: &RouterReport) -> String {
    router.targets.iter().map(|t| format!("{t}\n")).collect()
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

fn warnings(out: &mut String, warnings: &[String]) {
    let Some((first, others)) = warnings.split_first() else {
        return key(out, "Warnings", "none");
    };
    key(out, "Warnings", first);
    for warning in others {
        let _ = writeln!(out, "{:>16} {warning}", "");
    }
}
