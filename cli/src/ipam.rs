//! `mesh prime`, `mesh rmpeer`, the text of `mesh status ipam`, and requests that wait for an address.

use std::fmt::Write as _;
use std::time::Duration;

use mesh_proto::api::ipam::{
    IpamOwner, IpamReport, IpamWaiting, PrimeRequest, RemoveRequest, Removed,
};
use mesh_proto::api::{Done, EngineWaiting, WaitingReport};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{PrimeArgs, RmpeerArgs};
use crate::client::{Client, ClientError};
use crate::engine::wait;
use crate::output;
use crate::output::Outcome;

/// Default timeout of an allocation or of `prime`, in seconds; the same as the router's.
const TIMEOUT: f64 = 30.0;
/// Time in seconds after which the user is told that an engine has not answered the router.
const PATIENCE: f64 = 0.5;
/// Time allowed for the other steps of a request.
const REST: Duration = Duration::from_secs(60);

/// Waits until the address range has an owner.
pub(crate) fn prime(client: &Client, args: &PrimeArgs) -> Outcome {
    let timeout = args.timeout.unwrap_or(TIMEOUT);
    let request = PrimeRequest { timeout };
    let _: Done = client.post_within("/ipam/prime", &request, deadline(Some(timeout)))?;
    Ok(0)
}

/// Removes routers that are gone for good; other routers take over their address space.
pub(crate) fn rmpeer(client: &Client, args: &RmpeerArgs) -> Outcome {
    let request = RemoveRequest {
        peers: args.peers.clone(),
        force: args.force,
    };
    let removed: Removed = client.post("/ipam/remove", &request)?;
    if args.json {
        output::print_json(&removed)?;
        return Ok(0);
    }
    for line in removed.lines {
        output::print_line(&line)?;
    }
    Ok(0)
}

/// Sends a request that may wait for an address or an engine, and tells the user what it waits for.
pub(crate) fn post_waiting<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    timeout: Option<f64>,
) -> Result<T, ClientError> {
    let mut told = String::new();
    let mut tell = |waiting: WaitingReport| {
        let ours = |w: &&IpamWaiting| w.caller_pid == std::process::id();
        let is_late = |e: &&EngineWaiting| e.since >= PATIENCE;
        if let Some(engine) = waiting.engines.iter().find(is_late) {
            let limit = Duration::try_from_secs_f64(engine.limit).unwrap_or_default();
            wait::say_once(&engine.engine, limit);
        }
        let Some(waiting) = waiting
            .addresses
            .iter()
            .find(ours)
            .filter(|w| w.why != told)
        else {
            return;
        };
        let (want, why) = (&waiting.want, &waiting.why);
        let left = waiting.left.round();
        output::complain(&format!("waiting for {want}: {why} (for {left} s at most)"));
        told.clone_from(why);
    };
    client.post_patiently(path, body, deadline(timeout), "/waiting", &mut tell)
}

fn deadline(timeout: Option<f64>) -> Duration {
    let timeout = Duration::try_from_secs_f64(timeout.unwrap_or(TIMEOUT));
    // The router refuses a timeout that is not a valid time.
    REST + timeout.unwrap_or_default().min(Duration::from_secs(86_400))
}

/// Returns the text of `mesh status ipam`.
pub(crate) fn text(report: &IpamReport) -> String {
    if !report.off.is_empty() {
        return format!("{}\n", report.off);
    }
    let mut out = format!(
        "Range {}, default subnet {}\n",
        report.range, report.default_subnet
    );
    if report.owners.is_empty() {
        out.push_str("Nobody owns it yet: the first allocation, or `mesh prime`, changes that\n");
    }
    let all: u64 = report.owners.iter().map(|owner| owner.addresses).sum();
    for owner in &report.owners {
        let _ = writeln!(out, "{}", owner_line(owner, all));
    }
    if !report.owners.is_empty() {
        let _ = writeln!(
            out,
            "{} addresses are free in this router's own space",
            report.free
        );
    }
    for held in &report.allocations {
        let lent = match held.leased_from.is_empty() {
            true => String::new(),
            false => format!(", lent by {}", held.leased_from),
        };
        let how = if held.explicit {
            "claimed"
        } else {
            "allocated"
        };
        let _ = writeln!(out, "{:<18} {}, {how}{lent}", held.address, held.container);
    }
    for lease in &report.remote_leases {
        let _ = writeln!(out, "{:<18} lent to {}", lease.address, lease.peer);
    }
    for waiting in &report.waiting {
        let (container, want, why) = (&waiting.container, &waiting.want, &waiting.why);
        let left = waiting.left.round();
        let _ = writeln!(
            out,
            "{container} waits for {want}: {why} (for {left} s at most)"
        );
    }
    for line in &report.advice {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn owner_line(owner: &IpamOwner, all: u64) -> String {
    let percent = (owner.addresses * 1_000).checked_div(all).unwrap_or(0);
    let mut line = format!(
        "{:<20} {:>9} addresses {:>3}.{} %",
        owner.peer,
        owner.addresses,
        percent / 10,
        percent % 10
    );
    if owner.is_self {
        line.push_str("  this router");
    }
    if owner.pending > 0 {
        let _ = write!(line, ", {} slices not usable yet", owner.pending);
    }
    if !owner.reachable {
        line.push_str("  unreachable");
    }
    line
}

/// Returns the line of `mesh status` about addresses.
pub(crate) fn summary(report: &IpamReport) -> String {
    if !report.off.is_empty() {
        return "off".to_owned();
    }
    let state = match report.owners.iter().find(|owner| owner.is_self) {
        _ if report.owners.is_empty() => "idle".to_owned(),
        Some(owner) => format!("owns {} addresses", owner.addresses),
        None => "owns none yet".to_owned(),
    };
    let waiting = match report.waiting.len() {
        0 => String::new(),
        n => format!(", {n} requests wait"),
    };
    let held = report.allocations.len();
    format!("{} ({state}, {held} held here{waiting})", report.range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_shows() {
        let off = IpamReport {
            off: "none here".into(),
            ..IpamReport::default()
        };
        assert_eq!(
            (text(&off).as_str(), summary(&off).as_str()),
            ("none here\n", "off")
        );
        let owner = |peer: &str, slices: usize| IpamOwner {
            peer: peer.into(),
            addresses: 256 * slices as u64,
            slices,
            reachable: peer != "host3",
            is_self: peer == "host1",
            ..IpamOwner::default()
        };
        let mut report = IpamReport {
            range: "10.32.0.0/12".into(),
            default_subnet: "10.32.0.0/12".into(),
            ..IpamReport::default()
        };
        assert!(text(&report).contains("Nobody owns it yet"));
        assert_eq!(summary(&report), "10.32.0.0/12 (idle, 0 held here)");
        report.owners = vec![owner("host1", 2), owner("host3", 1)];
        report.advice = vec!["do this".into()];
        let shown = text(&report);
        assert!(
            shown.contains("host1                      512 addresses  66.6 %  this router"),
            "{shown}"
        );
        assert!(shown.contains("33.3 %  unreachable"), "{shown}");
        assert!(shown.ends_with("do this\n"));
        assert_eq!(
            summary(&report),
            "10.32.0.0/12 (owns 512 addresses, 0 held here)"
        );
    }
}
