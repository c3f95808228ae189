//! `mesh topology`.

use mesh_command::args::TopologyArgs;
use mesh_proto::api::Report;
use mesh_view::topology::{self, MeshGraph};

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;

/// Prints the drawing in the requested format.
pub(crate) fn topology(client: &ApiClient, args: &TopologyArgs) -> VerbResult {
    let report: Report = client.get("/report")?;
    let graph = MeshGraph::of(&report.router.peers);
    if args.json {
        output::print_json(&graph)?;
    } else if args.dot {
        output::print(&topology::dot(&graph))?;
    } else if args.svg {
        output::print(&topology::svg(&graph))?;
    } else {
        output::print(&topology::text(&graph))?;
    }
    Ok(0)
}
