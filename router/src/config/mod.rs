//! Options of the operator: flags, environment, and a TOML file with the same names.
//!
//! A flag wins over the file, the file over the default. Unknown keys in the file are errors.

mod dns;
mod plugin;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use mesh_options::{DEFAULT_SOCKET, DEFAULT_STATE_DIR, Options};

pub(crate) use self::dns::DNS_PORT;
pub use self::dns::DnsSettings;
pub use self::plugin::{DEFAULT_PLUGIN_SOCKET, PluginSettings};
pub use self::settings::Settings;

/// The mesh router: one per host. Usually started by `mesh launch`.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-router",
    version,
    about,
    after_help = "Example:\n  mesh-router --state-dir /var/lib/mesh 10.0.0.7"
)]
pub struct Args {
    /// Other task than routing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the router.
    #[command(flatten)]
    options: Options,
    /// Unix socket that the mesh command speaks to (default: /run/mesh/mesh.sock).
    #[arg(long, env = "MESH_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Detach from the terminal (mesh launch does this).
    #[arg(long, hide = true)]
    pub daemon: bool,
    /// Dial the stored targets and no others.
    #[arg(long, conflicts_with = "peers")]
    pub resume: bool,
    /// Run the router in a child process, and restart it after a crash (mesh launch does this).
    #[arg(long, hide = true)]
    pub restart: bool,
    /// This process is such a child.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// This is a restart after a crash, with the same options.
    #[arg(long, hide = true)]
    pub again: bool,
}

/// Tasks of the program besides routing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Remove everything mesh created on this host: interfaces, rules, namespaces, Docker networks, files.
    Reset {
        /// State directory of the router.
        #[arg(long, env = "MESH_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
        state_dir: PathBuf,
        /// API socket of the router.
        #[arg(long, env = "MESH_SOCKET", default_value = DEFAULT_SOCKET)]
        socket: PathBuf,
        /// Name of the bridge [default: as in the state].
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Serve Docker's network plugin socket, with or without a running router (the router starts it).
    Plugin(PluginSettings),
}

impl Args {
    /// Options of the command line.
    pub fn options(&self) -> Options {
        Options {
            socket: self.socket.clone(),
            ..self.options.clone()
        }
    }
}

fn read_file(path: &Path) -> anyhow::Result<Options> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    Options::from_toml(&text).map_err(|error| anyhow::anyhow!("{}, {error}", path.display()))
}
