//! `mesh reset`: removes everything that a router leaves on a host, even if it was killed or lost its state.
//!
//! Works without a running router, and refuses to run next to one. Docker's networks and endpoints go first, since
//! Docker calls the driver for each endpoint that it deletes; then kernel objects; files last.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mesh_engine::error::EngineError;
use mesh_engine::network::OwnNetwork;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;
use tokio::sync::oneshot;

use crate::attach::kernel::KernelApi;
use crate::attach::{netns_prefix, stored_exposure};
use crate::driver::{self, DriverBackend, PluginSocket};
use crate::engine::{Engine, Engines};
use crate::plugin;
use crate::process::supervise::lock_path;
use crate::state::{StateError, Store, erase};

/// Everything that identifies the router to be removed.
pub struct Leftovers {
    /// Its kernel objects.
    pub kernel: Arc<dyn KernelApi>,
    /// The engines of this host.
    pub engines: Engines,
    /// Name of the bridge.
    pub bridge: String,
    /// State directory.
    pub state_dir: PathBuf,
    /// API socket.
    pub api_socket: PathBuf,
    /// Docker plugin socket.
    pub plugin_socket: PathBuf,
}

/// Results of a reset.
#[derive(Debug, Default)]
pub struct ResetReport {
    /// One line per removed object.
    pub removed: Vec<String>,
    /// One line per failure; empty if nothing of the router is left.
    pub failed: Vec<String>,
}

impl ResetReport {
    fn note<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed.push(format!("{what}: {error}"));
                None
            }
        }
    }
}

/// Removes everything. Each part is attempted even if others fail.
///
/// # Errors
/// [`StateError::InUse`] if a router runs on this state directory; nothing is touched then.
pub async fn reset(leftovers: &Leftovers) -> Result<ResetReport, StateError> {
    // Not opened when absent: that would create it, only to remove it.
    let lock = if leftovers.state_dir.exists() {
        Some(Store::open(&leftovers.state_dir)?)
    } else {
        None
    };
    let mut report = ResetReport::default();
    // Addresses on a bridge that is not ours go only by name. If the state is unreadable, the rest is removed anyway.
    let exposed = lock.as_ref().and_then(|store| stored_exposure(store).ok());
    remove_networks(leftovers, &mut report).await;
    report.note(
        "the driver of Docker",
        plugin::end(&leftovers.plugin_socket).await,
    );
    let exposed = exposed.unwrap_or_default();
    let hidden = leftovers.kernel.hide(NetworkId::DEFAULT, &exposed);
    report.note("addresses of this host", hidden);
    remove_kernel_objects(leftovers, &mut report);
    let supervisor = lock_path(&leftovers.api_socket);
    for socket in [&leftovers.api_socket, &leftovers.plugin_socket, &supervisor] {
        let removed = report.note(&socket.display().to_string(), remove_file(socket));
        if removed == Some(true) {
            report.removed.push(socket.display().to_string());
        }
    }
    let erased = erase(&leftovers.state_dir);
    drop(lock);
    let files = report.note("state", erased).unwrap_or_default();
    report
        .removed
        .extend(files.iter().map(|f| f.display().to_string()));
    Ok(report)
}

async fn remove_networks(leftovers: &Leftovers, report: &mut ResetReport) {
    let Some(docker) = leftovers.engines.of(Runtime::Docker) else {
        return;
    };
    let networks = match docker.networks().await {
        Ok(networks) => networks,
        // Without Docker there are no Docker networks.
        Err(EngineError::Unavailable(_)) => return,
        Err(error) => {
            report.failed.push(format!("Docker networks: {error}"));
            return;
        }
    };
    let (ours, others): (Vec<_>, Vec<_>) = networks.into_iter().partition(|n| n.made_by_us);
    report.removed.extend(others.iter().map(|network| {
        let name = &network.name;
        format!("nothing of Docker network {name}, which somebody made with the driver mesh: docker network rm {name}")
    }));
    if ours.is_empty() {
        return;
    }
    // Without a driver that answers, dockerd waits 15 s per endpoint and network.
    let driver = match is_served(&leftovers.plugin_socket) {
        true => None,
        false => report.note("driver", stand_in(&leftovers.plugin_socket)),
    };
    for network in ours {
        let name = &network.name;
        let removed = report.note(
            &format!("Docker network {name}"),
            remove_network(&*docker, &network).await,
        );
        if removed.is_some() {
            report.removed.push(format!("Docker network {name}"));
        }
    }
    if let Some(driver) = driver {
        driver.await;
    }
}

