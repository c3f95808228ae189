//! The Docker network driver `mesh`: libnetwork's remote driver protocol, local scope, JSON over HTTP on a unix socket
//! in Docker's plugin directory.
//!
//! Docker starts a container only after CreateEndpoint and Join have been answered, and moves the interface into it
//! with its address before the first process runs. dockerd holds locks while it asks: nothing here asks dockerd back,
//! and each answer takes milliseconds. The socket belongs to a process of its own ([`crate::plugin`]), which asks the
//! router while that answers.

mod alone;
mod messages;
mod socket;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use mesh_host::endpoint::DeferredAddress;
use mesh_sys::process;
use serde_json::{Value, json};

use crate::attach::Attachments;
use messages::{
    CreateEndpointRequest, CreateEndpointResponse, EndpointRequest, InterfaceName, JoinResponse,
    StaticRoute, filled_in, parse, wanted,
};

pub(crate) use alone::Alone;
pub(crate) use messages::endpoint_of;
pub(crate) use socket::PluginSocket;

/// Interfaces in containers are named by this and a number.
const INTERFACE_PREFIX: &str = "mesh";
/// Longest request read; Docker's are some hundred bytes.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;
/// The header of a call that the plugin process hands on: when it was sent, in milliseconds since the machine started.
pub(crate) const SENT: &str = "mesh-sent";
/// The router begins no call that was sent longer ago; shorter than any time after which it is given up.
pub(crate) const FRESH_FOR: Duration = Duration::from_millis(450);

/// The part that answers.
#[derive(Clone)]
pub(crate) enum DriverBackend {
    /// The router.
    Router(Arc<Attachments>),
    /// The plugin process itself, while no router answers it.
    Alone(Arc<Alone>),
    /// `reset`, which agrees to whatever Docker gives up.
    Reset,
}

/// The answer of a call, or the text of its error.
type Reply = Result<Value, String>;

/// Answers Docker's calls, one path each.
pub(crate) fn routes(backend: DriverBackend) -> Router {
    let route = |State(backend): State<DriverBackend>,
                 uri: Uri,
                 headers: HeaderMap,
                 body: Bytes| async move {
        if !is_fresh(&headers) {
            let late = "the caller has given up by now";
            return (StatusCode::SERVICE_UNAVAILABLE, late).into_response();
        }
        let call = uri.path().trim_start_matches('/');
        respond(&answer(&backend, call, &body).await)
    };
    Router::new()
        .fallback(route)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(backend)
}

/// Returns whether a call is to be answered: one that lay about while this process was stopped has been answered by the
/// plugin process itself.
fn is_fresh(headers: &HeaderMap) -> bool {
    let sent = headers.get(SENT).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|text| text.parse().ok());
    let age = sent.and_then(|sent| process::uptime()?.checked_sub(Duration::from_millis(sent)));
    age.is_none_or(|age| age < FRESH_FOR)
}

/// Answers one call, as Docker reads it.
pub(crate) async fn answer(backend: &DriverBackend, call: &str, body: &[u8]) -> Value {
    let reply = match call {
        "Plugin.Activate" => Ok(json!({"Implements": ["NetworkDriver"]})),
        "NetworkDriver.GetCapabilities" => {
            Ok(json!({"Scope": "local", "ConnectivityScope": "global"}))
        }
        "NetworkDriver.CreateEndpoint" => create_endpoint(backend, body).await,
        "NetworkDriver.Join" => join(backend, body).await,
        "NetworkDriver.EndpointOperInfo" => describe(backend, body).await,
        "NetworkDriver.Leave" => leave(backend, body),
        "NetworkDriver.DeleteEndpoint" => delete_endpoint(backend, body).await,
        "NetworkDriver.DeleteNetwork" => {
            if let DriverBackend::Router(attachments) = backend {
                attachments.network_deleted().await;
            }
            Ok(json!({}))
        }
        // Docker keeps the networks; to us they are names only.
        "NetworkDriver.CreateNetwork"
        | "NetworkDriver.AllocateNetwork"
        | "NetworkDriver.FreeNetwork"
        | "NetworkDriver.DiscoverNew"
        | "NetworkDriver.DiscoverDelete"
        | "NetworkDriver.ProgramExternalConnectivity"
        | "NetworkDriver.RevokeExternalConnectivity" => Ok(json!({})),
        "Mesh.Alive" => {
            if let DriverBackend::Router(attachments) = backend {
                attachments.look_again();
            }
            Ok(json!({}))
        }
        _ => Err("the driver does not know this call".into()),
    };
    // Docker expects an error in a 200, as `Err`, and shows it to its user.
    reply.unwrap_or_else(|error| json!({ "Err": error }))
}

