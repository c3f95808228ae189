//! `mesh report`: the report as JSON, or through a Go template.

use anyhow::Context as _;
use serde_json::Value;

use crate::args::ReportArgs;
use crate::client::Client;
use crate::output;
use crate::output::Outcome;
use crate::view::template;

/// Prints the report.
pub(crate) fn report(client: &Client, args: &ReportArgs) -> Outcome {
    // Kept as untyped JSON: a newer router may report more fields.
    let mut report: Value = client.get("/report")?;
    add_names(client, &mut report)?;
    select(&mut report, &args.patterns);
    if args.summary {
        summarize(&mut report);
    }
    match &args.format {
        None => output::print_json(&report)?,
        Some(format) => {
            let text = template::render(format, &report).context("cannot render the template")?;
            output::print(&text)?;
        }
    }
    Ok(0)
}

/// Adds all DNS names. The router leaves them out of `/report`, since they may be many.
fn add_names(client: &Client, report: &mut Value) -> anyhow::Result<()> {
    if let Some(names) = report.get_mut("DNS") {
        *names = client.get("/dns")?;
    }
    Ok(())
}

/// Lists that grow with the mesh.
const LONG: [&str; 6] = [
    "Connections",
    "Peers",
    "UnicastRoutes",
    "BroadcastRoutes",
    "MACs",
    "Entries",
];

fn long_lists(report: &mut Value) -> impl Iterator<Item = &mut Value> {
    let parts = report.as_object_mut().into_iter().flatten();
    let parts = parts.filter(|(name, _)| ["Router", "DNS"].contains(&name.as_str()));
    let members = parts.filter_map(|(_, part)| part.as_object_mut()).flatten();
    members.filter_map(|(name, list)| LONG.contains(&name.as_str()).then_some(list))
}

/// Keeps those entries of the long lists that contain a pattern in a text field; nested lists are not searched.
fn select(report: &mut Value, patterns: &[String]) {
    if patterns.is_empty() {
        return;
    }
    let patterns: Vec<String> = patterns.iter().map(|p| p.to_lowercase()).collect();
    let is_wanted = |row: &Value| {
        let members = row.as_object().into_iter().flatten();
        let mut texts = members.filter_map(|(_, value)| value.as_str().map(str::to_lowercase));
        texts.any(|text| patterns.iter().any(|p| text.contains(p)))
    };
    for list in long_lists(report).filter_map(Value::as_array_mut) {
        list.retain(is_wanted);
    }
}

/// Replaces each long list by its length.
fn summarize(report: &mut Value) {
    for list in long_lists(report) {
        if let Some(entries) = list.as_array() {
            *list = entries.len().into();
        }
    }
}
