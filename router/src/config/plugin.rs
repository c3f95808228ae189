//! Settings of the plugin process.

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
    #[arg(long, env = "MESH_SOCKET", default_value = mesh_options::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// The bridge.
    #[arg(long, default_value = mesh_options::DEFAULT_BRIDGE)]
    pub bridge: String,
    /// MTU of the mesh in bytes.
    #[arg(long, default_value_t = mesh_proto::limits::DEFAULT_MTU)]
    pub mtu: u16,
    /// Turn off checksum and segmentation offloads of containers' interfaces, as a router with pcap needs.
    #[arg(long)]
    pub offloads_off: bool,
}
