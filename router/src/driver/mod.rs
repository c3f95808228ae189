//! The Docker network driver `mesh`: libnetwork's remote driver protocol, local scope, JSON over HTTP on a unix socket
//! in Docker's plugin directory.
//!
//! Docker starts a container only after CreateEndpoint and Join have been answered, and moves the interface into it
//! with its address before the first process runs. dockerd holds locks while it asks: nothing here asks dockerd back,
//! and each answer takes milliseconds.

mod messages;
pub(crate) mod options;
mod socket;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ipnet::IpNet;
use mesh_proto::ids::Mac;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::attach::{Attachments, Late};
use messages::{
    CreateEndpointRequest, CreateEndpointResponse, EndpointInterface, EndpointRequest,
    InterfaceName, JoinResponse, StaticRoute,
};

pub use socket::{DEFAULT_SOCKET, PluginSocket};

/// Interfaces in containers are named by this and a number.
const INTERFACE_PREFIX: &str = "mesh";
/// Longest request read; Docker's are some hundred bytes.
const MAX_REQUEST: usize = 64 * 1024;
/// Longest id accepted; Docker's have 64 characters.
const MAX_ID: usize = 128;

/// Who answers: the router, or `reset`, which agrees to whatever Docker gives up.
type Backend = Option<Arc<Attachments>>;
/// What a call answers, or the text of its error.
type Reply = Result<Value, String>;

fn routes(backend: Backend) -> Router {
    let mut router = Router::new()
        .route(
            "/Plugin.Activate",
            fixed(json!({"Implements": ["NetworkDriver"]})),
        )
        .route(
            "/NetworkDriver.GetCapabilities",
            fixed(json!({"Scope": "local", "ConnectivityScope": "global"})),
        )
        .route("/NetworkDriver.EndpointOperInfo", post(describe))
        .route("/NetworkDriver.CreateEndpoint", post(create_endpoint))
        .route("/NetworkDriver.Join", post(join))
        .route("/NetworkDriver.Leave", post(leave))
        .route("/NetworkDriver.DeleteEndpoint", post(delete_endpoint));
    // Docker keeps the networks; to us they are names only.
    for nothing_to_do in [
        "CreateNetwork",
        "DeleteNetwork",
        "AllocateNetwork",
        "FreeNetwork",
        "DiscoverNew",
        "DiscoverDelete",
        "ProgramExternalConnectivity",
        "RevokeExternalConnectivity",
    ] {
        router = router.route(&format!("/NetworkDriver.{nothing_to_do}"), fixed(json!({})));
    }
    router
        .fallback(|| async { answer(Err("the driver does not know this call".into())) })
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(backend)
}

fn fixed(value: Value) -> axum::routing::MethodRouter<Backend> {
    post(move || async move { answer(Ok(value)) })
}

async fn create_endpoint(State(backend): State<Backend>, body: Bytes) -> Response {
    answer(try_create_endpoint(backend, &body).await)
}

async fn try_create_endpoint(backend: Backend, body: &[u8]) -> Reply {
    let attachments = backend.ok_or("mesh is being reset")?;
    let request: CreateEndpointRequest = parse(body)?;
    check_id(&request.endpoint)?;
    check_id(&request.network)?;
    let wanted = options::parse(&request.options.unwrap_or_default())?;
    let given = request.interface.unwrap_or_default();
    if !given.mac_address.is_empty() {
        return Err("the MAC address follows from the address; leave --mac-address out".into());
    }
    let shown = match wanted.late {
        Late::No => Some(wanted.address),
        Late::Subnet => Some(IpNet::from(wanted.address.addr())),
        Late::Whole => None,
    };
    let mac = attachments
        .create_endpoint(&request.endpoint, &request.network, wanted)
        .await
        .map_err(|e| e.to_string())?;
    to_json(&CreateEndpointResponse {
        interface: filled_in(&given, shown, mac),
    })
}

/// Only what the request left empty.
fn filled_in(given: &EndpointInterface, address: Option<IpNet>, mac: Mac) -> EndpointInterface {
    let mut interface = EndpointInterface {
        mac_address: mac.to_string(),
        ..EndpointInterface::default()
    };
    match address {
        Some(IpNet::V4(v4)) if given.address.is_empty() => interface.address = v4.to_string(),
        Some(IpNet::V6(v6)) if given.address_ipv6.is_empty() => {
            interface.address_ipv6 = v6.to_string();
        }
        _ => {}
    }
    interface
}

async fn join(State(backend): State<Backend>, body: Bytes) -> Response {
    answer(try_join(backend, &body))
}

fn try_join(backend: Backend, body: &[u8]) -> Reply {
    let attachments = backend.ok_or("mesh is being reset")?;
    let request: EndpointRequest = parse(body)?;
    let sandbox = PathBuf::from(&request.sandbox);
    if !sandbox.is_absolute() {
        return Err(format!("the sandbox key '{}' is no path", request.sandbox));
    }
    let joined = attachments.join(&request.endpoint, sandbox);
    let (peer, multicast) = joined.map_err(|e| e.to_string())?;
    let route = StaticRoute {
        destination: "224.0.0.0/4".into(),
        route_type: 1,
    };
    to_json(&JoinResponse {
        interface_name: InterfaceName {
            src_name: peer,
            dst_prefix: INTERFACE_PREFIX.into(),
        },
        static_routes: if multicast { vec![route] } else { Vec::new() },
        disable_gateway_service: true,
    })
}

async fn describe(State(backend): State<Backend>, body: Bytes) -> Response {
    let request: Result<EndpointRequest, String> = parse(&body);
    if let (Some(attachments), Ok(request)) = (backend, &request) {
        attachments.settled(&request.endpoint).await;
    }
    answer(request.map(|_| json!({"Value": {}})))
}

async fn leave(State(backend): State<Backend>, body: Bytes) -> Response {
    let request: Result<EndpointRequest, String> = parse(&body);
    if let (Some(attachments), Ok(request)) = (backend, &request) {
        attachments.leave(&request.endpoint);
    }
    answer(request.map(|_| json!({})))
}

async fn delete_endpoint(State(backend): State<Backend>, body: Bytes) -> Response {
    let request: Result<EndpointRequest, String> = parse(&body);
    if let (Some(attachments), Ok(request)) = (backend, &request) {
        attachments.delete_endpoint(&request.endpoint).await;
    }
    answer(request.map(|_| json!({})))
}

/// Docker expects an error in a 200, as `Err`, and shows it to its user.
fn answer(reply: Reply) -> Response {
    let body = reply.unwrap_or_else(|error| json!({ "Err": error }));
    let kind = "application/vnd.docker.plugins.v1.2+json";
    ([(CONTENT_TYPE, kind)], body.to_string()).into_response()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| format!("cannot read the request: {e}"))
}

fn to_json(value: &impl serde::Serialize) -> Reply {
    serde_json::to_value(value).map_err(|e| e.to_string())
}

/// Ids become part of interface aliases and of the stored table.
fn check_id(id: &str) -> Result<(), String> {
    let sound =
        !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_alphanumeric());
    sound
        .then_some(())
        .ok_or_else(|| format!("'{id}' is not an id"))
}
