//! The Docker network driver `mesh`: libnetwork's remote driver protocol, local scope, JSON over HTTP on a unix socket
//! in Docker's plugin directory.
//!
//! Docker starts a container only after CreateEndpoint and Join have been answered, and moves the interface into it
//! with its address before the first process runs. dockerd holds locks while it asks: nothing here asks dockerd back,
//! and each answer takes milliseconds. The socket belongs to a process of its own ([`crate::plugin`]), which asks the
//! router while that answers.

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
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use mesh_proto::ids::Mac;
use mesh_sys::process;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::attach::{Attachments, EndpointOptions, Late};
use crate::plugin::{Alone, FRESH_FOR, SENT};
use messages::{
    CreateEndpointRequest, CreateEndpointResponse, EndpointInterface, EndpointRequest,
    InterfaceName, JoinResponse, StaticRoute,
};

pub(crate) use socket::PluginSocket;

/// Interfaces in containers are named by this and a number.
const INTERFACE_PREFIX: &str = "mesh";
/// Longest request read; Docker's are some hundred bytes.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;
/// Longest id accepted; Docker's have 64 characters.
const MAX_ID: usize = 128;

/// Who answers.
#[derive(Clone)]
pub(crate) enum Backend {
    /// The router.
    Router(Arc<Attachments>),
    /// The plugin process itself, while no router answers it.
    Alone(Arc<Alone>),
    /// `reset`, which agrees to whatever Docker gives up.
    Reset,
}

/// What a call answers, or the text of its error.
type Reply = Result<Value, String>;

/// An interface that Docker is about to move.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Its name on the host; empty when the container starts without.
    pub(crate) peer: String,
    /// Whether 224.0.0.0/4 goes to it.
    pub(crate) multicast: bool,
}

/// Answers Docker's calls, one path each.
pub(crate) fn routes(backend: Backend) -> Router {
    let route = |State(backend): State<Backend>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        if !is_fresh(&headers) {
            let late = "whoever asked has given up by now";
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

/// A call that lay about while this process was stopped has been answered by the plugin process itself.
fn is_fresh(headers: &HeaderMap) -> bool {
    let sent = headers.get(SENT).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|text| text.parse().ok());
    let age = sent
        .and_then(|sent| process::uptime()?.checked_sub(std::time::Duration::from_millis(sent)));
    age.is_none_or(|age| age < FRESH_FOR)
}

/// The answer to one call, as Docker reads it.
pub(crate) async fn answer(backend: &Backend, call: &str, body: &[u8]) -> Value {
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
            if let Backend::Router(attachments) = backend {
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
            if let Backend::Router(attachments) = backend {
                attachments.look_again();
            }
            Ok(json!({}))
        }
        _ => Err("the driver does not know this call".into()),
    };
    // Docker expects an error in a 200, as `Err`, and shows it to its user.
    reply.unwrap_or_else(|error| json!({ "Err": error }))
}

/// Each connection serves one call, so that none is left open to a process that ends.
pub(crate) fn respond(body: &Value) -> Response {
    let kind = "application/vnd.docker.plugins.v1.2+json";
    (
        [(CONTENT_TYPE, kind), (CONNECTION, "close")],
        body.to_string(),
    )
        .into_response()
}

/// The endpoint that CreateEndpoint asks for, and what it is to be; none when an address is to be chosen.
pub(crate) fn wanted(body: &[u8]) -> Result<(String, Option<EndpointOptions>), String> {
    let request: CreateEndpointRequest = parse(body)?;
    check_id(&request.endpoint)?;
    check_id(&request.network)?;
    let given = request.interface.unwrap_or_default();
    if !given.mac_address.is_empty() {
        return Err("the MAC address follows from the address; leave --mac-address out".into());
    }
    let wanted = options::parse(&request.options.unwrap_or_default())?;
    Ok((request.endpoint, wanted))
}

/// What the router chose for an endpoint without an address, by its answer to CreateEndpoint.
pub(crate) fn chosen(answer: &Value) -> Option<EndpointOptions> {
    let interface = answer.get("Interface")?;
    let mut texts = ["Address", "AddressIPv6"].iter();
    let address = texts.find_map(|name| interface.get(name)?.as_str()?.parse().ok())?;
    Some(EndpointOptions {
        address,
        multicast: false,
        late: Late::No,
        holder: String::new(),
    })
}

/// The endpoint that a call is about.
pub(crate) fn endpoint_of(body: &[u8]) -> Result<String, String> {
    let request: EndpointRequest = parse(body)?;
    Ok(request.endpoint)
}

async fn create_endpoint(backend: &Backend, body: &[u8]) -> Reply {
    let (id, wanted) = wanted(body)?;
    let request: CreateEndpointRequest = parse(body)?;
    let made = match backend {
        Backend::Router(attachments) => {
            let made = attachments.create_endpoint(&id, &request.network, wanted);
            Some(made.await.map_err(|e| e.to_string())?)
        }
        Backend::Alone(alone) => alone.create_endpoint(&id, wanted).await?,
        Backend::Reset => return Err("mesh is being reset".into()),
    };
    let Some((options, mac)) = made else {
        return to_json(&CreateEndpointResponse::default());
    };
    let shown = match options.late {
        Late::No => Some(options.address),
        Late::Subnet => Some(IpNet::from(options.address.addr())),
        Late::Whole => None,
    };
    let given = request.interface.unwrap_or_default();
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

async fn join(backend: &Backend, body: &[u8]) -> Reply {
    let request: EndpointRequest = parse(body)?;
    let sandbox = PathBuf::from(&request.sandbox);
    if !sandbox.is_absolute() {
        return Err(format!("the sandbox key '{}' is no path", request.sandbox));
    }
    let joined = match backend {
        Backend::Router(attachments) => {
            let joined = attachments.join(&request.endpoint, sandbox);
            joined.map_err(|e| e.to_string())?
        }
        Backend::Alone(alone) => alone.join(&request.endpoint, sandbox).await?,
        Backend::Reset => return Err("mesh is being reset".into()),
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

async fn describe(backend: &Backend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    if let Backend::Router(attachments) = backend {
        attachments.settled(&endpoint).await;
    }
    Ok(json!({"Value": {}}))
}

fn leave(backend: &Backend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    if let Backend::Router(attachments) = backend {
        attachments.leave(&endpoint);
    }
    Ok(json!({}))
}

async fn delete_endpoint(backend: &Backend, body: &[u8]) -> Reply {
    let endpoint = endpoint_of(body)?;
    match backend {
        Backend::Router(attachments) => attachments.delete_endpoint(&endpoint).await,
        Backend::Alone(alone) => alone.delete_endpoint(&endpoint).await,
        Backend::Reset => {}
    }
    Ok(json!({}))
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
