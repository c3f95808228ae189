//! `mesh status` and its subcommands.

use mesh_command::args::StatusArgs;
use mesh_proto::api::{DnsReport, Report};
use mesh_view::dns;
use mesh_view::status::{StatusSubject, StatusView};

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;

/// Prints a view.
pub(crate) fn status(client: &ApiClient, args: &StatusArgs) -> VerbResult {
    let (what, state) = (args.what.as_deref(), args.state.as_deref());
    match StatusSubject::choose(what, &args.patterns, state, args.links)? {
        StatusSubject::Report(view) => of_report(client, &view, args.json),
        StatusSubject::Names => of_names(client, args.json),
    }
}

/// Prints a view of the report. The exit status is 1 if the router is not ready.
fn of_report(client: &ApiClient, view: &StatusView, json: bool) -> VerbResult {
    let report: Report = client.get("/report")?;
    if json {
        output::print_line(&view.json(&report)?)?;
    } else {
        output::print(&view.text(&report))?;
    }
    if !report.ready {
        output::complain("the router is not ready yet; try again in a moment");
        return Ok(1);
    }
    Ok(0)
}

/// Prints the names, and remarks about them on standard error.
fn of_names(client: &ApiClient, json: bool) -> VerbResult {
    let report: DnsReport = client.get("/dns")?;
    if json {
        output::print_json(&report)?;
        return Ok(0);
    }
    output::print(&dns::table(&report))?;
    for remark in dns::remarks(&report) {
        output::complain(&remark);
    }
    Ok(0)
}
