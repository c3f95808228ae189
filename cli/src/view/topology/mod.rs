//! `mesh topology`: the mesh as this router knows it, drawn as text, DOT or SVG.

mod graph;
mod picture;
mod text;

use mesh_proto::api::Report;

use crate::args::TopologyArgs;
use crate::client::Client;
use crate::output;
use crate::output::Outcome;

use graph::Graph;

/// Prints the drawing in the requested format.
pub(crate) fn topology(client: &Client, args: &TopologyArgs) -> Outcome {
    let report: Report = client.get("/report")?;
    let graph = Graph::of(&report.router.peers);
    if args.json {
        output::print_json(&graph)?;
    } else if args.dot {
        output::print(&picture::dot(&graph))?;
    } else if args.svg {
        output::print(&picture::svg(&graph))?;
    } else {
        output::print(&text::text(&graph))?;
    }
    Ok(0)
}
