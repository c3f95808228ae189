//! `mesh status` and its subcommands: views of the report.

use mesh_proto::api::Report;
use mesh_proto::api::ipam::IpamReport;

use crate::args::StatusArgs;
use crate::client::Client;
use crate::containers::dns;
use crate::ipam;
use crate::output;
use crate::output::Outcome;
use crate::view::peers;
use crate::view::peers::Filter;
use crate::view::render;

const USAGE: &str = "Usage: mesh status [--json] [--state STATE] [--links] [targets|connections|peers|dns|ipam] [PATTERN]...";

/// View to print.
enum View {
    Overview,
    Targets,
    Connections(Filter),
    Peers(Filter, bool),
    Ipam,
}

/// Prints a view. The exit status is 1 if the router is not ready.
pub(crate) fn status(client: &Client, args: &StatusArgs) -> Outcome {
    let (patterns, state) = (&args.patterns, args.state.as_deref());
    let has_filter = !patterns.is_empty() || state.is_some() || args.links;
    let view = match args.what.as_deref() {
        Some("connections") => View::Connections(Filter::for_connections(patterns, state)?),
        Some("peers") => View::Peers(Filter::for_peers(patterns, state)?, args.links),
        what if has_filter => {
            let what = what.unwrap_or("the overview");
            output::complain(&format!(
                "There is nothing to choose from in {what}; {USAGE}"
            ));
            return Ok(1);
        }
        None => View::Overview,
        Some("targets") => View::Targets,
        Some("ipam") => View::Ipam,
        Some("dns") => return dns::status(client, args.json),
        Some(other) => {
            output::complain(&format!("Invalid status sub-command '{other}'; {USAGE}"));
            return Ok(1);
        }
    };
    let report: Report = client.get("/report")?;
    if args.json {
        print_json(&view, &report)?;
    } else {
        output::print(&match &view {
            View::Overview => render::overview(&report),
            View::Targets => render::targets(&report.router),
            View::Connections(filter) => render::connections(&filter.connections(&report.router)),
            View::Peers(filter, links) => peers::text(&report.router, filter, *links),
            View::Ipam => ipam::text(&report.ipam.clone().unwrap_or_else(none)),
        })?;
    }
    if !report.ready {
        output::complain("the router is not ready yet; try again in a moment");
        return Ok(1);
    }
    Ok(0)
}

/// Returns the report for a router that is too old to send one.
fn none() -> IpamReport {
    IpamReport {
        off: "this router is of a version that allocates no addresses".to_owned(),
        ..IpamReport::default()
    }
}

fn print_json(view: &View, report: &Report) -> anyhow::Result<()> {
    match view {
        View::Overview => output::print_json(report),
        View::Targets => output::print_json(&report.router.targets),
        View::Connections(filter) => output::print_json(&filter.connections(&report.router)),
        View::Peers(filter, _) => output::print_json(&filter.peers(&report.router)),
        View::Ipam => output::print_json(&report.ipam),
    }
}
