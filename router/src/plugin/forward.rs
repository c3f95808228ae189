//! Forwarding of calls to the router, while it answers.

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
use mesh_engine::plugin::ALIVE;
use mesh_engine::plugin::process::{CallWait, PATIENCE, SENT};
use mesh_sys::process;
use serde_json::Value;
use tokio::net::UnixStream;

use super::ROUTER_PATH;
use crate::driver::MAX_REQUEST;

/// Timeout of the sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(400);
/// Interval of checks of a router that hung.
const PROBE: Duration = Duration::from_millis(250);
/// Timeout of one such check. There is one at a time, since each takes a place in the router's queue.
const PROBE_WAIT: Duration = Duration::from_secs(30);
/// Connection to the router.
pub(super) struct Forward(Arc<RouterLink>);

struct RouterLink {
    socket: PathBuf,
    /// True after the router hung, until it shows a sign of life; no calls are forwarded then.
    hangs: AtomicBool,
}

impl Forward {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Arc::new(RouterLink {
            socket,
            hangs: AtomicBool::new(false),
        }))
    }

    /// Returns the router's answer; `None` if it does not run, or hangs.
    pub(super) async fn ask(&self, call: &str, body: Bytes) -> Option<Value> {
        if self.0.hangs.load(Ordering::Relaxed) {
            return None;
        }
        let mut asked = std::pin::pin!(self.0.ask(call, body));
        let mut wait = CallWait::default();
        loop {
            if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut asked).await {
                return answer.ok();
            }
            if wait.is_over() || !self.0.lives().await {
                break;
            }
            wait.extend();
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

impl RouterLink {
    async fn ask(&self, call: &str, body: Bytes) -> io::Result<Value> {
        let peer = PluginConnection::connect(&self.socket).await?;
        peer.ask(&format!("{ROUTER_PATH}/{call}"), body).await
    }

    async fn lives(&self) -> bool {
        let asked = self.ask(ALIVE, Bytes::new());
        matches!(tokio::time::timeout(SIGN_OF_LIFE, asked).await, Ok(Ok(_)))
    }

    /// Waits until the router is alive, or has ended.
    async fn watch(self: Arc<Self>) {
        loop {
            let asked = tokio::time::timeout(PROBE_WAIT, self.ask(ALIVE, Bytes::new())).await;
            match asked {
                Ok(Ok(_)) => break,
                // A refused connection costs nothing, so the next call may try it.
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

/// One connection, for one request.
pub(super) struct PluginConnection(SendRequest<Full<Bytes>>);

impl PluginConnection {
    pub(super) async fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Posts a body to a path. The answer must be JSON with status 200.
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
