//! The router's API: JSON over HTTP/1.1 on a Unix socket. `mesh_proto::api` lists the requests.

mod addresses;
mod dns;
mod host;
mod networks;
pub mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh_proto::api::{
    AbandonRequest, AdoptRequest, ArrivedRequest, AttachRequest, AttachedContainer, ConnectRequest,
    ContainerAddresses, DetachRequest, Done, ErrorBody, ForgetReply, ForgetRequest, PrepareRequest,
    Prepared, Report, RouterReport,
};
use mesh_proto::control::Forgot;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::attach::{AttachmentError, Attachments};
use crate::command::ControlCommand;
use crate::driver::{self, DriverBackend};
use crate::host::HostView;
use crate::ipam::Allocator;
use crate::names::Naming;
use crate::networks::NetworksClient;
use crate::plugin;

/// State of the handlers.
#[derive(Clone)]
pub struct Api {
    /// Commands to the control plane.
    pub commands: mpsc::Sender<ControlCommand>,
    /// Attachments of this host.
    pub attachments: Arc<Attachments>,
    /// Allocator of addresses.
    pub allocator: Allocator,
    /// Names of the mesh.
    pub naming: Naming,
    /// Networks of the mesh.
    pub networks: NetworksClient,
    /// Bridge, datapath, MAC table and counters.
    pub host: Arc<HostView>,
    /// Stops the router.
    pub stop: mpsc::Sender<()>,
}

/// Error response: HTTP status and message.
struct Failure(StatusCode, String);

type ApiResult<T> = Result<Json<T>, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: self.1 })).into_response()
    }
}

/// Returns a 400 response. The message must name the remedy.
fn refused(error: impl std::fmt::Display) -> Failure {
    Failure(StatusCode::BAD_REQUEST, format!("{error:#}"))
}

/// Maps an attachment error to a 4xx status if the caller can fix it, else to 5xx.
impl From<AttachmentError> for Failure {
    fn from(error: AttachmentError) -> Self {
        let status = if error.is_callers() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self(status, error.to_string())
    }
}

fn stopping() -> Failure {
    Failure(
        StatusCode::SERVICE_UNAVAILABLE,
        "the router is stopping".to_owned(),
    )
}

/// Binds the socket. A stale socket file is replaced.
///
/// # Errors
/// Another router answers on the socket, or it cannot be created.
pub async fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        bail!(
            "a router is already running (it answers on {})",
            path.display()
        );
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = mesh_sys::socket::unix::listen(path).and_then(UnixListener::from_std);
    listener.with_context(|| format!("cannot listen on {}", path.display()))
}

/// Serves until the runtime ends. The socket file is removed on drop.
///
/// # Errors
/// The socket fails.
pub async fn serve(listener: UnixListener, api: Api) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/report", get(report))
        .route("/notices", get(notices))
        .route("/connect", post(connect))
        .route("/forget", post(forget))
        .route("/prepare", post(prepare))
        .route("/abandon", post(abandon))
        .route("/adopt", post(adopt))
        .route("/arrived", post(arrived))
        .route("/mend", post(mend))
        .route("/attach", post(attach))
        .route("/detach", post(detach))
        .route("/ps", get(ps))
        .merge(dns::routes())
        .merge(host::routes())
        .route("/stop", post(stop))
        .merge(addresses::routes())
        .merge(networks::routes())
        .nest_service(
            plugin::ROUTER_PATH,
            driver::routes(DriverBackend::Router(api.attachments.clone())),
        )
        .fallback(|| async {
            Failure(
                StatusCode::NOT_FOUND,
                "this router has no such request; is mesh newer than mesh-router?".into(),
            )
        })
        .with_state(api);
    axum::serve(listener, routes).await
}

/// Removes the socket file on drop.
pub struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

async fn ask<T>(
    api: &Api,
    command: impl FnOnce(oneshot::Sender<T>) -> ControlCommand,
) -> Result<T, Failure> {
    let (answer, receiver) = oneshot::channel();
    api.commands
        .send(command(answer))
        .await
        .map_err(|_| stopping())?;
    receiver.await.map_err(|_| stopping())
}

