//! `mesh launch`: options of the router, and of the start.

use clap::Args;
use mesh_options::Options;

use super::weave::WeaveFlags;

/// `mesh launch`.
#[derive(Clone, Debug, Default, Args)]
pub struct LaunchArgs {
    /// Options of the router.
    #[command(flatten)]
    pub router: Options,
    /// Peers by the flag that other tools have for them
    #[arg(long = "peer", alias = "peers", hide = true, value_name = "PEER")]
    pub more_peers: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub foreground: bool,
    /// Dial the stored targets and no others
    #[arg(long, conflicts_with_all = ["peers", "more_peers"])]
    pub resume: bool,
    /// Flags of Weave Net.
    #[command(flatten)]
    pub weave: WeaveFlags,
    /// Do not start the router again when it crashes; with --foreground that is left to whatever started it
    #[arg(long)]
    pub no_restart: bool,
}
