//! podman, by its command line: it has no daemon.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::container::EngineContainer;
use crate::error::EngineError;
use crate::event::EngineEvent;

/// Arguments that describe one container, before its name.
pub const INSPECT: [&str; 4] = ["container", "inspect", "--format", "json"];
/// Arguments that list all containers.
pub const LIST: [&str; 5] = ["ps", "--all", "--no-trunc", "--format", "json"];
/// Arguments that follow events of containers, one JSON object a line.
pub const EVENTS: [&str; 6] = [
    "events",
    "--stream",
    "--format",
    "json",
    "--filter",
    "type=container",
];
/// Event types that matter.
const STATES: [&str; 6] = ["start", "restart", "died", "stop", "rename", "remove"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: InspectedState,
    host_config: InspectedHostConfig,
    #[serde(default)]
    config: InspectedConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHostConfig {
    #[serde(default)]
    network_mode: String,
    #[serde(default)]
    restart_policy: InspectedPolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    state: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedPolicy {
    #[serde(default)]
    name: String,
}

/// Reads the output of [`INSPECT`]; `None` if it is an empty list.
///
/// # Errors
/// It is not what podman prints.
pub fn container(text: &str) -> Result<Option<EngineContainer>, EngineError> {
    let found: Vec<Inspected> = serde_json::from_str(text)
        .map_err(|e| refused(format!("cannot read the output of `inspect`: {e}")))?;
    Ok(found.into_iter().next().map(|c| EngineContainer {
        id: c.id,
        name: c.name,
        pid: c.state.pid,
        // A paused container keeps its process and addresses.
        running: c.state.running || c.state.paused,
        network_mode: c.host_config.network_mode,
        restart_policy: c.host_config.restart_policy.name,
        error: c.state.error,
        sandbox: String::new(),
        connections: Vec::new(),
        networks: Vec::new(),
        hostname: c.config.hostname,
        aliases: Vec::new(),
        exposed: c
            .config
            .exposed_ports
            .unwrap_or_default()
            .into_keys()
            .collect(),
        ..EngineContainer::default()
    }))
}

/// Reads the output of [`LIST`]: all containers by full id, with true for those that have a process.
///
/// # Errors
/// It is not what podman prints.
pub fn listing(text: &str) -> Result<BTreeMap<String, bool>, EngineError> {
    // JSON, since the words of a template differ between versions.
    let found: Vec<Listed> = serde_json::from_str(text)
        .map_err(|e| refused(format!("cannot read the output of `ps`: {e}")))?;
    let runs = |state: &str| matches!(state, "running" | "paused" | "stopping");
    Ok(found.into_iter().map(|c| (c.id, runs(&c.state))).collect())
}

/// Returns the error of a command that podman refused.
pub fn refused(message: String) -> EngineError {
    EngineError::Refused {
        engine: "podman",
        message,
    }
}

/// Returns the error of a command that failed with this text on its standard error.
pub fn failure(stderr: &str) -> EngineError {
    refused(last_line(stderr))
}

/// Returns true if an inspection failed because there is no such container.
pub fn is_missing(error: &EngineError) -> bool {
    matches!(error, EngineError::Refused { message, .. } if message.contains("no such container"))
}

fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("it failed");
    line.trim().trim_start_matches("Error: ").to_owned()
}

#[derive(Deserialize)]
struct PodmanEvent {
    #[serde(rename = "ID", alias = "Id", alias = "id")]
    id: String,
    #[serde(rename = "Name", alias = "name", default)]
    name: String,
    #[serde(rename = "Status", alias = "status")]
    status: String,
}

/// Reads one line of [`EVENTS`]; `None` if it is not about a container.
pub fn event(line: &[u8]) -> Option<EngineEvent> {
    let told: PodmanEvent = serde_json::from_slice(line).ok()?;
    if !STATES.contains(&told.status.as_str()) || told.id.is_empty() {
        return None;
    }
    Some(match told.status.as_str() {
        "remove" => EngineEvent::Removed(told.id),
        "rename" if !told.name.is_empty() => EngineEvent::Renamed(told.id, told.name),
        _ => EngineEvent::Changed(told.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in the format of podman 4.3.1.
    #[test]
    fn events_are_read() {
        let read = |status: &str| {
            let line = format!(
                r#"{{"ContainerExitCode":137,"ID":"ab","Image":"localhost/ubuntu:latest","Name":"r","Status":"{status}",
                "Time":"2026-11-30T00:43:19.104266301Z","Type":"container","Attributes":{{}}}}"#
            );
            event(line.as_bytes())
        };
        for status in ["start", "restart", "died"] {
            assert_eq!(read(status), Some(EngineEvent::Changed("ab".into())));
        }
        let renamed = EngineEvent::Renamed("ab".into(), "r".into());
        assert_eq!(read("rename"), Some(renamed));
        assert_eq!(read("remove"), Some(EngineEvent::Removed("ab".into())));
        for status in ["exec", "health_status", "cleanup", "mount", ""] {
            assert_eq!(read(status), None, "{status}");
        }
        for line in ["", "x", "{}", r#"{"ID":"","Status":"died"}"#, r#"{"ID":7}"#] {
            assert_eq!(event(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_inspection_is_read() {
        let text = r#"[{"Id":"abc","Name":"web","State":{"Pid":42,"Paused":true,"Error":"e"},
            "Config":{"Hostname":"www","ExposedPorts":{"80/tcp":{}}},
            "HostConfig":{"NetworkMode":"bridge","RestartPolicy":{"Name":"always"}}}]"#;
        let got = container(text).unwrap().unwrap();
        assert_eq!((got.id.as_str(), got.pid, got.running), ("abc", 42, true));
        assert_eq!((got.hostname.as_str(), got.error.as_str()), ("www", "e"));
        assert_eq!(got.exposed, ["80/tcp"]);
        assert_eq!(container("[]"), Ok(None));
        assert!(container("rubbish").is_err() && listing("rubbish").is_err());
    }

    #[test]
    fn the_last_line_says_why_a_command_failed() {
        let text = "some warning\nError: no such container web\n\n";
        let error = failure(text);
        assert_eq!(error.to_string(), "podman: no such container web");
        assert!(is_missing(&error) && !is_missing(&failure("Error: storage is broken")));
        assert_eq!(failure("").to_string(), "podman: it failed");
    }
}
