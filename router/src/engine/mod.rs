//! Container engines: the interface of the router to Docker and podman.

mod docker;
#[cfg(test)]
pub(crate) mod fake;
mod patience;
mod podman;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mesh_engine::container::{EngineContainer, NetworkConnection};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_engine::network::{DRIVER, ListedNetwork, NascentNetwork, NetworkEndpoint, OwnNetwork};
use mesh_engine::search::ContainerSearch;
use mesh_host::docker::user_networks::MirrorNetwork;
use mesh_proto::api::{EngineWaiting, Runtime};
use tokio::sync::mpsc;

pub use docker::Docker;
pub use podman::Podman;

/// Pending answer of an engine.
pub type EngineAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

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

    /// Returns what Docker says of the networks with our driver.
    fn user_networks(&self) -> EngineAnswer<'_, Vec<ListedNetwork>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Returns the network of Swarm with an id, which its leader is about to make; none if Docker does not know it.
    fn nascent_network<'a>(&'a self, _: &'a str) -> EngineAnswer<'a, Option<NascentNetwork>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Creates the Docker network of a network of the mesh.
    fn create_mirror<'a>(&'a self, _: &'a MirrorNetwork) -> EngineAnswer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

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
    fn reconnect<'a>(
        &'a self,
        container: &'a str,
        _: &'a NetworkConnection,
    ) -> EngineAnswer<'a, ()> {
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
        let mut search = ContainerSearch::default();
        for engine in &self.0 {
            if runtime.is_some_and(|r| r != engine.runtime()) {
                continue;
            }
            match engine.inspect(name).await {
                Ok(container) => return Ok((engine.clone(), container)),
                Err(error) => search.note(error)?,
            }
        }
        Err(search.error(name))
    }
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
}
