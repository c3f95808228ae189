//! HTTP/1.1 over the router's Unix socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use mesh_proto::api::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for one answer. It is long because `prepare` may have to create a network in the engine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Delay before the first progress message, and interval between messages.
const PATIENCE: Duration = Duration::from_secs(1);
/// Largest answer in bytes; the report of a thousand routers has a few MiB.
const MAX_ANSWER: usize = 256 << 20;

/// Client of the router on a socket. Each request opens a new connection.
pub(crate) struct ApiClient {
    socket: PathBuf,
    runtime: Runtime,
}

/// Error of a request to the router.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// There is no socket, or no process listens on it.
    NotRunning { socket: PathBuf, why: &'static str },
    /// This user may not open the socket.
    Denied { socket: PathBuf, group: String },
    /// The router refused the request. Carries its message.
    Refused(String),
    /// Any other failure to send the request or read the answer.
    Broken { socket: PathBuf, why: String },
}

impl ApiClient {
    /// Returns a client for the router on `socket`, without connecting.
    pub(crate) fn new(socket: PathBuf) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket, runtime })
    }

    /// Returns the path of the router's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends `GET path` and parses the JSON answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.request(Method::GET, path, Bytes::new(), ANSWER_DEADLINE)
    }

    /// Sends `POST path` with `body` as JSON, and parses the JSON answer.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(&e))?;
        self.request(Method::POST, path, body.into(), ANSWER_DEADLINE)
    }

    /// Like [`ApiClient::post`], with a timeout of `deadline`.
    pub(crate) fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(&e))?;
        self.request(Method::POST, path, body.into(), deadline)
    }

    /// Like [`ApiClient::post_within`]; while waiting, calls `tell` every second with the answer to a `GET` of progress.
    pub(crate) fn post_patiently<T: DeserializeOwned, P: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
        progress_path: &str,
        tell: &mut impl FnMut(P),
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(&e))?;
        let exchange = self.exchange(Method::POST, path, body.into());
        self.runtime.block_on(async {
            let mut answer = std::pin::pin!(self.within(deadline, exchange));
            loop {
                if let Ok(done) = tokio::time::timeout(PATIENCE, &mut answer).await {
                    return done;
                }
                let asked = self.exchange(Method::GET, progress_path, Bytes::new());
                if let Ok(Ok(progress)) = tokio::time::timeout(PATIENCE, asked).await {
                    tell(progress);
                }
            }
        })
    }

    /// True if the router answers a request within `deadline`. An error answer counts.
    pub(crate) fn answers(&self, deadline: Duration) -> bool {
        let answer =
            self.request::<serde_json::Value>(Method::GET, "/report", Bytes::new(), deadline);
        matches!(answer, Ok(_) | Err(ClientError::Refused(_)))
    }

    /// Returns the pid of the process that listens on the socket; 0 if it is in another pid namespace.
    pub(crate) fn pid(&self) -> Result<i32, ClientError> {
        let stream = self.runtime.block_on(self.connect())?;
        let cred = stream.peer_cred().map_err(|e| self.broken(&e))?;
        Ok(cred.pid().unwrap_or(0))
    }

    fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let exchange = self.exchange(method, path, body);
        self.runtime.block_on(self.within(deadline, exchange))
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        exchange: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.broken(&format!(
                "no answer within {} s; see its log, or `mesh stop` and `mesh launch`",
                deadline.as_secs()
            ))),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|e| self.broken(&e))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "mesh")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| self.broken(&e))?;
        let answer = sender.send_request(request).await;
        let result = match answer {
            Ok(response) => self.read(response).await,
            Err(e) => Err(self.broken(&e)),
        };
        driver.abort();
        result
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|e| self.broken(&e))?
            .to_bytes();
        if !status.is_success() {
            let refusal = match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(body) => body.error,
                Err(_) => format!("the router answered {status}"),
            };
            return Err(ClientError::Refused(refusal));
        }
        serde_json::from_slice(&body).map_err(|e| {
            self.broken(&format!(
                "unexpected answer ({e}); are mesh and mesh-router of the same version?"
            ))
        })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        let not_running = |why| ClientError::NotRunning {
            socket: socket.clone(),
            why,
        };
        match error.kind() {
            io::ErrorKind::NotFound => not_running("no such file"),
            io::ErrorKind::ConnectionRefused => not_running("nobody listens there"),
            io::ErrorKind::PermissionDenied => ClientError::Denied {
                group: owning_group(&self.socket),
                socket,
            },
            _ => self.broken(error),
        }
    }

    fn broken(&self, why: &impl fmt::Display) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            why: why.to_string(),
        }
    }
}

/// Returns the name of the group that may open `socket`; empty if it is root's or unknown.
fn owning_group(socket: &Path) -> String {
    let Ok(metadata) = std::fs::metadata(socket) else {
        return String::new();
    };
    if metadata.gid() == 0 {
        return String::new();
    }
    match nix::unistd::Group::from_gid(metadata.gid().into()) {
        Ok(Some(group)) => group.name,
        _ => metadata.gid().to_string(),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { socket, why } => write!(
                f,
                "mesh is not running: no router answers at {} ({why}); try `mesh launch`",
                socket.display()
            ),
            Self::Denied { socket, group } if group.is_empty() => write!(
                f,
                "cannot reach the router at {}: permission denied; run as root",
                socket.display()
            ),
            Self::Denied { socket, group } => write!(
                f,
                "cannot reach the router at {}: permission denied; run as root or as a member of the group {group}",
                socket.display()
            ),
            Self::Refused(message) => f.write_str(message),
            Self::Broken { socket, why } => {
                write!(
                    f,
                    "talking to the router at {} failed: {why}",
                    socket.display()
                )
            }
        }
    }
}

impl std::error::Error for ClientError {}