async fn report(State(api): State<Api>) -> ApiResult<Report> {
    let control = ask(&api, ControlCommand::Report).await?;
    let host = api.host.report(&control.peers);
    let mut router = RouterReport::new(control, host);
    router.warnings.extend(api.naming.errors());
    let attachments = api.attachments.ps();
    let ipam = addresses::ipam(&api).await;
    router.warnings.extend(ipam.advice.iter().cloned());
    let (networks, losses) = api.networks.summary().await;
    router.warnings.extend(losses);
    let problem = api.attachments.host_problem();
    let problem = problem.map(|p| format!("this host is not exposed as it should be: {p}"));
    router.warnings.extend(problem);
    router.warnings.extend(api.attachments.interference());
    Ok(Json(Report {
        ready: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        router,
        attachments,
        ipam: Some(ipam),
        dns: Some(dns::summary(&api)),
        networks,
        host: Some(api.attachments.host_report()),
    }))
}

async fn connect(State(api): State<Api>, Json(request): Json<ConnectRequest>) -> ApiResult<Done> {
    targets::check(&request.peers, api.host.port).map_err(refused)?;
    let stored = ask(&api, |done| ControlCommand::Connect {
        targets: request.peers,
        replace: request.replace,
        done,
    })
    .await?
    .map_err(refused)?;
    stored
        .await
        .map_err(|_| stopping())?
        .map_err(|e| unstored(&e))?;
    Ok(Json(Done {}))
}

/// Returns the error for a change that was applied but could not be stored, and is lost at the next start.
fn unstored(error: &str) -> Failure {
    Failure(
        StatusCode::INSUFFICIENT_STORAGE,
        format!("done, but it cannot be stored and is forgotten at the next start: {error}"),
    )
}

async fn forget(
    State(api): State<Api>,
    Json(request): Json<ForgetRequest>,
) -> ApiResult<ForgetReply> {
    let targets = request.peers.clone();
    let (became, stored) = ask(&api, |done| ControlCommand::Forget { targets, done }).await?;
    stored
        .await
        .map_err(|_| stopping())?
        .map_err(|e| unstored(&e))?;
    let of = |which: Forgot| {
        let pairs = request.peers.iter().zip(&became);
        pairs
            .filter(|(_, b)| **b == which)
            .map(|(word, _)| word.clone())
            .collect()
    };
    Ok(Json(ForgetReply {
        linked: of(Forgot::Linked),
        unknown: of(Forgot::Unknown),
    }))
}

async fn notices(State(api): State<Api>) -> Json<Vec<String>> {
    let mut lines = api.host.notices();
    lines.extend(api.naming.errors());
    Json(lines)
}

async fn prepare(
    State(api): State<Api>,
    Json(mut request): Json<PrepareRequest>,
) -> ApiResult<Prepared> {
    request.multicast_route &= api.host.multicast_route;
    let mut prepared = api.attachments.prepare(&request).await?;
    prepared.dns = match prepared.netns {
        Some(_) => api.naming.client_of(&prepared.id).await,
        None => {
            api.naming.admit().await;
            api.naming.client()
        }
    };
    Ok(Json(prepared))
}

async fn abandon(State(api): State<Api>, Json(request): Json<AbandonRequest>) -> ApiResult<Done> {
    api.attachments.abandon(&request).await?;
    Ok(Json(Done {}))
}

async fn adopt(State(api): State<Api>, Json(request): Json<AdoptRequest>) -> ApiResult<Done> {
    api.attachments.adopt(&request).await?;
    Ok(Json(Done {}))
}

async fn arrived(State(api): State<Api>, Json(request): Json<ArrivedRequest>) -> ApiResult<Done> {
    api.attachments.arrived(&request).await?;
    Ok(Json(Done {}))
}

/// Recreates the networks that Docker containers need before they can be started.
async fn mend(State(api): State<Api>) -> ApiResult<Done> {
    api.attachments.mend_networks().await?;
    Ok(Json(Done {}))
}

async fn attach(
    State(api): State<Api>,
    Json(mut request): Json<AttachRequest>,
) -> ApiResult<ContainerAddresses> {
    request.multicast_route &= api.host.multicast_route;
    let attached = api.attachments.attach(&request).await?;
    api.naming.look_inside().await;
    if api.attachments.is_of_docker(&attached.container) {
        api.naming.settle(&attached.container).await;
    }
    Ok(Json(attached))
}

async fn detach(
    State(api): State<Api>,
    Json(request): Json<DetachRequest>,
) -> ApiResult<ContainerAddresses> {
    api.attachments
        .detach(&request)
        .await
        .map(Json)
        .map_err(Failure::from)
}

async fn ps(State(api): State<Api>) -> Json<Vec<AttachedContainer>> {
    Json(api.attachments.ps())
}

async fn stop(State(api): State<Api>) -> ApiResult<Done> {
    // Nobody listens when it stops already.
    let _ = api.stop.send(()).await;
    Ok(Json(Done {}))
}
