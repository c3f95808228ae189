//! `mesh launch`: options of the router, and of the start.

use clap::Args;
use mesh_options::Options;

use super::weave::WeaveFlags;

/// `mesh launch`.
#[derive(Debug, Default, Args)]
pub(crate) struct LaunchArgs {
    #[command(flatten)]
    pub(crate) router: Options,
    /// Peers by the flag that other tools have for them
    #[arg(long = "peer", alias = "peers", hide = true, value_name = "PEER")]
    pub(crate) more_peers: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Dial the stored targets and no others
    #[arg(long, conflicts_with_all = ["peers", "more_peers"])]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) weave: WeaveFlags,
    /// Do not start the router again when it crashes; with --foreground that is left to whatever started it
    #[arg(long)]
    pub(crate) no_restart: bool,
}
