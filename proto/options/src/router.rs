//! Command line of `mesh-router`.

use std::path::PathBuf;

use clap::Parser;

use crate::declared::Options;
use crate::plugin::PluginSettings;
use crate::{DEFAULT_SOCKET, DEFAULT_STATE_DIR};

/// The mesh router: one per host. Usually started by `mesh launch`.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-router",
    version,
    about = "The mesh router: one per host, moves frames between the local bridge and its peers",
    after_help = "Example:\n  mesh-router --state-dir /var/lib/mesh 10.0.0.7"
)]
pub struct RouterArgs {
    /// Other task than routing.
    #[command(subcommand)]
    pub command: Option<RouterTask>,
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
pub enum RouterTask {
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

impl RouterArgs {
    /// Returns the options of the command line.
    pub fn options(&self) -> Options {
        Options {
            socket: self.socket.clone(),
            ..self.options.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_nickname_is_called_so() {
        let help = RouterArgs::command().render_long_help().to_string();
        assert!(help.contains("Nickname of this router (default:"), "{help}");
        let others = ["human name", "people call"];
        assert!(!others.iter().any(|o| help.contains(o)), "{help}");
    }

    #[test]
    fn the_socket_is_an_option_like_the_others() {
        let words = ["mesh-router", "--socket", "/s", "--port", "7000", "peer1"];
        let options = RouterArgs::try_parse_from(words).unwrap().options();
        assert_eq!(options.socket, Some(PathBuf::from("/s")));
        assert_eq!(
            (options.port, options.peers),
            (Some(7000), vec!["peer1".to_owned()])
        );
    }
}
