//! Container engines: the interface of the router to Docker and podman.

mod docker;
#[cfg(test)]
pub(crate) mod fake;
mod patience;
mod podman;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use mesh_proto::api::{EngineWaiting, Runtime};
use tokio::sync::mpsc;

pub use docker::Docker;
pub(crate) use mesh_host::endpoint::SHORT_ID;
pub use podman::Podman;

/// Pending answer of an engine.
pub type EngineAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// Name of the Docker network driver, and of the first network with it.
pub const DRIVER: &str = "mesh";

/// True if the text shown as a name is the beginning of the container's id. A short name may begin it by chance: `db`, `a`.
pub(crate) fn is_part_of_id(name: &str, id: &str) -> bool {
    name.len() >= SHORT_ID && id.starts_with(name)
}

/// Error of an engine, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine on this host has the container.
    #[error("no container named {0} on this host")]
    NoContainer(String),
    /// The engine is unreachable or not installed.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is there but does not answer in time.
    #[error("{0}")]
    Silent(String),
    /// The engine refused the request.
    #[error("{engine}: {message}")]
    Refused {
        /// `Docker` or `podman`.
        engine: &'static str,
        /// Message of the engine.
        message: String,
    },
    /// The container has no process, and thus no network namespace.
    #[error("container {0} is not running; start it first")]
    NotRunning(String),
    /// The container uses the host's network namespace.
    #[error("container {0} uses the host's network; it cannot be attached")]
    HostNetwork(String),
}

/// A container, as its engine describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineContainer {
    /// Full id (64 hexadecimal digits).
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// Pid of its first process in the router's pid namespace; 0 if it is not running.
    pub pid: u32,
    /// True if it runs.
    pub running: bool,
    /// `host`, `none`, `container:<id>`, `default`, or the name of a network.
    pub network_mode: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`, or empty.
    pub restart_policy: String,
    /// Error of the last attempt to start it; empty if it started.
    pub error: String,
    /// Path of its network namespace; empty if unknown.
    pub sandbox: String,
    /// Driver options of each of its connections to Docker networks.
    pub connections: Vec<BTreeMap<String, String>>,
    /// Its connections to Docker networks, including networks that do not exist any more.
    pub networks: Vec<Connection>,
    /// Host name, with or without a domain.
    pub hostname: String,
    /// Its aliases on networks of the engine.
    pub aliases: Vec<String>,
    /// Exposed ports, like `80/tcp`.
    pub exposed: Vec<String>,
    /// DNS servers that it was given (`--dns`).
    pub dns: Vec<IpAddr>,
    /// DNS search domains that it was given (`--dns-search`).
    pub dns_search: Vec<String>,
    /// Path of its `/etc/hosts` on this host; empty if unknown.
    pub hosts_file: String,
    /// True if its `/etc/hosts` must not be changed ([`LEAVE_HOSTS`]).
    pub leave_hosts: bool,
}

/// Connection of a container to a Docker network; the container need not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Name of the network.
    pub network: String,
    /// Id of the network.
    pub network_id: String,
    /// Id of the endpoint; empty while the container does not run.
    pub endpoint: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Aliases of the container on this network.
    pub aliases: Vec<String>,
}

/// Label and value of containers whose `/etc/hosts` must not be changed.
pub const LEAVE_HOSTS: (&str, &str) = ("mesh.rewrite-hosts", "false");

/// Notification from an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The engine is connected (again): earlier changes must be looked up.
    Connected,
    /// The container (full id) has changed.
    Changed(String),
    /// The container (full id) has a new name.
    Renamed(String, String),
    /// The container (full id) was removed.
    Removed(String),
}

impl EngineContainer {
    /// Returns the pid whose network namespace the container may be attached through.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`], [`EngineError::HostNetwork`].
    pub fn attachable(&self) -> Result<u32, EngineError> {
        if self.network_mode == "host" {
            return Err(EngineError::HostNetwork(self.name.clone()));
        }
        if !self.running || self.pid == 0 {
            return Err(EngineError::NotRunning(self.name.clone()));
        }
        Ok(self.pid)
    }
}

