//! `mesh version`.

use mesh_proto::api::Report;
use serde::Serialize;

use crate::args::VersionArgs;
use crate::client::{Client, ClientError};
use crate::output;
use crate::output::Outcome;

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    /// Of this command.
    mesh: &'static str,
    /// Of the router; `null` if none runs.
    router: Option<String>,
}

/// Prints the version of this command, and of the router if one runs.
pub(crate) fn version(client: &Client, args: &VersionArgs) -> Outcome {
    let mesh = env!("CARGO_PKG_VERSION");
    if !args.json {
        // Before the router is asked, which may fail.
        output::print_line(&format!("mesh {mesh}"))?;
    }
    let router = match client.get::<Report>("/report") {
        Ok(report) => Some(report.version),
        Err(ClientError::NotRunning { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if args.json {
        output::print_json(&Versions { mesh, router })?;
    } else if let Some(router) = router {
        output::print_line(&format!("router {router}"))?;
    }
    Ok(0)
}
