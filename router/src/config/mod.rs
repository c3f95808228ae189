//! What the operator asked for: flags, environment, and a TOML file with the same names.
//!
//! A flag wins over the file, the file over the default. Unknown keys in the file are errors.

mod settings;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use mesh_options::{DEFAULT_SOCKET, DEFAULT_STATE_DIR, Options};

pub use self::settings::Settings;
use crate::plugin::PluginSettings;

/// The mesh router: one per host. Usually started by `mesh launch`.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-router",
    version,
    about,
    after_help = "Example:\n  mesh-router --state-dir /var/lib/mesh 10.0.0.7"
)]
pub struct Args {
    /// Something else than routing.
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
    /// Run the router in a process of its own, and start it again after a crash (mesh launch does this).
    #[arg(long, hide = true)]
    pub restart: bool,
    /// Such a process started this one.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// The router ran with these options already, and crashed.
    #[arg(long, hide = true)]
    pub again: bool,
}

/// What the router can do besides routing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Remove everything mesh made on this host: links, rules, namespaces, Docker networks, files.
    Reset {
        /// Where the router kept its state.
        #[arg(long, env = "MESH_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
        state_dir: PathBuf,
        /// The router's socket.
        #[arg(long, env = "MESH_SOCKET", default_value = DEFAULT_SOCKET)]
        socket: PathBuf,
        /// The bridge; taken from the state when absent.
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Answer Docker for this host's router, or by itself while that is away (the router starts it).
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
