//! The plugin process: owns the socket by which dockerd asks the driver `mesh`, and outlives the router.
//!
//! dockerd asks for each container that starts, stops or is removed, and asks again for half a minute when nobody
//! answers. So that no container waits for a router that is being upgraded, has ended or hangs, the socket belongs to
//! this small process. It hands each call to the router ([`forward`]) and answers by itself ([`Alone`]) when that does
//! not answer at once; the router finds what was done without it in the kernel and in Docker. The router starts it, and
//! replaces it by its own version without a gap ([`keeper`]); `mesh reset` ends it.

mod forward;
pub(crate) mod keeper;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Uri;
use axum::response::Response;
use clap::Args;
use mesh_sys::bridge::{BridgeConfig, PortKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::attach::HostKernel;
use crate::attach::kernel::KernelApi;
use crate::driver::{self, Alone, DriverBackend, MAX_REQUEST, PluginSocket};
use crate::log;

use forward::Forward;

/// Where the router answers calls that are handed on, on its API socket.
pub(crate) const ROUTER_PATH: &str = "/driver";
/// The name of the process, of 15 bytes at most.
const NAME: &str = "mesh-plugin";
/// What the process says of itself.
const DESCRIBE: &str = "Mesh.Describe";
/// Ends it.
const END: &str = "Mesh.End";
/// After another process has taken the place of its socket, who came before that is still let in for this long.
const LAST_CALLERS: Duration = Duration::from_millis(100);
/// How long calls that are under way may take when it ends.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// The router and bridge that the process answers for.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct PluginSettings {
    /// Where Docker looks for it.
    #[arg(long, default_value = driver::DEFAULT_SOCKET)]
    pub plugin_socket: PathBuf,
    /// The router's socket.
    #[arg(long, env = "MESH_SOCKET", default_value = crate::config::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// The bridge.
    #[arg(long, default_value = crate::config::DEFAULT_BRIDGE)]
    pub bridge: String,
    /// MTU of the mesh, in bytes.
    #[arg(long, default_value_t = mesh_proto::limits::DEFAULT_MTU)]
    pub mtu: u16,
    /// Switch checksum and segmentation offloads of containers' interfaces off, as a router with pcap needs.
    #[arg(long)]
    pub offloads_off: bool,
}

/// What a plugin process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    settings: PluginSettings,
    /// Which file it runs, as [`program`] says.
    program: String,
}

/// The file that this process runs: an upgrade puts another in its place.
fn program() -> String {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self/exe") {
        Ok(meta) => format!("{}:{}:{}", meta.dev(), meta.ino(), meta.mtime()),
        Err(_) => String::new(),
    }
}

