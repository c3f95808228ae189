//! `mesh status ipam`: owners of address space, leases and loans.

use std::fmt::Write as _;

use mesh_proto::api::ipam::{IpamOwner, IpamReport};

/// Returns the text of `mesh status ipam`.
pub fn text(report: &IpamReport) -> String {
    if !report.off.is_empty() {
        return format!("{}\n", report.off);
    }
    let mut out = format!(
        "Range {}, default subnet {}\n",
        report.range, report.default_subnet
    );
    if !report.range6.is_empty() {
        let _ = writeln!(out, "IPv6 addresses of {} go with them", report.range6);
    }
    if report.owners.is_empty() {
        out.push_str("Nobody owns it yet: the first allocation, or `mesh prime`, changes that\n");
    }
    space(&mut out, report);
    for network in &report.networks {
        let _ = writeln!(
            out,
            "\nRange {}, network {}",
            network.range, network.network
        );
        if network.owners.is_empty() {
            out.push_str("Its founder owns it\n");
        }
        space(&mut out, network);
    }
    out
}

/// Writes owners, leases and loans of one range.
fn space(out: &mut String, report: &IpamReport) {
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
pub fn summary(report: &IpamReport) -> String {
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
    let beside = match report.range6.is_empty() {
        true => String::new(),
        false => format!(" and {}", report.range6),
    };
    format!(
        "{}{beside} ({state}, {held} held here{waiting})",
        report.range
    )
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
        report.networks = vec![IpamReport {
            network: "web".into(),
            range: "10.40.0.0/24".into(),
            owners: vec![owner("host1", 1)],
            ..IpamReport::default()
        }];
        let shown = text(&report);
        assert!(
            shown.contains("\nRange 10.40.0.0/24, network web\nhost1"),
            "{shown}"
        );
        assert_eq!(
            summary(&report),
            "10.32.0.0/12 (owns 512 addresses, 0 held here)"
        );
    }
}
