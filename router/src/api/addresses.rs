//! Handlers of requests about address allocation (`mesh_proto::api::ipam`).

use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh_proto::api::ipam::{IpamReport, Left, PrimeRequest, RemoveRequest, Removed};
use mesh_proto::api::{Done, WaitingReport};
use mesh_proto::network::NetworkId;

use super::{Api, ApiResult, refused};

/// Longest timeout that `prime` accepts.
const MAX_PRIME: Duration = Duration::from_secs(3_600);
/// Delay for the last messages of a leaving router to reach its neighbours.
const LAST_WORDS: Duration = Duration::from_millis(300);

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/ipam", get(report))
        .route("/waiting", get(waiting))
        .route("/ipam/prime", post(prime))
        .route("/ipam/remove", post(remove))
        .route("/ipam/leave", post(leave))
}

async fn report(State(api): State<Api>) -> Json<IpamReport> {
    Json(ipam(&api).await)
}

/// Returns the report about addresses, with the names of networks.
pub(super) async fn ipam(api: &Api) -> IpamReport {
    let mut report = api.allocator.report().await;
    for network in &mut report.networks {
        if let Some(id) = NetworkId::from_hex(&network.network) {
            network.network = api.naming.networks().shown(&id);
        }
    }
    report
}

async fn waiting(State(api): State<Api>) -> Json<WaitingReport> {
    Json(WaitingReport {
        addresses: api.allocator.waiting().await,
        engines: api.attachments.engines().waiting(),
    })
}

async fn prime(State(api): State<Api>, Json(request): Json<PrimeRequest>) -> ApiResult<Done> {
    let patience = Duration::try_from_secs_f64(request.timeout).ok();
    let patience = patience.filter(|p| *p <= MAX_PRIME).ok_or_else(|| {
        let longest = MAX_PRIME.as_secs();
        refused(format!("--timeout: must be 0 to {longest} seconds"))
    })?;
    api.allocator.prime(patience).await.map_err(refused)?;
    Ok(Json(Done {}))
}

async fn remove(State(api): State<Api>, Json(request): Json<RemoveRequest>) -> ApiResult<Removed> {
    let mut lines = Vec::new();
    for peer in &request.peers {
        let done = api.allocator.remove(peer, request.force).await;
        lines.push(done.map_err(|why| match lines.is_empty() {
            true => refused(why),
            false => refused(format!("{}; but {why}", lines.join("; "))),
        })?);
    }
    Ok(Json(Removed { lines }))
}

/// First half of `mesh reset`: takes everything on this host off the mesh, and hands its address space over to other
/// routers.
async fn leave(State(api): State<Api>) -> ApiResult<Left> {
    api.attachments.retire().await?;
    let left = match api.allocator.pool() {
        Ok(_) => api.allocator.leave().await,
        Err(_) => Left::default(),
    };
    tokio::time::sleep(LAST_WORDS).await;
    Ok(Json(left))
}