/// True if a plugin process answers Docker; it outlives the router.
fn is_served(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

/// Removes a network, after disconnecting its containers. Stopped ones, too: they could not be started without it.
async fn remove_network(docker: &dyn Engine, network: &OwnNetwork) -> Result<(), EngineError> {
    let OwnNetwork { id, name, .. } = network;
    for end in docker.endpoints(id).await? {
        docker.disconnect(id, &end.container).await?;
    }
    for container in docker.on_mesh().await? {
        let container = docker.inspect(&container).await?;
        let mut connections = container.networks.iter();
        if connections.any(|c| c.network_id == *id || c.network == *name) {
            docker.disconnect(id, &container.id).await?;
        }
    }
    docker.remove_network(id).await
}

/// Serves as the network driver until the returned future is awaited.
fn stand_in(path: &Path) -> io::Result<impl Future<Output = ()> + use<>> {
    let socket = PluginSocket::bind(path)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(socket.serve(driver::routes(DriverBackend::Reset), async {
        let _ = stopped.await;
    }));
    Ok(async move {
        let _ = stop.send(());
        let _ = serving.await;
    })
}

fn remove_kernel_objects(leftovers: &Leftovers, report: &mut ResetReport) {
    let kernel = &leftovers.kernel;
    if let Some(lines) = report.note("kernel", kernel.remove_all()) {
        report.removed.extend(lines);
    }
    let names = kernel.netns_names(&netns_prefix(&leftovers.bridge));
    for name in report.note("network namespaces", names).unwrap_or_default() {
        let what = format!("network namespace {name}");
        if report.note(&what, kernel.delete_netns(&name)) == Some(true) {
            report.removed.push(what);
        }
    }
}

fn remove_file(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::fake::FakeKernel;
    use mesh_engine::network::NetworkEndpoint;

    use crate::engine::fake::FakeEngine;

    fn leftovers(dir: &Path, kernel: &Arc<FakeKernel>, docker: &Arc<FakeEngine>) -> Leftovers {
        Leftovers {
            kernel: kernel.clone(),
            engines: Engines::new(vec![docker.clone()]),
            bridge: "mesh".into(),
            state_dir: dir.join("state"),
            api_socket: dir.join("api.sock"),
            plugin_socket: dir.join("plugins/mesh.sock"),
        }
    }

    #[tokio::test]
    async fn nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, docker) = (FakeKernel::new(), FakeEngine::new(Runtime::Docker));
        for name in ["mesh", "mesh-1"] {
            docker.world().networks.insert(name.into());
        }
        let end = NetworkEndpoint {
            endpoint: "e".into(),
            container: "c".into(),
            name: "web".into(),
        };
        docker.world().endpoints.insert("mesh".into(), vec![end]);
        kernel.ensure_bridge(&Default::default()).unwrap();
        kernel.create_netns("mesh-ns-0123").unwrap();
        kernel.create_netns("other").unwrap();
        let what = leftovers(dir.path(), &kernel, &docker);
        Store::open(&what.state_dir)
            .unwrap()
            .set_targets(&["host1".into()])
            .unwrap();
        std::fs::write(&what.api_socket, "").unwrap();
        std::fs::write(lock_path(&what.api_socket), "7\n").unwrap();

        let report = reset(&what).await.unwrap();
        assert!(report.failed.is_empty(), "{report:?}");
        assert_eq!(
            docker.world().log,
            ["disconnect mesh c", "remove mesh", "remove mesh-1"]
        );
        assert!(!kernel.world().bridge);
        let namespaces: Vec<_> = kernel.world().namespaces.iter().cloned().collect();
        assert_eq!(namespaces, [Path::new("/run/netns/other")]);
        assert!(!lock_path(&what.api_socket).exists());
        for path in [&what.state_dir, &what.api_socket, &what.plugin_socket] {
            assert!(!path.exists(), "{}", path.display());
        }
        // A second reset has nothing to do, and succeeds.
        let report = reset(&what).await.unwrap();
        assert!(report.failed.is_empty(), "{report:?}");
        assert!(!what.state_dir.exists());
    }

    #[tokio::test]
    async fn a_running_router_is_not_pulled_away() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, docker) = (FakeKernel::new(), FakeEngine::new(Runtime::Docker));
        kernel.ensure_bridge(&Default::default()).unwrap();
        let what = leftovers(dir.path(), &kernel, &docker);
        let _router = Store::open(&what.state_dir).unwrap();
        assert!(matches!(reset(&what).await, Err(StateError::InUse { .. })));
        assert!(kernel.world().bridge);
    }

    #[tokio::test]
    async fn one_failure_does_not_keep_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, docker) = (FakeKernel::new(), FakeEngine::new(Runtime::Docker));
        docker.set_down(true);
        kernel.create_netns("mesh-ns-0123").unwrap();
        kernel.fail("remove_all", 0);
        let what = leftovers(dir.path(), &kernel, &docker);
        drop(Store::open(&what.state_dir).unwrap());
        let report = reset(&what).await.unwrap();
        assert_eq!(report.failed, ["kernel: remove_all failed as told"]);
        assert!(kernel.world().namespaces.is_empty());
        assert!(!what.state_dir.exists());
    }
}
