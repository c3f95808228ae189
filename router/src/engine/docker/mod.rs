//! Docker Engine over its Unix socket.

mod events;
mod networks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error;
use bollard::models::NetworkDisconnectRequest;
use bollard::{ClientVersion, Docker as Client};
use mesh_engine::container::{EngineContainer, NetworkConnection, is_container_name};
use mesh_engine::docker::{
    DockerAddress, container, hosts_file, is_disconnected, plugs_by_name, refused, response_error,
};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_engine::network::{NetworkEndpoint, OwnNetwork};
use mesh_proto::api::{EngineWaiting, Runtime};
use tokio::sync::mpsc;

use super::patience::Patience;
use super::{Answer, Engine};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Timeout of dockerd's operations in seconds: they may wait for other operations on the container. Queries have
/// shorter timeouts, see [`patience`](super::patience).
const TIMEOUT: u64 = 60;
/// API versions to try: 20.10 to 28 support the first, 25 and later the second.
const VERSIONS: [ClientVersion; 2] = [
    ClientVersion {
        major_version: 1,
        minor_version: 41,
    },
    ClientVersion {
        major_version: 1,
        minor_version: 44,
    },
];

/// Docker Engine. Connects on first use, and again after a failure.
pub struct Docker {
    address: DockerAddress,
    client: Mutex<Option<Arc<Client>>>,
    root: Mutex<Option<String>>,
    patience: Patience,
}

impl Docker {
    /// Returns the engine at `DOCKER_HOST` (only `unix://` works: containers must be on this host), else at the default
    /// socket.
    pub fn from_env() -> Self {
        Self::new(std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_SOCKET.to_owned()))
    }

    /// Returns the engine at a socket path, with or without `unix://`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: DockerAddress::new(address),
            client: Mutex::new(None),
            root: Mutex::new(None),
            patience: Patience::default(),
        }
    }

    pub(super) async fn client(&self) -> Result<Arc<Client>, EngineError> {
        if let Some(client) = self.lock().clone() {
            return Ok(client);
        }
        let path = self.address.path()?;
        let mut last = self.address.not_running();
        for version in &VERSIONS {
            let client = Client::connect_with_unix(path, TIMEOUT, version)
                .map_err(|e| self.error(e, None))?;
            match client.version().await {
                Ok(_) => {
                    let client = Arc::new(client);
                    *self.lock() = Some(client.clone());
                    return Ok(client);
                }
                Err(e) => last = self.error(e, None),
            }
        }
        Err(last)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn error(&self, error: Error, container: Option<&str>) -> EngineError {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => response_error(status_code, message, container),
            Error::RequestTimeoutError => {
                EngineError::Unavailable(format!("Docker did not answer within {TIMEOUT} s"))
            }
            Error::SocketNotFoundError(_)
            | Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. } => {
                *self.lock() = None;
                self.address.not_running()
            }
            other => refused(other.to_string()),
        }
    }

    async fn inspect_named(&self, name: &str) -> Result<EngineContainer, EngineError> {
        check_name(name)?;
        let client = self.client().await?;
        let answer = client.inspect_container(name, None).await;
        let mut found = answer
            .map(container::container)
            .map_err(|e| self.error(e, Some(name)))?;
        if found.hosts_file.is_empty()
            && let Some(root) = self.root(&client).await
        {
            found.hosts_file = hosts_file(&root, &found.id);
        }
        Ok(found)
    }

    /// Returns Docker's data directory, if reported.
    async fn root(&self, client: &Client) -> Option<String> {
        let lock = || self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = lock().clone() {
            return Some(root);
        }
        let root = client.info().await.ok()?.docker_root_dir?;
        *lock() = Some(root.clone());
        Some(root)
    }

    async fn endpoints_of(&self, network: &str) -> Result<Vec<NetworkEndpoint>, EngineError> {
        let client = self.client().await?;
        let answer = client.inspect_network(network, None).await;
        let found = answer.map_err(|e| self.error(e, None))?;
        Ok(container::endpoints(found))
    }

    pub(super) async fn disconnect_from(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        match client.disconnect_network(network, request).await {
            Ok(()) => Ok(()),
            Err(Error::DockerResponseServerError {
                status_code,
                message,
            }) if is_disconnected(status_code, &message) => Ok(()),
            Err(e) => Err(self.error(e, Some(container))),
        }
    }
}

impl Engine for Docker {
    fn runtime(&self) -> Runtime {
        Runtime::Docker
    }

    fn inspect<'a>(&'a self, name: &'a str) -> Answer<'a, EngineContainer> {
        Box::pin(self.patience.within(self.inspect_named(name)))
    }

    fn start<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            check_name(name)?;
            let client = self.client().await?;
            let answer = client.start_container(name, None).await;
            answer.map_err(|e| self.error(e, Some(name)))
        })
    }

    fn list(&self) -> Answer<'_, BTreeMap<String, bool>> {
        Box::pin(self.patience.within(async move {
            Ok(container::listing(self.all_containers().await?))
        }))
    }

    fn on_mesh(&self) -> Answer<'_, BTreeSet<String>> {
        Box::pin(self.patience.within(self.containers_of_ours()))
    }

    fn follow(&self, events: mpsc::Sender<EngineEvent>) -> Answer<'_, ()> {
        Box::pin(self.tell(events))
    }

    fn waiting(&self) -> Option<EngineWaiting> {
        self.patience.waiting()
    }

    fn plugs_by_name(&self) -> Answer<'_, bool> {
        Box::pin(self.patience.within(async move {
            let client = self.client().await?;
            let version = client.version().await.map_err(|e| self.error(e, None))?;
            Ok(plugs_by_name(&version.api_version.unwrap_or_default()))
        }))
    }

    fn networks(&self) -> Answer<'_, Vec<OwnNetwork>> {
        Box::pin(self.patience.within(self.our_networks()))
    }

    fn network_base(&self) -> Answer<'_, &'static str> {
        Box::pin(self.patience.within(self.base()))
    }

    fn stranded(&self) -> Answer<'_, Vec<String>> {
        Box::pin(self.patience.within(self.stranded_containers()))
    }

    fn reconnect<'a>(&'a self, container: &'a str, connection: &'a NetworkConnection) -> Answer<'a, ()> {
        Box::pin(self.connect_again(container, connection))
    }

    fn ensure_network<'a>(&'a self, network: &'a str) -> Answer<'a, ()> {
        Box::pin(self.patience.within(self.make_network(network)))
    }

    fn endpoints<'a>(&'a self, network: &'a str) -> Answer<'a, Vec<NetworkEndpoint>> {
        Box::pin(self.patience.within(self.endpoints_of(network)))
    }

    fn disconnect<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()> {
        Box::pin(self.disconnect_from(network, container))
    }

    fn remove_network<'a>(&'a self, network: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(network))
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
