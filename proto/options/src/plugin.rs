//! Settings of the plugin process.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

/// Default of the socket that Docker calls the plugin on.
pub const DEFAULT_PLUGIN_SOCKET: &str = "/run/docker/plugins/mesh.sock";

/// Router and bridge that the process serves.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct PluginSettings {
    /// Socket that Docker calls the plugin on.
    #[arg(long, default_value = DEFAULT_PLUGIN_SOCKET)]
    pub plugin_socket: PathBuf,
    /// The router's socket.
    #[arg(long, env = "MESH_SOCKET", default_value = crate::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// The router's state directory, which is read while no router answers.
    #[arg(long, default_value = crate::DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// The bridge.
    #[arg(long, default_value = crate::DEFAULT_BRIDGE)]
    pub bridge: String,
    /// MTU of the mesh in bytes.
    #[arg(long, default_value_t = mesh_proto::limits::DEFAULT_MTU)]
    pub mtu: u16,
    /// Turn off checksum and segmentation offloads of containers' interfaces, as a router with pcap needs.
    #[arg(long)]
    pub offloads_off: bool,
    /// Serve Docker's Swarm, as its managed plugin does: networks are known to all nodes.
    #[arg(long)]
    #[serde(default)]
    pub swarm: bool,
}

impl PluginSettings {
    /// Returns the arguments that start a process with these settings.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["plugin".into()];
        for (name, value) in [
            ("--plugin-socket", self.plugin_socket.as_os_str()),
            ("--socket", self.socket.as_os_str()),
            ("--state-dir", self.state_dir.as_os_str()),
            ("--bridge", self.bridge.as_ref()),
            ("--mtu", self.mtu.to_string().as_ref()),
        ] {
            arguments.extend([name.into(), value.to_owned()]);
        }
        for (name, is_on) in [
            ("--offloads-off", self.offloads_off),
            ("--swarm", self.swarm),
        ] {
            if is_on {
                arguments.push(name.into());
            }
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: PluginSettings,
    }

    #[test]
    fn a_process_is_started_with_the_same_settings() {
        let settings = PluginSettings {
            plugin_socket: "/p".into(),
            socket: "/s".into(),
            state_dir: "/d".into(),
            bridge: "mesh0".into(),
            mtu: 1400,
            offloads_off: true,
            swarm: true,
        };
        let arguments = settings.arguments();
        assert_eq!(arguments[0], "plugin");
        let program = Program::try_parse_from(arguments).unwrap();
        assert_eq!(program.settings, settings);
    }
}
