//! The Docker network driver `mesh`: libnetwork's remote driver protocol, JSON over HTTP on a unix socket in Docker's plugin
//! directory. Its networks are known to one host each; those of the managed plugin `mesh:swarm` to all nodes of a Swarm.
//!
//! Docker starts a container only after CreateEndpoint and Join have been answered, and moves the interface into it
//! with its address before the first process runs. dockerd holds locks while it asks: nothing here asks dockerd back,
//! and each answer takes milliseconds. The socket belongs to a process of its own ([`crate::plugin`]), which asks the
//! router while that answers.

mod alone;
mod ipam;
mod socket;
mod swarm;
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
use mesh_engine::plugin::call::{self, DriverCall, NewEndpoint};
use mesh_engine::plugin::process::{SENT, is_fresh};
use mesh_sys::process;
use serde_json::Value;

use crate::attach::Attachments;

pub(crate) use alone::Alone;
pub(crate) use socket::PluginSocket;

/// Longest request read; Docker's are some hundred bytes.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;

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

impl DriverBackend {
    /// Returns true in the managed plugin, which is asked for such facts itself.
    fn is_of_swarm(&self) -> bool {
        matches!(self, Self::Alone(alone) if alone.is_of_swarm())
    }
}

/// The answer of a call, or the text of its error.
type Reply = Result<Value, String>;

/// Answers Docker's calls, one path each.
pub(crate) fn routes(backend: DriverBackend) -> Router {
    let route = |State(backend): State<DriverBackend>,
                 uri: Uri,
                 headers: HeaderMap,
                 body: Bytes| async move {
        let sent = headers.get(SENT).and_then(|value| value.to_str().ok());
        if !is_fresh(sent, process::uptime()) {
            let late = "the caller has given up by now";
            return (StatusCode::SERVICE_UNAVAILABLE, late).into_response();
        }
        let path = uri.path().trim_start_matches('/');
        respond(&answer(&backend, path, &body).await)
    };
    Router::new()
        .fallback(route)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(backend)
}

/// Answers one call, as Docker reads it.
pub(crate) async fn answer(backend: &DriverBackend, path: &str, body: &[u8]) -> Value {
    let reply = match DriverCall::parse(path, body) {
        Ok(call) => carry_out(backend, call).await,
        Err(error) => Err(error),
    };
    reply.unwrap_or_else(|error| call::error_of(path, &error))
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

async fn carry_out(backend: &DriverBackend, call: DriverCall) -> Reply {
    match (call, backend) {
        (DriverCall::Fixed(answer), _) => return Ok(answer),
        (DriverCall::CreateEndpoint(new), _) => return create_endpoint(backend, &new).await,
        (DriverCall::Join { endpoint, sandbox }, _) => {
            return join(backend, &endpoint, sandbox).await;
        }
        (DriverCall::Describe(endpoint), _) => {
            if let DriverBackend::Router(attachments) = backend {
                attachments.docker().endpoints.settled(&endpoint).await;
            }
            return Ok(call::described());
        }
        (DriverCall::Leave(endpoint), DriverBackend::Router(attachments)) => {
            attachments.docker().endpoints.leave(&endpoint);
        }
        (DriverCall::DeleteEndpoint(endpoint), DriverBackend::Router(attachments)) => {
            attachments.delete_endpoint(&endpoint).await;
        }
        (DriverCall::DeleteEndpoint(endpoint), DriverBackend::Alone(alone)) => {
            alone.delete_endpoint(&endpoint).await;
        }
        (DriverCall::Capabilities, _) => return Ok(call::capabilities(backend.is_of_swarm())),
        (DriverCall::AllocateNetwork(new), _) => return swarm::allocate(backend, new).await,
        (DriverCall::SwarmIpam(call), _) => return swarm::of_pool(backend, call).await,
        (DriverCall::FreeNetwork(id), DriverBackend::Router(attachments)) => {
            attachments.docker().swarm.free(&id);
        }
        (DriverCall::Ipam(call), _) => return ipam::carry_out(backend, call).await,
        (DriverCall::CreateNetwork { network, new }, DriverBackend::Router(attachments)) => {
            let created = attachments.docker().users.created(&network, new);
            created.map_err(|e| e.to_string())?;
        }
        (DriverCall::DeleteNetwork(id), DriverBackend::Router(attachments)) => {
            attachments.docker().users.deleted(&id);
            attachments.docker().networks.deleted().await;
        }
        (DriverCall::Alive, DriverBackend::Router(attachments)) => attachments.look_again(),
        (
            DriverCall::Leave(_)
            | DriverCall::DeleteEndpoint(_)
            | DriverCall::CreateNetwork { .. }
            | DriverCall::DeleteNetwork(_)
            | DriverCall::FreeNetwork(_)
            | DriverCall::Alive,
            _,
        ) => {}
    }
    Ok(call::done())
}

async fn create_endpoint(backend: &DriverBackend, new: &NewEndpoint) -> Reply {
    let wanted = new.options.clone();
    let made = match (backend, new.addresses) {
        (DriverBackend::Router(attachments), Some(given)) => {
            let made =
                attachments
                    .docker()
                    .endpoints
                    .create_given(&new.id, &new.network, given, new.mac);
            Some(made.await.map_err(|e| e.to_string())?)
        }
        (DriverBackend::Alone(alone), Some(given)) => {
            alone
                .create_given(&new.id, &new.network, given, new.mac)
                .await?
        }
        (DriverBackend::Router(attachments), None) => {
            let made =
                attachments
                    .docker()
                    .endpoints
                    .create(&new.id, &new.network, wanted, new.mac);
            Some(made.await.map_err(|e| e.to_string())?)
        }
        (DriverBackend::Alone(alone), None) => alone.create_endpoint(&new.id, wanted).await?,
        (DriverBackend::Reset, _) => return Err("mesh is being reset".into()),
    };
    Ok(new.created(made))
}

async fn join(backend: &DriverBackend, endpoint: &str, sandbox: PathBuf) -> Reply {
    let joined = match backend {
        DriverBackend::Router(attachments) => {
            let joined = attachments.join(endpoint, sandbox);
            joined.map_err(|e| e.to_string())?
        }
        DriverBackend::Alone(alone) => alone.join(endpoint, sandbox).await?,
        DriverBackend::Reset => return Err("mesh is being reset".into()),
    };
    Ok(call::joined(joined))
}
