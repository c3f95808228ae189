//! `mesh version`.

use mesh_command::args::VersionArgs;
use mesh_proto::api::Report;
use serde::Serialize;

use crate::client::{ApiClient, ClientError};
use crate::output;
use crate::output::VerbResult;

/// JSON output of `mesh version`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    /// Version of this command.
    mesh: &'static str,
    /// Version of the running router; `null` if none runs.
    router: Option<String>,
}

/// Prints the version of this command, and of the router if one runs.
pub(crate) fn version(client: &ApiClient, args: &VersionArgs) -> VerbResult {
    let mesh = env!("CARGO_PKG_VERSION");
    if !args.json {
        // Printed before the router is asked, since that may fail.
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
