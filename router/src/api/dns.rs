//! Handlers of requests about names.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh_dns::server::report::{counters, entries};
use mesh_proto::api::{Addresses, DnsChange, DnsClient, DnsQuestion, DnsReport, DnsSummary, Done};

use super::{Api, ApiResult, Failure, ask};
use crate::command::ControlCommand;
use crate::names::NamesError;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/dns", get(report))
        .route("/dns/client", get(client))
        .route("/dns/expect", post(expect))
        .route("/dns/settle", post(settle))
        .route("/dns/lookup", post(lookup))
        .route("/dns/add", post(add))
        .route("/dns/remove", post(remove))
}

impl From<NamesError> for Failure {
    fn from(error: NamesError) -> Self {
        let status = if error.is_callers() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self(status, error.to_string())
    }
}

/// Returns the part of the report that needs neither the names nor the DNS thread.
pub(super) fn summary(api: &Api) -> DnsSummary {
    let settings = api.naming.settings();
    let dns = api.naming.dns();
    let texts = |list: Vec<SocketAddr>| list.iter().map(ToString::to_string).collect();
    DnsSummary {
        enabled: settings.enabled,
        domain: settings.domain.to_string(),
        listen: dns.map(|d| texts(d.listening())).unwrap_or_default(),
        upstreams: dns.map(|d| texts(d.upstreams())).unwrap_or_default(),
    }
}

async fn report(State(api): State<Api>) -> ApiResult<DnsReport> {
    let naming = &api.naming;
    let view = naming.view().await?;
    let router = ask(&api, ControlCommand::Report).await?;
    let summary = summary(&api);
    let mut report = DnsReport {
        enabled: summary.enabled,
        domain: summary.domain,
        ttl: naming.settings().ttl,
        listen: summary.listen,
        inside: naming.inside(),
        upstreams: summary.upstreams,
        problems: [naming.problems(), view.unusable.clone()].concat(),
        entries: Vec::new(),
        hidden: 0,
        left_out: view.left_out,
        counters: naming
            .dns()
            .map(|d| counters(d.counts(), view.shown.as_ref()))
            .unwrap_or_default(),
    };
    if let Some(shown) = view.shown {
        report.entries = entries(&shown.held, &router, |network| {
            naming.networks().shown(network)
        });
        report.hidden = shown.hidden;
    }
    Ok(Json(report))
}

async fn client(State(api): State<Api>) -> Json<DnsClient> {
    Json(api.naming.client())
}

async fn expect(State(api): State<Api>, Json(question): Json<DnsQuestion>) -> Json<Done> {
    api.naming.expect(&question.name).await;
    Json(Done {})
}

async fn settle(State(api): State<Api>, Json(question): Json<DnsQuestion>) -> Json<Done> {
    api.naming.settle(&question.name).await;
    Json(Done {})
}

async fn lookup(State(api): State<Api>, Json(question): Json<DnsQuestion>) -> ApiResult<Addresses> {
    let addresses = api.naming.lookup(&question).await?;
    Ok(Json(Addresses { addresses }))
}

async fn add(State(api): State<Api>, Json(change): Json<DnsChange>) -> ApiResult<Done> {
    api.naming.add(change).await?;
    Ok(Json(Done {}))
}

async fn remove(State(api): State<Api>, Json(change): Json<DnsChange>) -> ApiResult<Done> {
    api.naming.remove(change).await?;
    Ok(Json(Done {}))
}
