//! Hands calls to the router, for as long as that answers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use mesh_sys::process;
use serde_json::Value;
use tokio::net::UnixStream;

use super::ROUTER_PATH;
use crate::driver::{MAX_REQUEST, SENT};

/// How long a router may take for a call before it is asked whether it lives.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it may take to say so.
const SIGN_OF_LIFE: Duration = Duration::from_millis(400);
/// How long a call may take with a router that lives; the claim of an address from another router takes seconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Time between two looks whether a router that hung is back.
const PROBE: Duration = Duration::from_millis(250);
/// How long one such look waits: there is one at a time, since each fills the router's queue.
const PROBE_WAIT: Duration = Duration::from_secs(30);
/// Whether the router lives; it looks at Docker and the kernel again then.
const ALIVE: &str = "Mesh.Alive";

/// The way to the router.
pub(super) struct Forward(Arc<Way>);

struct Way {
    socket: PathBuf,
    /// It hung when it was last asked, and is asked nothing until it says that it lives.
    hangs: AtomicBool,
}

impl Forward {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Way {
            socket,
            hangs: AtomicBool::new(false),
        }))
    }

    /// The router's answer; none when it does not run, or hangs.
    pub(super) async fn ask(&self, call: &str, body: Bytes) -> Option<Value> {
        if self.0.hangs.load(Ordering::Relaxed) {
            return None;
        }
        let mut asked = std::pin::pin!(self.0.ask(call, body));
        let mut waited = PATIENCE;
        loop {
            if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut asked).await {
                return answer.ok();
            }
            if waited >= LONGEST || !self.0.lives().await {
                break;
            }
            waited += PATIENCE;
        }
        tracing::warn!(
            call,
            "the router does not answer; Docker is answered without it"
        );
        if !self.0.hangs.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.0.clone().watch());
        }
        None
    }
}

impl Way {
    async fn ask(&self, call: &str, body: Bytes) -> io::Result<Value> {
        let peer = Peer::connect(&self.socket).await?;
        peer.ask(&format!("{ROUTER_PATH}/{call}"), body).await
    }

    async fn lives(&self) -> bool {
        let asked = self.ask(ALIVE, Bytes::new());
        matches!(tokio::time::timeout(SIGN_OF_LIFE, asked).await, Ok(Ok(_)))
    }

    /// Until the router lives, or has ended.
    async fn watch(self: Arc<Self>) {
        loop {
            let asked = tokio::time::timeout(PROBE_WAIT, self.ask(ALIVE, Bytes::new())).await;
            match asked {
                Ok(Ok(_)) => break,
                // A connection that is refused takes no time when it is asked the next call either.
                Ok(Err(error)) if is_gone(&error) => break,
                _ => tokio::time::sleep(PROBE).await,
            }
        }
        self.hangs.store(false, Ordering::Relaxed);
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), ConnectionRefused | NotFound)
}

/// One connection, for one question.
pub(super) struct Peer(SendRequest<Full<Bytes>>);

impl Peer {
    pub(super) async fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Posts a body to a path; the answer must be JSON with status 200.
    pub(super) async fn ask(mut self, path: &str, body: Bytes) -> io::Result<Value> {
        let now = process::uptime().unwrap_or_default().as_millis();
        let path = path.trim_start_matches('/');
        let request = Request::post(format!("/{path}"))
            .header(HOST, "mesh")
            .header(SENT, now.to_string())
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let answer = self.0.send_request(request).await;
        let answer = answer.map_err(io::Error::other)?;
        if answer.status() != StatusCode::OK {
            return Err(io::Error::other(format!("status {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), MAX_REQUEST);
        let body = body.collect().await.map_err(io::Error::other)?;
        serde_json::from_slice(&body.to_bytes()).map_err(io::Error::other)
    }
}