/// A Docker network with our driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNetwork {
    /// Full id.
    pub id: String,
    /// Name; networks of other drivers may have the same one.
    pub name: String,
    /// True if the router created it, false if a user did.
    pub made_by_us: bool,
}

/// Endpoint of a container on a Docker network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEndpoint {
    /// Endpoint id, as Docker passes it to the driver.
    pub endpoint: String,
    /// Full container id.
    pub container: String,
    /// Container name.
    pub name: String,
}

/// An engine on this host. Names are validated before they are sent; an impossible name is
/// [`EngineError::NoContainer`].
pub trait Engine: Send + Sync {
    /// Returns the runtime that this engine stands for.
    fn runtime(&self) -> Runtime;

    /// Returns the container with this name, short id or full id.
    fn inspect<'a>(&'a self, container: &'a str) -> EngineAnswer<'a, EngineContainer>;

    /// Starts an existing container; success if it already runs.
    fn start<'a>(&'a self, container: &'a str) -> EngineAnswer<'a, ()>;

    /// Returns all containers by full id, stopped ones included, with true for those that run.
    fn list(&self) -> EngineAnswer<'_, BTreeMap<String, bool>>;

    /// Returns the full ids of containers on Docker networks of ours, running or not. Removed networks count: their
    /// containers keep their addresses.
    fn on_mesh(&self) -> EngineAnswer<'_, BTreeSet<String>>;

    /// Sends events, until the engine goes away or the receiver is dropped.
    fn follow(&self, events: mpsc::Sender<EngineEvent>) -> EngineAnswer<'_, ()> {
        Box::pin(async move {
            events.closed().await;
            Ok(())
        })
    }

    /// Returns the oldest unanswered request, if any.
    fn waiting(&self) -> Option<EngineWaiting> {
        None
    }

    /// True if Docker connects the networks of a starting container in the order of their names, without a chance to
    /// act in between. Otherwise the order is arbitrary, and the driver is called for each endpoint after its
    /// connection.
    fn plugs_by_name(&self) -> EngineAnswer<'_, bool>;

    /// Returns the Docker networks with our driver, sorted by name.
    fn networks(&self) -> EngineAnswer<'_, Vec<OwnNetwork>>;

    /// Returns the prefix for names of our Docker networks, which no network of another driver uses.
    fn network_base(&self) -> EngineAnswer<'_, &'static str> {
        Box::pin(std::future::ready(Ok(DRIVER)))
    }

    /// Creates a Docker network with our driver and without address management; success if it exists. A network of that
    /// name with another driver is an error.
    fn ensure_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()>;

    /// Returns the current endpoints on a Docker network, given by its id or name.
    fn endpoints<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, Vec<NetworkEndpoint>>;

    /// Disconnects a container by force; success if it was not connected.
    fn disconnect<'a>(&'a self, network: &'a str, container: &'a str) -> EngineAnswer<'a, ()>;

    /// Returns the stopped containers with a connection to a removed network of ours.
    fn stranded(&self) -> EngineAnswer<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Creates the network of a connection again, and connects a stopped container to it with the same options. The
    /// network gets another name if its own is taken by now.
    fn reconnect<'a>(&'a self, container: &'a str, _: &'a Connection) -> EngineAnswer<'a, ()> {
        Box::pin(std::future::ready(Err(EngineError::NoContainer(
            container.to_owned(),
        ))))
    }

    /// Removes a Docker network, given by its id or name; success if it does not exist.
    fn remove_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()>;
}

/// Engines, in the order in which they are queried.
#[derive(Clone)]
pub struct Engines(Vec<Arc<dyn Engine>>);

