//! `mesh version`.

use mesh_proto::api::Report;

use crate::Outcome;
use crate::client::{Client, ClientError};
use crate::output;

/// Prints the version of this command, and of the router if one runs.
pub(crate) fn version(client: &Client) -> Outcome {
    output::print_line(concat!("mesh ", env!("CARGO_PKG_VERSION")))?;
    match client.get::<Report>("/report") {
        Ok(report) => output::print_line(&format!("router {}", report.version))?,
        Err(ClientError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}