/// Returns the response with an answer. Each connection serves one call, so that none is left open to a process that ends.
pub(crate) fn respond(body: &Value) -> Response {
    let kind = "application/vnd.docker.plugins.v1.2+json";
    (
        [(CONTENT_TYPE, kind), (CONNECTION, "close")],
        body.to_string(),
    )
        .into_response()
}

async fn create_endpoint(backend: &DriverBackend, body: &[u8]) -> Reply {
    let (id, wanted) = wanted(body)?;
    let request: CreateEndpointRequest = parse(body)?;
    let made = match backend {
        DriverBackend::Router(attachments) => {
            let made = attachments.create_endpoint(&id, &request.network, wanted);
            Some(made.await.map_err(|e| e.to_string())?)
        }
        DriverBackend::Alone(alone) => alone.create_endpoint(&id, wanted).await?,
        DriverBackend::Reset => return Err("mesh is being reset".into()),
    };
    let Some((options, mac)) = made else {
        return to_json(&CreateEndpointResponse::default());
    };
    let shown = match options.deferred {
        DeferredAddress::No => Some(options.address),
        DeferredAddress::Subnet => Some(IpNet::from(options.address.addr())),
        DeferredAddress::Whole => None,
    };
    let given = request.interface.unwrap_or_default();
    to_json(&CreateEndpointResponse {
        interface: filled_in(&given, shown, mac),
    })
}

async fn join(backend: &DriverBackend, body: &[u8]) -> Reply {
    let request: EndpointRequest = parse(body)?;
    let sandbox = PathBuf::from(&request.sandbox);
    if !sandbox.is_absolute() {
        return Err(format!("the sandbox key '{}' is no path", request.sandbox));
    }
    let joined = match backend {
        DriverBackend::Router(attachments) => {
            let joined = attachments.join(&request.endpoint, sandbox);
            joined.map_err(|e| e.to_string())?
        }
        DriverBackend::Alone(alone) => alone.join(&request.endpoint, sandbox).await?,
        DriverBackend::Reset => return Err("mesh is being reset".into()),
    };
    let route = StaticRoute {
        destination: "224.0.0.0/4".into(),
        route_type: 1,
    };
    to_json(&JoinResponse {
        interface_name: InterfaceName {
            src_name: joined.peer,
            dst_prefix: INTERFACE_PREFIX.into(),
        },
        static_routes: match joined.multicast {
            true => vec![route],
            false => Vec::new(),
        },
        disable_gateway_service: true,
    })
}

async fn describe(backend: &DriverBackend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    if let DriverBackend::Router(attachments) = backend {
        attachments.settled(&endpoint).await;
    }
    Ok(json!({"Value": {}}))
}

fn leave(backend: &DriverBackend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    if let DriverBackend::Router(attachments) = backend {
        attachments.leave(&endpoint);
    }
    Ok(json!({}))
}

async fn delete_endpoint(backend: &DriverBackend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    match backend {
        DriverBackend::Router(attachments) => attachments.delete_endpoint(&endpoint).await,
        DriverBackend::Alone(alone) => alone.delete_endpoint(&endpoint).await,
        DriverBackend::Reset => {}
    }
    Ok(json!({}))
}

fn to_json(value: &impl serde::Serialize) -> Reply {
    serde_json::to_value(value).map_err(|e| e.to_string())
}
