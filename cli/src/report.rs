//! `mesh report`: the report as JSON, or through a Go template.

use anyhow::Context as _;
use serde_json::Value;

use crate::Outcome;
use crate::args::ReportArgs;
use crate::client::Client;
use crate::{output, template};

/// Prints the report.
pub(crate) fn report(client: &Client, args: &ReportArgs) -> Outcome {
    // Not parsed into the types known here: a newer router may tell more.
    let report: Value = client.get("/report")?;
    match &args.format {
        None => output::print_json(&report)?,
        Some(format) => {
            let text = template::render(format, &report).context("cannot render the template")?;
            output::print_line(&text)?;
        }
    }
    Ok(0)
}
