//! Connection to dockerd: opened on first use, and again after a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::errors::Error;
use bollard::{ClientVersion, Docker as Client};

use crate::engine::EngineError;

/// Timeout of dockerd's operations in seconds: they may wait for other operations on the container. Queries have
/// shorter timeouts, see [`patience`](crate::engine::patience).
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

/// Connection to dockerd at one address.
pub(super) struct DockerClient {
    address: String,
    client: Mutex<Option<Arc<Client>>>,
    root: Mutex<Option<String>>,
}

impl DockerClient {
    /// Returns the connection to a socket path, with or without `unix://`.
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            client: Mutex::new(None),
            root: Mutex::new(None),
        }
    }

    /// Returns the client, connected.
    pub(super) async fn get(&self) -> Result<Arc<Client>, EngineError> {
        if let Some(client) = self.lock().clone() {
            return Ok(client);
        }
        let path = self.socket_path()?;
        let mut last = EngineError::Unavailable(self.not_running());
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

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket_path(&self) -> Result<&str, EngineError> {
        let path = self
            .address
            .strip_prefix("unix://")
            .unwrap_or(&self.address);
        if path.contains("://") {
            return Err(EngineError::Unavailable(format!(
                "DOCKER_HOST is {}, but only a Docker Engine of this host (unix://…) can be attached to",
                self.address
            )));
        }
        Ok(path)
    }

    fn not_running(&self) -> String {
        let path = self
            .address
            .strip_prefix("unix://")
            .unwrap_or(&self.address);
        format!("Docker is not running (cannot connect to {path})")
    }

    /// Converts an error of a request, about `container` if it is given. Drops a connection that broke.
    pub(super) fn error(&self, error: Error, container: Option<&str>) -> EngineError {
        match error {
            Error::DockerResponseServerError {
                status_code: 404,
                message,
            } => match container {
                Some(name) if message.to_ascii_lowercase().contains("no such container") => {
                    EngineError::NoContainer(name.to_owned())
                }
                _ => refused(message),
            },
            Error::DockerResponseServerError { message, .. } => refused(message),
            Error::RequestTimeoutError => {
                EngineError::Unavailable(format!("Docker did not answer within {TIMEOUT} s"))
            }
            Error::SocketNotFoundError(_)
            | Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. } => {
                *self.lock() = None;
                EngineError::Unavailable(self.not_running())
            }
            other => refused(other.to_string()),
        }
    }

    /// Returns Docker's data directory, if reported.
    pub(super) async fn root(&self, client: &Client) -> Option<String> {
        let lock = || self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = lock().clone() {
            return Some(root);
        }
        let root = client.info().await.ok()?.docker_root_dir?;
        *lock() = Some(root.clone());
        Some(root)
    }
}

/// Returns the error for a request that dockerd refused.
pub(super) fn refused(message: String) -> EngineError {
    EngineError::Refused {
        engine: "Docker",
        message,
    }
}
