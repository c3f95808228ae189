//! Arguments of the verbs that show state.

use clap::Args;

/// `mesh ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Containers to list (default: all)
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// `mesh version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `mesh topology`.
#[derive(Debug, Args)]
pub struct TopologyArgs {
    /// Print DOT, for Graphviz
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    pub dot: bool,
    /// Print SVG, for a browser
    #[arg(long, conflicts_with = "json")]
    pub svg: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `mesh status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Only rows in this state. Peers: self, direct, relayed, unreachable; connections: established, pending, retrying,
    /// failed, connecting
    #[arg(long)]
    pub state: Option<String>,
    /// Peers: list the links of each peer, however many there are
    #[arg(long)]
    pub links: bool,
    /// Detail to show: targets, connections, peers, dns or ipam
    #[arg(value_name = "SUB-COMMAND")]
    pub what: Option<String>,
    /// Peers and connections: only rows with one of these texts in their name, nickname, identity or address
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
}

/// `mesh report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Go template to render the report with
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "json")]
    pub format: Option<String>,
    /// Print JSON (the default)
    #[arg(long)]
    pub json: bool,
    /// Print the lengths of long lists (peers, routes, MACs) in place of their entries
    #[arg(long)]
    pub summary: bool,
    /// Only entries of those lists that contain one of these texts
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
}
