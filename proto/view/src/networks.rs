//! `mesh network ls` and `inspect`, and the line of `mesh status` about networks.

use std::fmt::Write as _;

use mesh_proto::api::{NetworkHost, NetworkReport, NetworkSubnetReport, NetworksSummary};

/// Digits of an id in the table, as Docker shows them.
const SHORT_ID: usize = 12;
/// Blanks between two columns.
const GAP: usize = 3;

/// Returns one line per network below a heading.
pub fn table(networks: &[NetworkReport]) -> String {
    let mut rows = vec![["NETWORK ID", "NAME", "SUBNETS", "HOSTS"].map(ToOwned::to_owned)];
    rows.extend(networks.iter().map(row));
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<0$}", width + GAP);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(network: &NetworkReport) -> [String; 4] {
    let subnets = network.subnets.iter().map(|s| s.subnet.as_str());
    let subnets: Vec<&str> = subnets.collect();
    let name = match network.shadowed_by.is_empty() {
        true => network.name.clone(),
        false => format!("{} (by id only)", network.name),
    };
    [
        short(&network.id).to_owned(),
        name,
        subnets.join(", "),
        network.hosts.len().to_string(),
    ]
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// Returns all about one network, with right-aligned keys.
pub fn details(network: &NetworkReport) -> String {
    let mut out = String::new();
    let mut key = |key: &str, value: &str| {
        let _ = writeln!(out, "{key:>15}: {value}");
    };
    key("Id", &network.id);
    key("Name", &network.name);
    if !network.shadowed_by.is_empty() {
        let by = short(&network.shadowed_by);
        key(
            "Shadowed",
            &format!("{by} has the name; this one is known by its id only"),
        );
    }
    for subnet in &network.subnets {
        key("Subnet", &subnet_text(subnet));
    }
    if network.internal {
        key("Internal", "leads nowhere else");
    }
    if let Some(mtu) = network.mtu {
        key("MTU", &mtu.to_string());
    }
    for (label, value) in &network.labels {
        key("Label", &format!("{label}={value}"));
    }
    if !network.created_by.is_empty() {
        let when = date(network.created);
        key("Created", &format!("{when} by {}", network.created_by));
    }
    for host in &network.hosts {
        key("Host", &host_text(host));
    }
    if !network.containers.is_empty() {
        key("Containers", &network.containers.join(", "));
    }
    out
}

fn subnet_text(subnet: &NetworkSubnetReport) -> String {
    let mut text = subnet.subnet.clone();
    if !subnet.gateway.is_empty() {
        let _ = write!(text, ", gateway {}", subnet.gateway);
    }
    if !subnet.ip_range.is_empty() {
        let _ = write!(text, ", addresses of {}", subnet.ip_range);
    }
    text
}

fn host_text(host: &NetworkHost) -> String {
    let mut text = match host.nick_name.is_empty() {
        true => host.peer.clone(),
        false => format!("{}({})", host.peer, host.nick_name),
    };
    if host.is_self {
        text.push_str(", this host");
    }
    if !host.reachable {
        text.push_str(", out of reach");
    }
    text
}

/// Returns the line of `mesh status`.
pub fn summary(summary: &NetworksSummary) -> String {
    let mut text = format!(
        "{} besides default, {} with containers here",
        summary.known, summary.used
    );
    if summary.shadowed > 0 {
        let _ = write!(text, ", {} without a name", summary.shadowed);
    }
    if summary.left_out > 0 {
        let _ = write!(
            text,
            ", {} not announced for lack of room",
            summary.left_out
        );
    }
    if summary.without_room > 0 {
        let _ = write!(
            text,
            "; no room for those of {} hosts",
            summary.without_room
        );
    }
    text
}

/// Formats seconds since 1970 as RFC 3339 does, in UTC.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, in eras of 400 years: leap days come last then.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..10 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    let year = era * 400 + year + later;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), text);
        }
        // The clock of a creator may say anything.
        assert!(!date(u64::MAX).is_empty());
    }

    #[test]
    fn the_line_of_status_says_what_is_wrong() {
        let mut figures = NetworksSummary {
            known: 3,
            used: 1,
            ..NetworksSummary::default()
        };
        assert_eq!(
            summary(&figures),
            "3 besides default, 1 with containers here"
        );
        figures.shadowed = 1;
        figures.without_room = 2;
        let text = summary(&figures);
        assert!(
            text.ends_with(", 1 without a name; no room for those of 2 hosts"),
            "{text}"
        );
    }
}