impl Engines {
    /// Returns a list of engines, in this order.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self(engines)
    }

    /// Returns Docker at `DOCKER_HOST` or its default socket, then podman. Neither needs to be present.
    pub fn local() -> Self {
        Self(vec![
            Arc::new(Docker::from_env()),
            Arc::new(Podman::new("podman")),
        ])
    }

    /// Returns the oldest unanswered request of each engine.
    pub fn waiting(&self) -> Vec<EngineWaiting> {
        self.0
            .iter()
            .filter_map(|engine| engine.waiting())
            .collect()
    }

    /// Returns the engine of a runtime; `None` for processes.
    pub fn of(&self, runtime: Runtime) -> Option<Arc<dyn Engine>> {
        self.0.iter().find(|e| e.runtime() == runtime).cloned()
    }

    /// Finds the container called `name`, in the given engine, or else in the first engine that has it.
    ///
    /// # Errors
    /// [`EngineError::NoContainer`] if all present engines answered; else the error of the first one that did not.
    pub async fn find(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<(Arc<dyn Engine>, EngineContainer), EngineError> {
        let mut unavailable = None;
        let mut silent = None;
        let mut asked = false;
        for engine in &self.0 {
            if runtime.is_some_and(|r| r != engine.runtime()) {
                continue;
            }
            match engine.inspect(name).await {
                Ok(container) => return Ok((engine.clone(), container)),
                Err(EngineError::NoContainer(_)) => asked = true,
                Err(e @ EngineError::Unavailable(_)) => {
                    unavailable.get_or_insert(e);
                }
                // The other engine may have the container; if not, this one may.
                Err(e @ EngineError::Silent(_)) => silent = Some(e),
                Err(e) => return Err(e),
            }
        }
        if let Some(silent) = silent {
            return Err(silent);
        }
        match unavailable {
            Some(e) if !asked => Err(e),
            _ => Err(EngineError::NoContainer(name.to_owned())),
        }
    }
}

/// True if `name` is possible as a container name or id in Docker and podman. Keeps paths, queries and flags out of
/// requests and command lines.
fn is_container_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && name.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::fake::FakeEngine;
    use super::*;

    fn engines(docker: &Arc<FakeEngine>, podman: &Arc<FakeEngine>) -> Engines {
        Engines::new(vec![docker.clone(), podman.clone()])
    }

    #[tokio::test]
    async fn the_engine_that_knows_the_container_is_found() {
        let docker = FakeEngine::new(Runtime::Docker);
        let podman = FakeEngine::new(Runtime::Podman);
        podman.add("web", 41);
        let engines = engines(&docker, &podman);
        let (engine, container) = engines.find(None, "web").await.unwrap();
        assert_eq!((engine.runtime(), container.pid), (Runtime::Podman, 41));
        let error = engines
            .find(Some(Runtime::Docker), "web")
            .await
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "no container named web on this host");
        docker.add("web", 42);
        let (engine, _) = engines.find(None, "web").await.unwrap();
        assert_eq!(engine.runtime(), Runtime::Docker);
    }

    #[tokio::test]
    async fn an_engine_that_is_down_is_named_only_when_no_other_could_answer() {
        let docker = FakeEngine::new(Runtime::Docker);
        let podman = FakeEngine::new(Runtime::Podman);
        docker.set_down(true);
        let engines = engines(&docker, &podman);
        let error = engines.find(None, "web").await.err().unwrap();
        assert_eq!(error, EngineError::NoContainer("web".into()));
        podman.set_down(true);
        let error = engines.find(None, "web").await.err().unwrap();
        assert!(
            error.to_string().starts_with("Docker is not running"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_attached_says_why() {
        let mut container = EngineContainer {
            name: "web".into(),
            ..EngineContainer::default()
        };
        let message = container.attachable().unwrap_err().to_string();
        assert_eq!(message, "container web is not running; start it first");
        container.running = true;
        container.pid = 7;
        assert_eq!(container.attachable(), Ok(7));
        container.network_mode = "host".into();
        let message = container.attachable().unwrap_err().to_string();
        assert_eq!(
            message,
            "container web uses the host's network; it cannot be attached"
        );
    }

    #[test]
    fn names_that_are_paths_or_flags_are_not_names() {
        for yes in ["web", "a_b.c-d", "0123abc"] {
            assert!(is_container_name(yes), "{yes}");
        }
        for no in ["", "-f", "../x", "a/b", "a?b", "a b", ".x", "ä"] {
            assert!(!is_container_name(no), "{no}");
        }
    }
}
