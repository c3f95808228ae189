//! Handlers of requests about networks.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use ipnet::IpNet;
use mesh_networks::{NewNetwork, NotRemoved};
use mesh_proto::api::{
    CreateNetworkRequest, NetworkCreated, NetworkRemoved, NetworkReport, RemoveNetworkRequest,
};

use super::{Api, ApiResult, Failure, refused};
use crate::networks::occupied;
use mesh_proto::network::NetworkId;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/", get(|api: State<Api>| named(api, "")))
        .route("/networks/{name}", get(inspect))
        .route(
            "/networks/create",
            post(create).get(|api: State<Api>| named(api, "create")),
        )
        .route(
            "/networks/remove",
            post(remove).get(|api: State<Api>| named(api, "remove")),
        )
}

async fn list(State(api): State<Api>) -> ApiResult<Vec<NetworkReport>> {
    let all = api.networks.list().await.map_err(refused)?;
    Ok(Json(all))
}

async fn inspect(State(api): State<Api>, Path(name): Path<String>) -> ApiResult<NetworkReport> {
    let mut network = api.networks.inspect(&name).await.map_err(refused)?;
    network.containers = containers(&api, &network.id);
    Ok(Json(network))
}

/// Handles a name that is a path of its own.
async fn named(api: State<Api>, name: &'static str) -> ApiResult<NetworkReport> {
    inspect(api, Path(name.to_owned())).await
}

async fn create(
    State(api): State<Api>,
    Json(request): Json<CreateNetworkRequest>,
) -> ApiResult<NetworkCreated> {
    let mut avoid: Vec<IpNet> = tokio::task::spawn_blocking(occupied)
        .await
        .map_err(anyhow::Error::from)
        .and_then(|occupied| occupied)
        .unwrap_or_else(|error| {
            tracing::debug!("{error:#}");
            Vec::new()
        });
    avoid.extend(api.allocator.pool().map(|pool| IpNet::V4(pool.range)));
    let new = NewNetwork::read(&request, api.networks.mesh_mtu(), avoid).map_err(refused)?;
    let created = api.networks.create(new).await.map_err(refused)?;
    Ok(Json(NetworkCreated {
        id: created.id.to_string(),
        name: request.name,
        is_new: created.is_new,
    }))
}

async fn remove(
    State(api): State<Api>,
    Json(request): Json<RemoveNetworkRequest>,
) -> ApiResult<NetworkRemoved> {
    refuse_if_of_swarm(&api, &request)?;
    let removed = api.networks.remove(&request.network, request.force).await;
    let id = removed.map_err(|why| {
        let here = match &why {
            NotRemoved::InUse { network, .. } => containers(&api, &network.to_string()),
            NotRemoved::Refused(_) => Vec::new(),
        };
        refused(why.text(&here))
    })?;
    Ok(Json(NetworkRemoved { id: id.to_string() }))
}

/// Refuses to remove a network that Docker's Swarm would keep without its half in the mesh.
fn refuse_if_of_swarm(api: &Api, request: &RemoveNetworkRequest) -> Result<(), Failure> {
    let found = api.networks.resolve(&request.network).ok();
    let definition = found.and_then(|id| api.networks.definition(&id));
    let of_swarm = definition.filter(|definition| definition.swarm_network().is_some());
    match of_swarm.filter(|_| !request.force) {
        Some(definition) => Err(refused(format!(
            "the network {} is one of Docker's Swarm; remove it with docker network rm on a manager, or use --force if that \
             Swarm is gone",
            definition.name
        ))),
        None => Ok(()),
    }
}

/// Returns the names of all that is in a network on this host, sorted.
fn containers(api: &Api, network: &str) -> Vec<String> {
    let network = NetworkId::from_hex(network);
    network.map_or_else(Vec::new, |network| api.attachments.names_in(network))
}
