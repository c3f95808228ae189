//! Handlers of requests about names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh_proto::api::{
    Addresses, ControlReport, DnsChange, DnsClient, DnsEntry, DnsQuestion, DnsReport, DnsSummary,
    Done,
};
use mesh_proto::names::ZoneEntry;

use super::{Api, ApiResult, Failure, ask};
use crate::command::ControlCommand;
use crate::dns::Counts;
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
            .map(|d| counters(d.counts()))
            .unwrap_or_default(),
    };
    if let Some(shown) = view.shown {
        report.entries = entries(&shown.held, &router);
        report.hidden = shown.hidden;
        if shown.refused > 0 {
            let key = "statements refused".to_owned();
            report.counters.insert(key, shown.refused);
        }
    }
    Ok(Json(report))
}

/// Returns one row per name, container and address, in order.
fn entries(held: &[ZoneEntry], router: &ControlReport) -> Vec<DnsEntry> {
    let peers: BTreeMap<&str, Arc<str>> = router
        .peers
        .iter()
        .map(|p| {
            let shown = format!("{}({})", p.name, p.nick_name);
            (p.id.as_str(), shown.into())
        })
        .collect();
    let mut entries: Vec<DnsEntry> = held
        .iter()
        .flat_map(|held| {
            let id = held.origin.to_string();
            let peer = peers.get(id.as_str()).map_or(&*id, |p| p).to_owned();
            let line = move |address| DnsEntry {
                name: held.entry.name.to_string(),
                address,
                container: held.entry.container.clone(),
                peer: peer.clone(),
            };
            held.entry.addresses.iter().copied().map(line)
        })
        .collect();
    entries.sort();
    entries
}

fn counters(counts: Counts) -> BTreeMap<String, u64> {
    let all = [
        ("answered", counts.answered),
        ("forwarded", counts.forwarded),
        ("forwarded, no answer", counts.failed),
        ("refused, too many at once", counts.overflowed),
        ("dropped, no query", counts.dropped),
        ("dropped, from a stranger", counts.strangers),
        ("answers lost, no room", counts.unsent),
    ];
    let some = all.into_iter().filter(|(_, n)| *n > 0);
    some.map(|(what, n)| (what.to_owned(), n)).collect()
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
    let addresses = api.naming.lookup(&question.name).await?;
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
