//! The plugin process: owns the socket through which dockerd calls the driver `mesh`, and outlives the router.
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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Uri;
use axum::response::Response;
use mesh_engine::plugin::process::{Answerer, RouterAnswer};
use mesh_engine::plugin::{END, call};
use mesh_options::PluginSettings;
use mesh_sys::bridge::{BridgeConfig, PortKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use crate::attach::HostKernel;
use crate::attach::kernel::KernelApi;
use crate::driver::{self, Alone, DriverBackend, MAX_REQUEST, PluginSocket};
use crate::process::log;

use forward::Forward;

/// Path of forwarded calls on the router's API socket.
pub(crate) const ROUTER_PATH: &str = "/driver";
/// Process name, at most 15 bytes.
const NAME: &str = "mesh-plugin";
/// Time for which a replaced process still accepts connections that were made before.
const LAST_CALLERS: Duration = Duration::from_millis(100);
/// Time limit of pending calls at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// Description of a plugin process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    settings: PluginSettings,
    /// Identity of its program file, see [`program`].
    program: String,
}

/// Returns the identity of this process's program file: an upgrade replaces the file.
fn program() -> String {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self/exe") {
        Ok(meta) => format!("{}:{}:{}", meta.dev(), meta.ino(), meta.mtime()),
        Err(_) => String::new(),
    }
}

/// Serves Docker until told to end. Replaces a process that already serves the socket.
///
/// # Errors
/// One line with the cause.
pub fn run(settings: PluginSettings) -> anyhow::Result<()> {
    // A closed terminal must not end the process. Fails in a process group leader, which has no terminal to lose.
    let _ = mesh_sys::process::setsid();
    // Started as /proc/self/exe, the process has a meaningless name. A wrong name does no harm.
    let _ = std::fs::write("/proc/self/comm", NAME);
    let _log = log::init("info", false, Path::new("/"));
    // Before there are other threads. If capabilities cannot be dropped, the process has few anyway.
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
    // Connect before the socket is replaced: afterwards the old process is unreachable.
    let before = forward::PluginConnection::connect(&path).await;
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

/// Parts of the process.
struct Plugin {
    described: Described,
    forward: Forward,
    alone: Arc<Alone>,
    backend: DriverBackend,
    end: Arc<Notify>,
    /// Notified with `end`, to start the time limit of pending calls.
    ending: Arc<Notify>,
}

impl Plugin {
    fn new(settings: PluginSettings, kernel: Arc<dyn KernelApi>) -> Arc<Self> {
        let alone = Arc::new(Alone::new(kernel, &settings.state_dir, settings.swarm));
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
        let answer = match Answerer::of(call) {
            Answerer::Description => serde_json::to_value(&self.described).unwrap_or(Value::Null),
            Answerer::End => {
                self.end_soon();
                call::done()
            }
            Answerer::Router => self.ask(call, body).await,
            Answerer::Process => driver::answer(&self.backend, call, &body).await,
        };
        driver::respond(&answer)
    }

    async fn ask(&self, call: &str, body: Bytes) -> Value {
        let without_router = driver::answer(&self.backend, call, &body);
        let Some(answer) = self.forward.ask(call, body.clone()).await else {
            return without_router.await;
        };
        match self.alone.take_answer(call, &body, &answer) {
            RouterAnswer::Use => answer,
            RouterAnswer::Remove(endpoint) => {
                self.alone.delete_endpoint(&endpoint).await;
                answer
            }
            RouterAnswer::Replace => without_router.await,
        }
    }

    fn end_soon(&self) {
        let (end, ending) = (self.end.clone(), self.ending.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LAST_CALLERS).await;
            end.notify_one();
            ending.notify_one();
        });
    }

    /// Resolves a fixed time after the end was requested, even if calls are pending.
    async fn end_of_time(&self) {
        self.ending.notified().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    }
}

/// Ends the process on the socket, if it is a plugin process. Returns true if there was one.
///
/// # Errors
/// The process does not end.
pub(crate) async fn end(path: &Path) -> anyhow::Result<bool> {
    if keeper::describe(path).await.is_none() {
        return Ok(false);
    }
    let peer = forward::PluginConnection::connect(path).await?;
    drop(peer.ask(END, Bytes::new()).await);
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), gone).await;
    waited.with_context(|| format!("the plugin process on {} did not end", path.display()))?;
    Ok(true)
}
