//! Container engines: what the router asks of Docker and of podman.

mod docker;
mod events;
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

/// The answer of an engine, still to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// Name of the Docker network driver, and of the first network that uses it.
pub const DRIVER: &str = "mesh";

/// Whether what is shown as a name is the beginning of the container's id. A short name may begin it by chance: `db`, `a`.
pub(crate) fn is_part_of_id(name: &str, id: &str) -> bool {
    name.len() >= SHORT_ID && id.starts_with(name)
}

/// Why an engine did not do what it was asked; ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine on this host has such a container.
    #[error("no container named {0} on this host")]
    NoContainer(String),
    /// The engine cannot be reached or is not installed.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is there, and answers nothing.
    #[error("{0}")]
    Silent(String),
    /// The engine said no.
    #[error("{engine}: {message}")]
    Refused {
        /// `Docker` or `podman`.
        engine: &'static str,
        /// Its own words.
        message: String,
    },
    /// The container has no process, hence no network namespace.
    #[error("container {0} is not running; start it first")]
    NotRunning(String),
    /// The container shares the host's network.
    #[error("container {0} uses the host's network; it cannot be attached")]
    HostNetwork(String),
}

/// What an engine knows of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Full id (64 hexadecimal digits).
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// First process, as seen from the router's pid namespace; 0 when not running.
    pub pid: u32,
    /// Whether it runs.
    pub running: bool,
    /// `host`, `none`, `container:<id>`, `default`, or the name of a network.
    pub network_mode: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`, or empty.
    pub restart_policy: String,
    /// Why it could not be started the last time; empty if it could.
    pub error: String,
    /// Path of its network namespace; empty if the engine does not say.
    pub sandbox: String,
    /// Driver options of each of its connections to Docker networks.
    pub connections: Vec<BTreeMap<String, String>>,
    /// Its connections to Docker networks, whether these exist or not.
    pub networks: Vec<Connection>,
    /// What it calls itself, with or without a domain.
    pub hostname: String,
    /// Further names that it has on networks of its engine.
    pub aliases: Vec<String>,
    /// What it exposes, like `80/tcp`.
    pub exposed: Vec<String>,
    /// The servers that it was told to ask for names (`--dns`).
    pub dns: Vec<IpAddr>,
    /// The domains in which it was told to look single labels up (`--dns-search`).
    pub dns_search: Vec<String>,
    /// Path of its `/etc/hosts` on this host; empty if the engine does not say.
    pub hosts_file: String,
    /// Whether its user wants its `/etc/hosts` left alone ([`LEAVE_HOSTS`]).
    pub leave_hosts: bool,
}

/// A container's connection to a Docker network, running or not.
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
    /// Further names of the container on this network.
    pub aliases: Vec<String>,
}

/// The label of a container whose `/etc/hosts` is left alone, and its value.
pub const LEAVE_HOSTS: (&str, &str) = ("mesh.rewrite-hosts", "false");

/// What an engine tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// It can be asked (again): anything may have happened before.
    Connected,
    /// Something about this container (full id) is not as it was.
    Changed(String),
    /// The container has this name now.
    Renamed(String, String),
    /// There is no such container any more.
    Removed(String),
}

impl Container {
    /// The pid whose network namespace may be attached to.
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

/// A Docker network whose driver is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNetwork {
    /// Full id.
    pub id: String,
    /// Name, which networks of others may have, too.
    pub name: String,
    /// Whether the router made it; else somebody did by hand.
    pub made_by_us: bool,
}

/// A container's end of a Docker network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEndpoint {
    /// Endpoint id, as the driver knows it.
    pub endpoint: String,
    /// Full container id.
    pub container: String,
    /// Container name.
    pub name: String,
}

/// An engine on this host. Names are checked before they are sent; a name that cannot exist is
/// [`EngineError::NoContainer`].
pub trait Engine: Send + Sync {
    /// Which one.
    fn runtime(&self) -> Runtime;

    /// The container with this name, short id or full id.
    fn inspect<'a>(&'a self, container: &'a str) -> Answer<'a, Container>;

    /// Starts a container that exists; success if it runs already.
    fn start<'a>(&'a self, container: &'a str) -> Answer<'a, ()>;

    /// Every container, stopped ones included: full id → whether it runs.
    fn list(&self) -> Answer<'_, BTreeMap<String, bool>>;

    /// Containers that are on Docker networks of ours, running or not, by full id. Also of networks that are gone: what
    /// their containers were promised stays promised.
    fn on_mesh(&self) -> Answer<'_, BTreeSet<String>>;

    /// Tells what happens, until the engine goes away or nobody listens.
    fn follow(&self, events: mpsc::Sender<EngineEvent>) -> Answer<'_, ()> {
        Box::pin(async move {
            events.closed().await;
            Ok(())
        })
    }

    /// A question that it has not answered yet, if there is one.
    fn waiting(&self) -> Option<EngineWaiting> {
        None
    }

    /// Whether Docker plugs the networks of a container that starts in the order of their names, and nobody can act in
    /// between. Otherwise the order is any, and the driver is asked about each endpoint once it is plugged.
    fn plugs_by_name(&self) -> Answer<'_, bool>;

    /// The Docker networks whose driver is ours, by name.
    fn networks(&self) -> Answer<'_, Vec<OwnNetwork>>;

    /// What names of our Docker networks begin with, so that none is a name that somebody else's network has.
    fn network_base(&self) -> Answer<'_, &'static str> {
        Box::pin(std::future::ready(Ok(DRIVER)))
    }

    /// Makes a Docker network with our driver and no address management; success if it is there already. One of that name
    /// with another driver is an error.
    fn ensure_network<'a>(&'a self, network: &'a str) -> Answer<'a, ()>;

    /// Who is on a Docker network, given by its id or name, now.
    fn endpoints<'a>(&'a self, network: &'a str) -> Answer<'a, Vec<NetworkEndpoint>>;

    /// Unplugs a container by force; success if it was not there.
    fn disconnect<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()>;

    /// Stopped containers with a connection to a network of ours that does not exist any more.
    fn stranded(&self) -> Answer<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Makes the network of a connection again, and connects a stopped container to it as it was. The network gets another
    /// name if somebody else has a network of its name now.
    fn reconnect<'a>(&'a self, container: &'a str, _: &'a Connection) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Err(EngineError::NoContainer(
            container.to_owned(),
        ))))
    }

    /// Removes a Docker network, given by its id or name; success if it was not there.
    fn remove_network<'a>(&'a self, network: &'a str) -> Answer<'a, ()>;
}

/// The engines to ask, in order.
#[derive(Clone)]
pub struct Engines(Vec<Arc<dyn Engine>>);

impl Engines {
    /// These, in this order.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self(engines)
    }

    /// Docker at `DOCKER_HOST` or its usual socket, then podman. Neither needs to be there.
    pub fn local() -> Self {
        Self(vec![
            Arc::new(Docker::from_env()),
            Arc::new(Podman::new("podman")),
        ])
    }

    /// Engines that were asked something and have not answered yet.
    pub fn waiting(&self) -> Vec<EngineWaiting> {
        self.0
            .iter()
            .filter_map(|engine| engine.waiting())
            .collect()
    }

    /// The engine of a runtime; none for processes.
    pub fn of(&self, runtime: Runtime) -> Option<Arc<dyn Engine>> {
        self.0.iter().find(|e| e.runtime() == runtime).cloned()
    }

    /// The container called `name`: asked of the given engine, or of each until one knows it.
    ///
    /// # Errors
    /// [`EngineError::NoContainer`] if all engines that are there answered; else why the first could not.
    pub async fn find(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<(Arc<dyn Engine>, Container), EngineError> {
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
                // Perhaps the other one has it; if not, this one may.
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

/// Whether `name` can be a container's name or id, in Docker and in podman; keeps paths, queries and flags out of
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
        let mut container = Container {
            name: "web".into(),
            ..Container::default()
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
