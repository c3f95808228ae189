//! `mesh status peers` and `mesh status connections`: selection of rows, and a summary above the peers.

use std::fmt::Write as _;

use mesh_proto::api::{ConnectionReport, PeerReport, RouterReport};

use crate::connections::{STATES, announced_state, arrow, counted, state_name};

/// Most routers that are shown with their links; with more, each gets one line unless `--links` is given.
const WITH_LINKS: usize = 50;

/// Selection of rows.
#[derive(Debug, Default)]
pub struct Filter {
    /// Lower-case substrings of names, identities or addresses; a row that contains any of them is shown.
    patterns: Vec<String>,
    state: Option<String>,
}

/// A value of `--state` that rows of this kind do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no state '{state}' here; it is one of {states}")]
pub struct UnknownState {
    state: String,
    states: String,
}

/// Values of `--state` for routers, in the order in which they are counted.
const WAYS: [&str; 4] = ["self", "direct", "relayed", "unreachable"];

impl Filter {
    /// Returns a filter for routers.
    ///
    /// # Errors
    /// Fails if `state` is not a state of routers.
    pub fn for_peers(patterns: &[String], state: Option<&str>) -> Result<Self, UnknownState> {
        Self::new(patterns, state, &WAYS)
    }

    /// Returns a filter for connections.
    ///
    /// # Errors
    /// Fails if `state` is not a state of connections.
    pub fn for_connections(patterns: &[String], state: Option<&str>) -> Result<Self, UnknownState> {
        Self::new(patterns, state, &STATES.map(state_name))
    }

    fn new(
        patterns: &[String],
        state: Option<&str>,
        states: &[&str],
    ) -> Result<Self, UnknownState> {
        if let Some(state) = state.filter(|state| !states.contains(state)) {
            return Err(UnknownState {
                state: state.to_owned(),
                states: states.join(", "),
            });
        }
        Ok(Self {
            patterns: patterns.iter().map(|p| p.to_lowercase()).collect(),
            state: state.map(str::to_owned),
        })
    }

    /// True if all rows are shown.
    fn is_open(&self) -> bool {
        self.patterns.is_empty() && self.state.is_none()
    }

    fn passes(&self, state: &str, texts: &[&str]) -> bool {
        let is_named = |pattern: &String| {
            let mut texts = texts.iter();
            texts.any(|text| text.to_lowercase().contains(pattern))
        };
        self.state.as_deref().is_none_or(|wanted| wanted == state)
            && (self.patterns.is_empty() || self.patterns.iter().any(is_named))
    }

    /// Returns the routers to show.
    pub fn peers<'a>(&self, router: &'a RouterReport) -> Vec<&'a PeerReport> {
        let passes = |peer: &&PeerReport| {
            // Only direct paths: a relaying router is found by its own name.
            let address = peer.path.strip_prefix("direct ").unwrap_or_default();
            let texts = [&peer.name, &peer.nick_name, &peer.id, address];
            self.passes(way(peer), &texts)
        };
        router.peers.iter().filter(passes).collect()
    }

    /// Returns the connections to show.
    pub fn connections<'a>(&self, router: &'a RouterReport) -> Vec<&'a ConnectionReport> {
        let passes = |row: &&ConnectionReport| {
            let state = state_name(row.state);
            self.passes(state, &[&row.address, &row.peer])
        };
        router.connections.iter().filter(passes).collect()
    }
}

/// Returns the list of routers, below a summary.
pub fn text(router: &RouterReport, filter: &Filter, links: bool) -> String {
    let shown = filter.peers(router);
    let mut out = summary(&router.peers);
    if !filter.is_open() {
        let _ = writeln!(out, "{} shown", count(shown.len(), "router"));
    }
    if links || shown.len() <= WITH_LINKS {
        out.push_str(&with_links(&shown));
    } else {
        for peer in shown {
            let _ = writeln!(out, "{}", line(peer));
        }
    }
    out
}

/// Returns a router with its nickname, as in `7a:00:00:00:00:01(host1)`.
pub(crate) fn named(name: &str, nick_name: &str) -> String {
    format!("{name}({nick_name})")
}

fn summary(peers: &[PeerReport]) -> String {
    let ways = WAYS.into_iter().filter_map(|wanted| {
        let n = peers.iter().filter(|peer| way(peer) == wanted).count();
        (n > 0).then(|| format!("{n} {wanted}"))
    });
    let ways: Vec<String> = ways.collect();
    let all = peers.iter().flat_map(|peer| &peer.connections);
    let states = counted(all.clone().map(|c| announced_state(c.established)));
    let attached: usize = peers.iter().map(|peer| peer.attached).sum();
    let among = |parts: &str| match parts {
        "" => String::new(),
        parts => format!(" ({parts})"),
    };
    format!(
        "{}{}, {}{}, {}\n",
        count(peers.len(), "router"),
        among(&ways.join(", ")),
        count(all.count(), "link end"),
        among(&states),
        count(attached, "container address")
    )
}

/// Returns each router with the links that it announces.
fn with_links(peers: &[&PeerReport]) -> String {
    let mut out = String::new();
    for peer in peers {
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

fn line(peer: &PeerReport) -> String {
    let path = match peer.path.as_str() {
        "none" => "unreachable",
        path => path,
    };
    let links = peer.connections.len();
    let up = peer.connections.iter().filter(|c| c.established).count();
    format!(
        "{:<37} {path:<44} {up}/{links} links, {}",
        named(&peer.name, &peer.nick_name),
        count(peer.attached, "address")
    )
}

fn way(peer: &PeerReport) -> &'static str {
    match peer.path.split(' ').next() {
        _ if peer.is_self => "self",
        Some("direct") => "direct",
        Some("via") => "relayed",
        _ => "unreachable",
    }
}

fn count(n: usize, what: &str) -> String {
    match (n, what.strip_suffix("ss")) {
        (1, _) => format!("1 {what}"),
        (n, Some(_)) => format!("{n} {what}es"),
        (n, None) => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests;
