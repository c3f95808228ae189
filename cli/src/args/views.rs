//! Arguments of the verbs that show state.

use clap::Args;

/// `mesh ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Containers to list (default: all)
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// `mesh version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `mesh topology`.
#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// Print DOT, for Graphviz
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    pub(crate) dot: bool,
    /// Print SVG, for a browser
    #[arg(long, conflicts_with = "json")]
    pub(crate) svg: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `mesh status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only rows in this state. Peers: self, direct, relayed, unreachable; connections: established, pending, retrying,
    /// failed, connecting
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Peers: list the links of each peer, however many there are
    #[arg(long)]
    pub(crate) links: bool,
    /// Detail to show: targets, connections, peers, dns or ipam
    #[arg(value_name = "SUB-COMMAND")]
    pub(crate) what: Option<String>,
    /// Peers and connections: only rows with one of these texts in their name, nickname, identity or address
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
}

/// `mesh report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Go template to render the report with
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "json")]
    pub(crate) format: Option<String>,
    /// Print JSON (the default)
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the lengths of long lists (peers, routes, MACs) in place of their entries
    #[arg(long)]
    pub(crate) summary: bool,
    /// Only entries of those lists that contain one of these texts
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
}
