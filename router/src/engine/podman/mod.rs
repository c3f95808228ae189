//! podman through its command line, since it has no daemon.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mesh_engine::container::{EngineContainer, is_container_name};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_engine::network::{NetworkEndpoint, OwnNetwork};
use mesh_engine::podman::{INSPECT, LIST, container, failure, is_missing, listing, refused};
use mesh_proto::api::Runtime;
use tokio::sync::mpsc;

use super::{Engine, EngineAnswer};

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
            Ok(done) => Err(failure(&done.stderr)),
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
        let args = [&INSPECT[..], &[name]].concat();
        match self.run(&args).await {
            Ok(text) => container(&text)?.ok_or_else(missing),
            Err(error) if is_missing(&error) => Err(missing()),
            Err(error) => Err(error),
        }
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
        Box::pin(async move { listing(&self.run(&LIST).await?) })
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
