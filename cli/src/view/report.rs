//! `mesh report`: the report as JSON, or through a Go template.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mesh_command::args::ReportArgs;
use mesh_view::report::{select, summarize};
use mesh_view::template;
use serde_json::Value;

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;

/// Time limit of rendering: with some malformed templates the engine never ends.
const DEADLINE: Duration = Duration::from_secs(5);

/// Prints the report.
pub(crate) fn report(client: &ApiClient, args: &ReportArgs) -> VerbResult {
    // Kept as untyped JSON: a newer router may report more fields.
    let mut report: Value = client.get("/report")?;
    add_names(client, &mut report)?;
    select(&mut report, &args.patterns);
    if args.summary {
        summarize(&mut report);
    }
    match args.format.clone() {
        None => output::print_json(&report)?,
        Some(format) => {
            let text = render(format, report).context("cannot render the template")?;
            output::print(&text)?;
        }
    }
    Ok(0)
}

/// Adds all DNS names. The router leaves them out of `/report`, since they may be many.
fn add_names(client: &ApiClient, report: &mut Value) -> anyhow::Result<()> {
    if let Some(names) = report.get_mut("DNS") {
        *names = client.get("/dns")?;
    }
    Ok(())
}

/// Renders a template within the time limit. After that a thread is left behind, which ends with the process.
fn render(format: String, report: Value) -> anyhow::Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The receiver is gone after the time limit.
        let _ = sender.send(template::render(&format, &report));
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(result) => Ok(result?),
        Err(RecvTimeoutError::Timeout) => bail!("it does not come to an end; check its braces"),
        Err(RecvTimeoutError::Disconnected) => bail!("the template engine failed on it"),
    }
}
