//! `mesh status` and its subcommands: views of the report.

use mesh_proto::api::Report;
use mesh_proto::api::ipam::IpamReport;

use crate::peers::{Filter, UnknownState};
use crate::{connections, ipam, overview, peers};

const USAGE: &str = "Usage: mesh status [--json] [--state STATE] [--links] [targets|connections|peers|dns|ipam] [PATTERN]...";

/// Answer of the router that is shown.
#[derive(Debug)]
pub enum StatusSubject {
    /// The report.
    Report(StatusView),
    /// The names, which the report leaves out.
    Names,
}

/// View of the report.
#[derive(Debug)]
pub enum StatusView {
    /// Everything in brief.
    Overview,
    /// Targets, one per line.
    Targets,
    /// Connections.
    Connections(Filter),
    /// Peers; with true, the links of each.
    Peers(Filter, bool),
    /// Address space.
    Ipam,
}

/// A view that does not exist, or that cannot be narrowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Patterns or `--state` for a view without rows. Carries its name.
    #[error("There is nothing to choose from in {0}; {USAGE}")]
    NoRows(String),
    /// No such view.
    #[error("Invalid status sub-command '{0}'; {USAGE}")]
    NoView(String),
    /// No such state.
    #[error(transparent)]
    State(#[from] UnknownState),
}

impl StatusSubject {
    /// Returns the subject of `mesh status WHAT`, narrowed to rows that contain one of `patterns` and are in `state`.
    ///
    /// # Errors
    /// Fails if there is no such view or state, or if the view has no rows to choose from.
    pub fn choose(
        what: Option<&str>,
        patterns: &[String],
        state: Option<&str>,
        links: bool,
    ) -> Result<Self, StatusError> {
        let has_filter = !patterns.is_empty() || state.is_some() || links;
        let view = match what {
            Some("connections") => {
                StatusView::Connections(Filter::for_connections(patterns, state)?)
            }
            Some("peers") => StatusView::Peers(Filter::for_peers(patterns, state)?, links),
            what if has_filter => {
                let what = what.unwrap_or("the overview");
                return Err(StatusError::NoRows(what.to_owned()));
            }
            None => StatusView::Overview,
            Some("targets") => StatusView::Targets,
            Some("ipam") => StatusView::Ipam,
            Some("dns") => return Ok(Self::Names),
            Some(other) => return Err(StatusError::NoView(other.to_owned())),
        };
        Ok(Self::Report(view))
    }
}

impl StatusView {
    /// Returns the text of the view.
    pub fn text(&self, report: &Report) -> String {
        match self {
            Self::Overview => overview::text(report),
            Self::Targets => overview::targets(&report.router),
            Self::Connections(filter) => connections::text(&filter.connections(&report.router)),
            Self::Peers(filter, links) => peers::text(&report.router, filter, *links),
            Self::Ipam => ipam::text(&report.ipam.clone().unwrap_or_else(no_addresses)),
        }
    }

    /// Returns the view as indented JSON.
    ///
    /// # Errors
    /// Fails if the report has a value that JSON cannot express.
    pub fn json(&self, report: &Report) -> serde_json::Result<String> {
        let router = &report.router;
        match self {
            Self::Overview => serde_json::to_string_pretty(report),
            Self::Targets => serde_json::to_string_pretty(&router.targets),
            Self::Connections(filter) => serde_json::to_string_pretty(&filter.connections(router)),
            Self::Peers(filter, _) => serde_json::to_string_pretty(&filter.peers(router)),
            Self::Ipam => serde_json::to_string_pretty(&report.ipam),
        }
    }
}

/// Returns the report for a router that is too old to send one.
fn no_addresses() -> IpamReport {
    IpamReport {
        off: "this router is of a version that allocates no addresses".to_owned(),
        ..IpamReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: Option<&str>, patterns: &[&str], state: Option<&str>) -> String {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        match StatusSubject::choose(what, &patterns, state, false) {
            Ok(subject) => format!("{subject:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_view_has_a_name() {
        assert_eq!(told(None, &[], None), "Report(Overview)");
        assert_eq!(told(Some("targets"), &[], None), "Report(Targets)");
        assert_eq!(told(Some("ipam"), &[], None), "Report(Ipam)");
        assert_eq!(told(Some("dns"), &[], None), "Names");
        let other = told(Some("peeers"), &[], None);
        assert_eq!(
            other,
            format!("Invalid status sub-command 'peeers'; {USAGE}")
        );
    }

    #[test]
    fn only_lists_can_be_narrowed() {
        assert!(told(Some("peers"), &["host7"], Some("direct")).starts_with("Report(Peers("));
        let retrying = told(Some("connections"), &[], Some("retrying"));
        assert!(retrying.starts_with("Report(Connections("), "{retrying}");
        assert_eq!(
            told(Some("connections"), &[], Some("direct")),
            "there is no state 'direct' here; it is one of established, pending, retrying, failed, connecting"
        );
        let nothing = |what| format!("There is nothing to choose from in {what}; {USAGE}");
        assert_eq!(told(None, &["x"], None), nothing("the overview"));
        assert_eq!(told(Some("dns"), &["x"], None), nothing("dns"));
    }
}