/// Answers Docker until it is told to end. A process that serves the socket already is replaced.
///
/// # Errors
/// One line that says what stands in the way.
pub fn run(settings: PluginSettings) -> anyhow::Result<()> {
    // A terminal that is closed does not end it; one that leads a group already has none to lose.
    let _ = mesh_sys::process::setsid();
    // It is started as /proc/self/exe, which names no program; a wrong name does no harm.
    let _ = std::fs::write("/proc/self/comm", NAME);
    log::init("info", false, Path::new("/"));
    // Before there are other threads. Without the right to give up rights it has few.
    if let Err(error) = mesh_sys::process::keep_network_capabilities() {
        tracing::warn!("{error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(serve(settings));
    runtime.shutdown_background();
    ended
}

async fn serve(settings: PluginSettings) -> anyhow::Result<()> {
    let config = BridgeConfig {
        name: settings.bridge.clone(),
        mtu: settings.mtu,
        mac: None,
        port: PortKind::Tap,
    };
    let kernel = HostKernel::new(config, settings.offloads_off);
    let path = settings.plugin_socket.clone();
    let plugin = Plugin::new(settings, Arc::new(kernel));
    let end = plugin.end.clone();
    // Before it is replaced, or it could not be told.
    let before = forward::Peer::connect(&path).await;
    let socket = PluginSocket::bind_over(&path)?;
    if let Ok(before) = before {
        let _ = tokio::time::timeout(Duration::from_secs(1), before.ask(END, Bytes::new())).await;
    }
    let serving = socket.serve(plugin.clone().routes(), async move { end.notified().await });
    tokio::pin!(serving);
    let ending = plugin.end_of_time();
    tokio::select! {
        served = &mut serving => served?,
        () = ending => {}
    }
    Ok(())
}

/// The process's parts.
struct Plugin {
    described: Described,
    forward: Forward,
    alone: Arc<Alone>,
    backend: DriverBackend,
    end: Arc<Notify>,
    /// Told with `end`, for the limit on what is under way.
    ending: Arc<Notify>,
}

impl Plugin {
    fn new(settings: PluginSettings, kernel: Arc<dyn KernelApi>) -> Arc<Self> {
        let alone = Arc::new(Alone::new(kernel));
        Arc::new(Self {
            forward: Forward::new(settings.socket.clone()),
            described: Described {
                settings,
                program: program(),
            },
            backend: DriverBackend::Alone(alone.clone()),
            alone,
            end: Arc::new(Notify::new()),
            ending: Arc::new(Notify::new()),
        })
    }

    fn routes(self: Arc<Self>) -> Router {
        let route = |State(plugin): State<Arc<Self>>, uri: Uri, body: Bytes| async move {
            let call = uri.path().trim_start_matches('/').to_owned();
            plugin.answer(&call, body).await
        };
        Router::new()
            .fallback(route)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(self)
    }

    async fn answer(&self, call: &str, body: Bytes) -> Response {
        let answer = match call {
            DESCRIBE => serde_json::to_value(&self.described).unwrap_or(Value::Null),
            END => {
                self.end_soon();
                json!({})
            }
            "NetworkDriver.CreateEndpoint"
            | "NetworkDriver.Join"
            | "NetworkDriver.EndpointOperInfo"
            | "NetworkDriver.Leave"
            | "NetworkDriver.DeleteEndpoint"
            | "NetworkDriver.DeleteNetwork" => self.ask(call, body).await,
            // The same with and without the router.
            _ => driver::answer(&self.backend, call, &body).await,
        };
        driver::respond(&answer)
    }

    async fn ask(&self, call: &str, body: Bytes) -> Value {
        let without_router = driver::answer(&self.backend, call, &body);
        let Some(answer) = self.forward.ask(call, body.clone()).await else {
            return without_router.await;
        };
        let endpoint = driver::endpoint_of(&body).unwrap_or_default();
        let is_refused = answer.get("Err").is_some();
        match call {
            // A router that has come back since, or lost its table, does not know what was made before.
            "NetworkDriver.Join" if is_refused && self.alone.knows(&endpoint) => {
                return without_router.await;
            }
            "NetworkDriver.DeleteEndpoint" if self.alone.made(&endpoint) => {
                self.alone.delete_endpoint(&endpoint).await;
            }
            _ => self.alone.note(call, &body, &answer),
        }
        answer
    }

    fn end_soon(&self) {
        let (end, ending) = (self.end.clone(), self.ending.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LAST_CALLERS).await;
            end.notify_one();
            ending.notify_one();
        });
    }

    /// Resolves some time after the end was asked for, whatever is under way.
    async fn end_of_time(&self) {
        self.ending.notified().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    }
}

/// Ends the process that serves the socket, if it is one of ours; whether there was one.
///
/// # Errors
/// It does not end.
pub(crate) async fn end(path: &Path) -> anyhow::Result<bool> {
    if keeper::describe(path).await.is_none() {
        return Ok(false);
    }
    let peer = forward::Peer::connect(path).await?;
    drop(peer.ask(END, Bytes::new()).await);
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), gone).await;
    waited.with_context(|| format!("what serves {} did not end", path.display()))?;
    Ok(true)
}
