//! podman through its command line, since it has no daemon.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::api::Runtime;
use serde::Deserialize;

use tokio::sync::mpsc;

use super::{
    Engine, EngineAnswer, EngineContainer, EngineError, EngineEvent, NetworkEndpoint, OwnNetwork,
    is_container_name,
};

/// Timeout of one command, after which it is killed.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most output kept of one command, in bytes; the rest is discarded.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// podman, with the name or path of its program.
pub struct Podman {
    program: String,
}

impl Podman {
    /// Returns the engine for `program`, which is looked up in `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
        }
    }

    async fn run(&self, args: &[&str]) -> Result<String, EngineError> {
        let mut command = mesh_sys::process::environment::command(&self.program);
        command.args(args);
        let result = tokio::task::spawn_blocking(move || output(command)).await;
        let done = result.map_err(|e| refused(e.to_string()))?;
        match done {
            Ok(done) if done.status.success() => Ok(done.stdout),
            Ok(done) => Err(refused(last_line(&done.stderr))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(EngineError::Unavailable(
                format!("{} is not installed", self.program),
            )),
            Err(e) => Err(EngineError::Unavailable(format!(
                "cannot run {}: {e}",
                self.program
            ))),
        }
    }

    async fn inspect_named(&self, name: &str) -> Result<EngineContainer, EngineError> {
        let missing = || EngineError::NoContainer(name.to_owned());
        if !is_container_name(name) {
            return Err(missing());
        }
        let args = ["container", "inspect", "--format", "json", name];
        let text = match self.run(&args).await {
            Err(EngineError::Refused { message, .. }) if message.contains("no such container") => {
                return Err(missing());
            }
            other => other?,
        };
        parse(&text)?.ok_or_else(missing)
    }
}

impl Engine for Podman {
    fn runtime(&self) -> Runtime {
        Runtime::Podman
    }

    fn inspect<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, EngineContainer> {
        Box::pin(self.inspect_named(name))
    }

    fn start<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(async move {
            if !is_container_name(name) {
                return Err(EngineError::NoContainer(name.to_owned()));
            }
            self.run(&["container", "start", name]).await.map(drop)
        })
    }

    fn list(&self) -> EngineAnswer<'_, BTreeMap<String, bool>> {
        Box::pin(async move {
            let args = ["ps", "--all", "--no-trunc", "--format", "json"];
            parse_list(&self.run(&args).await?)
        })
    }

    fn follow(&self, events: mpsc::Sender<EngineEvent>) -> EngineAnswer<'_, ()> {
        Box::pin(self.tell(events))
    }

    // podman's networks are not ours: its containers join namespaces that the router created.

    fn on_mesh(&self) -> EngineAnswer<'_, BTreeSet<String>> {
        Box::pin(std::future::ready(Ok(BTreeSet::new())))
    }

    fn plugs_by_name(&self) -> EngineAnswer<'_, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn networks(&self) -> EngineAnswer<'_, Vec<OwnNetwork>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn ensure_network<'a>(&'a self, _: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(async { Err(refused("the mesh is no podman network".into())) })
    }

    fn endpoints<'a>(&'a self, _: &'a str) -> EngineAnswer<'a, Vec<NetworkEndpoint>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn disconnect<'a>(&'a self, _: &'a str, _: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn remove_network<'a>(&'a self, _: &'a str) -> EngineAnswer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

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

fn parse(text: &str) -> Result<Option<EngineContainer>, EngineError> {
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

fn parse_list(text: &str) -> Result<BTreeMap<String, bool>, EngineError> {
    // JSON, since the words of a template differ between versions.
    let found: Vec<Listed> = serde_json::from_str(text)
        .map_err(|e| refused(format!("cannot read the output of `ps`: {e}")))?;
    let runs = |state: &str| matches!(state, "running" | "paused" | "stopping");
    Ok(found.into_iter().map(|c| (c.id, runs(&c.state))).collect())
}

fn refused(message: String) -> EngineError {
    EngineError::Refused {
        engine: "podman",
        message,
    }
}

fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("it failed");
    line.trim().trim_start_matches("Error: ").to_owned()
}

struct PodmanOutput {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs a command to its end, for at most [`TIMEOUT`].
fn output(mut command: Command) -> io::Result<PodmanOutput> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = wait(&mut child)?;
    Ok(PodmanOutput {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// Reads the pipe to its end, so that the child never blocks, and keeps a bounded part.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let Some(mut pipe) = pipe else {
            return String::new();
        };
        let mut kept = Vec::new();
        // A broken pipe is treated as the end of the output.
        let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    })
}

fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within 20 s",
            ));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Returns a fake `podman` that runs `script`.
    pub(super) fn fake(script: &str) -> (tempfile::TempDir, Podman) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podman");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let podman = Podman::new(path.to_string_lossy());
        (dir, podman)
    }

    #[tokio::test]
    async fn a_container_is_read_from_the_output_of_inspect() {
        let (_dir, podman) = fake(
            r#"echo '[{"Id":"abc","Name":"web","State":{"Pid":42,"Running":true,"Error":""},
            "HostConfig":{"NetworkMode":"bridge","RestartPolicy":{"Name":"always"}}}]'"#,
        );
        let got = podman.inspect("web").await.unwrap();
        assert_eq!((got.id.as_str(), got.pid, got.running), ("abc", 42, true));
        assert_eq!(got.restart_policy, "always");
    }

    #[tokio::test]
    async fn an_unknown_container_and_an_error_are_told_apart() {
        let (_dir, podman) = fake("echo 'Error: no such container web' >&2; exit 125");
        assert_eq!(
            podman.inspect("web").await,
            Err(EngineError::NoContainer("web".into()))
        );
        let (_dir, podman) = fake("echo 'Error: storage is broken' >&2; exit 125");
        let error = podman.inspect("web").await.unwrap_err();
        assert_eq!(error.to_string(), "podman: storage is broken");
        let (_dir, podman) = fake("echo not json");
        assert!(matches!(
            podman.inspect("web").await,
            Err(EngineError::Refused { .. })
        ));
    }

    #[tokio::test]
    async fn a_missing_program_says_so() {
        let error = Podman::new("/nonexistent/podman").list().await.unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/podman is not installed");
    }

    #[tokio::test]
    async fn the_list_tells_who_runs() {
        let (_dir, podman) = fake(
            r#"echo '[{"Id":"a","State":"running","Status":"Up 2 seconds"},{"Id":"b","State":"exited"},
            {"Id":"c","State":"paused"},{"Id":"d","State":"created"},{"Id":"e","State":"stopping"}]'"#,
        );
        let runs = ["a", "c", "e"].map(|id| (id.into(), true));
        let rest = ["b", "d"].map(|id| (id.into(), false));
        let want: BTreeMap<String, bool> = runs.into_iter().chain(rest).collect();
        assert_eq!(podman.list().await.unwrap(), want);
        let (_dir, podman) = fake("echo '[]'");
        assert!(podman.list().await.unwrap().is_empty());
        let (_dir, podman) = fake("echo rubbish");
        assert!(podman.list().await.is_err());
    }

    #[tokio::test]
    async fn output_larger_than_a_pipe_does_not_block() {
        let (_dir, podman) = fake(
            "i=0; printf '['; while [ $i -lt 3000 ]; do printf '{\"Id\":\"%064d\",\"State\":\"running\"},' $i; \
            i=$((i+1)); done; printf '{\"Id\":\"x\",\"State\":\"exited\"}]'",
        );
        assert_eq!(podman.list().await.unwrap().len(), 3001);
    }
}
