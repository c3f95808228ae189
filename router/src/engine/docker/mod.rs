//! Docker Engine over its Unix socket.
//!
//! [`Docker`] implements [`Engine`]: it checks names, limits the time of queries, and leaves the rest to its parts, which
//! share one [`DockerClient`].

mod client;
mod events;
mod networks;
mod stranded;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_engine::container::{EngineContainer, NetworkConnection, is_container_name};
use mesh_engine::docker::{container, hosts_file, plugs_by_name};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_engine::network::{ListedNetwork, NascentNetwork, NetworkEndpoint, OwnNetwork};
use mesh_host::docker::user_networks::MirrorNetwork;
use mesh_proto::api::{EngineWaiting, Runtime};
use tokio::sync::mpsc;

use self::client::DockerClient;
use self::events::EventStream;
use self::networks::DriverNetworks;
use self::stranded::StrandedContainers;
use super::patience::Patience;
use super::{Engine, EngineAnswer};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Docker Engine. Connects on first use, and again after a failure.
pub struct Docker {
    client: Arc<DockerClient>,
    networks: DriverNetworks,
    stranded: StrandedContainers,
    events: EventStream,
    patience: Arc<Patience>,
}

impl Docker {
    /// Returns the engine at `DOCKER_HOST` (only `unix://` works: containers must be on this host), else at the default
    /// socket.
    pub fn from_env() -> Self {
        Self::new(std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_SOCKET.to_owned()))
    }

    /// Returns the engine at a socket path, with or without `unix://`.
    pub fn new(address: impl Into<String>) -> Self {
        let client = Arc::new(DockerClient::new(address.into()));
        let patience = Arc::<Patience>::default();
        let networks = DriverNetworks::new(client.clone());
        Self {
            stranded: StrandedContainers::new(client.clone(), networks.clone(), patience.clone()),
            events: EventStream::new(client.clone()),
            client,
            networks,
            patience,
        }
    }

    async fn inspect_named(&self, name: &str) -> Result<EngineContainer, EngineError> {
        check_name(name)?;
        let client = self.client.get().await?;
        let answer = client.inspect_container(name, None).await;
        let mut found = answer
            .map(container::container)
            .map_err(|e| self.client.error(e, Some(name)))?;
        if found.hosts_file.is_empty()
            && let Some(root) = self.client.root(&client).await
        {
            found.hosts_file = hosts_file(&root, &found.id);
        }
        Ok(found)
    }
}

impl Engine for Docker {
    fn runtime(&self) -> Runtime {
        Runtime::Docker
    }

    fn inspect<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, EngineContainer> {
        Box::pin(self.patience.within(self.inspect_named(name)))
    }

    fn start<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(async move {
            check_name(name)?;
            let client = self.client.get().await?;
            let answer = client.start_container(name, None).await;
            answer.map_err(|e| self.client.error(e, Some(name)))
        })
    }

    fn list(&self) -> EngineAnswer<'_, BTreeMap<String, bool>> {
        Box::pin(
            self.patience
                .within(async move { Ok(container::listing(self.client.all_containers().await?)) }),
        )
    }

    fn on_mesh(&self) -> EngineAnswer<'_, BTreeSet<String>> {
        Box::pin(self.patience.within(self.stranded.containers_of_ours()))
    }

    fn follow(&self, events: mpsc::Sender<EngineEvent>) -> EngineAnswer<'_, ()> {
        Box::pin(self.events.tell(events))
    }

    fn waiting(&self) -> Option<EngineWaiting> {
        self.patience.waiting()
    }

    fn plugs_by_name(&self) -> EngineAnswer<'_, bool> {
        Box::pin(self.patience.within(async move {
            let client = self.client.get().await?;
            let version = client
                .version()
                .await
                .map_err(|e| self.client.error(e, None))?;
            Ok(plugs_by_name(&version.api_version.unwrap_or_default()))
        }))
    }

    fn networks(&self) -> EngineAnswer<'_, Vec<OwnNetwork>> {
        Box::pin(self.patience.within(self.networks.ours()))
    }

    fn user_networks(&self) -> EngineAnswer<'_, Vec<ListedNetwork>> {
        Box::pin(self.patience.within(self.networks.listed()))
    }

    fn nascent_network<'a>(&'a self, id: &'a str) -> EngineAnswer<'a, Option<NascentNetwork>> {
        Box::pin(self.patience.within(self.networks.nascent(id)))
    }

    fn create_mirror<'a>(&'a self, mirror: &'a MirrorNetwork) -> EngineAnswer<'a, ()> {
        Box::pin(self.networks.create_mirror(mirror))
    }

    fn network_base(&self) -> EngineAnswer<'_, &'static str> {
        Box::pin(self.patience.within(self.networks.base()))
    }

    fn stranded(&self) -> EngineAnswer<'_, Vec<String>> {
        Box::pin(self.patience.within(self.stranded.list()))
    }

    fn reconnect<'a>(
        &'a self,
        container: &'a str,
        connection: &'a NetworkConnection,
    ) -> EngineAnswer<'a, ()> {
        Box::pin(self.stranded.connect_again(container, connection))
    }

    fn ensure_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(self.patience.within(self.networks.ensure(network)))
    }

    fn endpoints<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, Vec<NetworkEndpoint>> {
        Box::pin(self.patience.within(self.networks.endpoints(network)))
    }

    fn disconnect<'a>(&'a self, network: &'a str, container: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(self.networks.disconnect(network, container))
    }

    fn remove_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(self.networks.remove(network))
    }
}

fn check_name(name: &str) -> Result<(), EngineError> {
    if is_container_name(name) {
        Ok(())
    } else {
        Err(EngineError::NoContainer(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_away_is_named_with_its_socket() {
        let docker = Docker::new("unix:///nonexistent/docker.sock");
        let error = docker.inspect("web").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "Docker is not running (cannot connect to /nonexistent/docker.sock)"
        );
        let docker = Docker::new("tcp://10.0.0.1:2375");
        let error = docker.inspect("web").await.unwrap_err().to_string();
        assert!(
            error.contains("only a Docker Engine of this host"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_on_is_an_engine_that_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let docker = Docker::new(path.to_string_lossy());
        let error = docker.list().await.unwrap_err();
        assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_never_reaches_the_engine() {
        let docker = Docker::new("/nonexistent/docker.sock");
        for name in ["", "a/b", "../v1/x", "a?b=c"] {
            let error = docker.inspect(name).await.unwrap_err();
            assert_eq!(error, EngineError::NoContainer(name.to_owned()));
        }
    }
}
