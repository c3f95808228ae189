//! Servers besides the mesh (API, Docker plugin), and the conditions that end a router.

use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::api::{self, Api};
use crate::attach::Attachments;
use crate::command::ControlCommand;
use crate::host::HostView;
use crate::ipam::Allocator;
use crate::names::Naming;
use crate::networks::NetworksClient;
use crate::plugin::keeper;
use mesh_options::{DEFAULT_PLUGIN_SOCKET, PluginSettings, RouterSettings};

/// Supervises the plugin process for Docker, serves the API, and stops the router on request or on a signal. Failures of
/// the plugin process are not fatal: Docker may be using another router of this host.
pub(super) async fn serve_host(
    plugin: PluginSettings,
    listener: UnixListener,
    host: HostView,
    (attachments, allocator, naming, networks): (
        Arc<Attachments>,
        Allocator,
        Naming,
        NetworksClient,
    ),
    command_sender: mpsc::Sender<ControlCommand>,
) {
    tokio::spawn(keeper::keep(plugin).await);
    let (stop_sender, stop) = mpsc::channel(1);
    let api = Api {
        commands: command_sender.clone(),
        attachments,
        allocator,
        naming,
        networks,
        host: Arc::new(host),
        stop: stop_sender,
    };
    tokio::spawn(async move {
        if let Err(error) = api::serve(listener, api).await {
            tracing::error!("the API ended: {error}");
        }
    });
    tokio::spawn(until_stopped(stop, command_sender));
}

/// Waits for a signal or a stop request, and ends the router.
async fn until_stopped(mut stop: mpsc::Receiver<()>, commands: mpsc::Sender<ControlCommand>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = stop.recv() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(commands.send(ControlCommand::Stop).await);
}

/// Returns the settings of the plugin process.
pub(super) fn plugin_settings(settings: &RouterSettings, offloads_off: bool) -> PluginSettings {
    PluginSettings {
        plugin_socket: DEFAULT_PLUGIN_SOCKET.into(),
        socket: settings.socket.clone(),
        state_dir: std::path::absolute(&settings.state_dir).unwrap_or(settings.state_dir.clone()),
        bridge: settings.bridge.clone(),
        mtu: settings.mtu,
        offloads_off,
        swarm: false,
    }
}
