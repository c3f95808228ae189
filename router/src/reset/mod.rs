//! `mesh-router reset`: command-line wrapper of [`cleanup`].

pub mod cleanup;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use mesh_proto::limits::DEFAULT_MTU;
use mesh_sys::bridge::{BridgeConfig, PortKind};

use crate::attach::HostKernel;
use crate::config::DEFAULT_PLUGIN_SOCKET;
use crate::engine::Engines;
use mesh_options::DEFAULT_BRIDGE;

use self::cleanup::Leftovers;

/// Removes everything a router created on this host, and prints one line per removed object.
///
/// # Errors
/// A router runs on this state directory, or an object could not be removed: one line that names it.
pub fn run(state_dir: &Path, api_socket: &Path, bridge: Option<&str>) -> anyhow::Result<()> {
    mesh_sys::process::check_capabilities()?;
    let bridge = bridge.unwrap_or(DEFAULT_BRIDGE);
    let config = BridgeConfig {
        name: bridge.to_owned(),
        mtu: DEFAULT_MTU,
        mac: None,
        port: PortKind::Veth,
    };
    let kernel = HostKernel::new(config, true);
    let leftovers = Leftovers {
        kernel: Arc::new(kernel),
        engines: Engines::local(),
        bridge: bridge.to_owned(),
        state_dir: state_dir.to_owned(),
        api_socket: api_socket.to_owned(),
        plugin_socket: DEFAULT_PLUGIN_SOCKET.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let report = runtime.block_on(cleanup::reset(&leftovers))?;
    let mut out = std::io::stdout();
    for line in &report.removed {
        writeln!(out, "removed {line}").context("cannot print")?;
    }
    if !report.failed.is_empty() {
        bail!(
            "not everything could be removed: {}",
            report.failed.join("; ")
        );
    }
    Ok(())
}
