//! Events of podman. It has no daemon; `podman events` follows the journal or file that all its commands write to.

use std::process::{Command as StdCommand, Stdio};

use mesh_sys::process::end_with_parent;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::{Podman, refused};
use crate::engine::{EngineError, EngineEvent};

/// Longest line in bytes; it includes image names and labels. A longer one ends the stream, which is then restarted.
const MAX_LINE: u64 = 256 * 1024;
/// Event types to subscribe to.
const STATES: [&str; 6] = ["start", "restart", "died", "stop", "rename", "remove"];

impl Podman {
    /// Sends events to `events`, until podman ends or the receiver is dropped.
    pub(super) async fn tell(&self, events: mpsc::Sender<EngineEvent>) -> Result<(), EngineError> {
        let mut command = StdCommand::new(&self.program);
        command
            .args(["events", "--stream", "--format", "json"])
            .args(["--filter", "type=container"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        end_with_parent(&mut command);
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| EngineError::Unavailable(format!("cannot run {}: {e}", self.program)))?;
        let stdout = child.stdout.take();
        let mut lines = BufReader::new(stdout.ok_or_else(|| refused("no output".into()))?);
        // Earlier changes must be looked up.
        let mut next = Some(EngineEvent::Connected);
        loop {
            if let Some(event) = next
                && events.send(event).await.is_err()
            {
                return Ok(());
            }
            next = tokio::select! {
                line = line(&mut lines) => event(&line?),
                () = events.closed() => return Ok(()),
            };
        }
    }
}

async fn line(lines: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, EngineError> {
    let mut line = Vec::new();
    let read = lines.take(MAX_LINE).read_until(b'\n', &mut line).await;
    read.map_err(|e| refused(format!("cannot read its events: {e}")))?;
    match line.ends_with(b"\n") {
        true => Ok(line),
        false => Err(EngineError::Unavailable(
            "the event stream of podman ended".into(),
        )),
    }
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

/// Converts one line; `None` if it is not about a container.
fn event(line: &[u8]) -> Option<EngineEvent> {
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
    use super::super::tests::fake;
    use super::*;
    use crate::engine::Engine as _;

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

    async fn all(script: &str) -> (Vec<EngineEvent>, Result<(), EngineError>) {
        let (_dir, podman) = fake(script);
        let (sender, mut receiver) = mpsc::channel(1);
        let told = tokio::spawn(async move { podman.follow(sender).await });
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        (events, told.await.unwrap())
    }

    #[tokio::test]
    async fn a_stream_is_told_to_its_end() {
        let (events, end) = all(
            r#"echo '{"ID":"ab","Name":"q","Status":"start"}'; echo rubbish; echo '{"ID":"ab","Status":"remove"}'; printf cut"#,
        )
        .await;
        let expected = [
            EngineEvent::Connected,
            EngineEvent::Changed("ab".into()),
            EngineEvent::Removed("ab".into()),
        ];
        assert_eq!(events, expected);
        assert!(matches!(end, Err(EngineError::Unavailable(_))), "{end:?}");
        // A line without an end is not buffered without limit.
        let (events, end) = all("while :; do printf 0123456789abcdef; done").await;
        assert_eq!(events, [EngineEvent::Connected]);
        assert!(end.is_err());
    }

    #[tokio::test]
    async fn podman_is_ended_when_nobody_listens() {
        let (dir, podman) = fake("echo $$ > $(dirname $0)/pid; exec sleep 1000");
        let (sender, mut receiver) = mpsc::channel(1);
        let told = tokio::spawn(async move { podman.follow(sender).await });
        assert_eq!(receiver.recv().await, Some(EngineEvent::Connected));
        let file = dir.path().join("pid");
        let mut pid = String::new();
        while pid.trim().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            pid = std::fs::read_to_string(&file).unwrap_or_default();
        }
        drop(receiver);
        told.await.unwrap().unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..2_000 {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("podman runs on");
    }
}
