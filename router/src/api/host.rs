//! Handlers of requests about the host's own connection to the mesh.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use mesh_names::MeshName;
use mesh_proto::api::{BridgeRequest, Done, ExposeRequest, Exposed, Hidden, HideRequest};

use super::{Api, ApiResult, refused};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/expose", post(expose))
        .route("/hide", post(hide))
        .route("/attach-bridge", post(attach_bridge))
        .route("/detach-bridge", post(detach_bridge))
}

async fn expose(State(api): State<Api>, Json(request): Json<ExposeRequest>) -> ApiResult<Exposed> {
    let domain = &api.naming.settings().domain;
    let name = request.name.as_deref();
    let name = name.map(|text| MeshName::parse(text, domain)).transpose();
    let name = name.map_err(refused)?;
    Ok(Json(api.attachments.expose(&request, name).await?))
}

async fn hide(State(api): State<Api>, Json(request): Json<HideRequest>) -> ApiResult<Hidden> {
    Ok(Json(api.attachments.hide(&request).await?))
}

async fn attach_bridge(
    State(api): State<Api>,
    Json(request): Json<BridgeRequest>,
) -> ApiResult<Done> {
    let BridgeRequest { bridge, network } = &request;
    api.attachments.attach_bridge(network, bridge).await?;
    Ok(Json(Done {}))
}

async fn detach_bridge(
    State(api): State<Api>,
    Json(request): Json<BridgeRequest>,
) -> ApiResult<Done> {
    api.attachments.detach_bridge(&request.bridge).await?;
    Ok(Json(Done {}))
}
