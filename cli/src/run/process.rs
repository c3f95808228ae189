//! `mesh run --runtime process`: a command in its own network namespace, without an engine.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context as _, anyhow};
use mesh_command::run::{CommandLine, PreparedError};
use mesh_proto::api::{AdoptRequest, Done};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::preparation::Preparation;
use super::resolv::ResolvConf;
use crate::engine::status_of;
use crate::output;
use crate::output::VerbResult;

/// Runs the command until it ends, and exits with its status; with `-d`, prints an id and leaves it running.
pub(crate) fn run(mut preparation: Preparation<'_>, command: &CommandLine) -> VerbResult {
    let netns = preparation.prepared().netns.clone();
    let netns = netns.ok_or(PreparedError::NoNamespace)?;
    // Blocked before the command exists, so that no signal and no early end is missed.
    let signals = watched_signals();
    signals.thread_block().context("cannot block signals")?;
    let resolv = ResolvConf::of(&preparation);
    let mut child = spawn_in(&netns, resolv.as_ref(), command)?;
    if let Err(error) = adopt(&preparation, &child, command) {
        // A command that has already ended needs no watching; the namespace goes with the preparation.
        return match child.try_wait()? {
            Some(status) => ended_early(&preparation, command, status),
            None => {
                end(&mut child);
                Err(error)
            }
        };
    }
    if command.is_detached() {
        preparation.keep();
        preparation.print(&preparation.prepared().id, command.name())?;
        return Ok(0);
    }
    // Dropping the preparation at the end removes the namespace.
    wait(&mut child, &signals)
}

fn watched_signals() -> SigSet {
    [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect()
}

/// Starts the command in the namespace. A child inherits the namespaces of its thread, so a thread of its own makes it.
fn spawn_in(
    netns: &str,
    resolv: Option<&ResolvConf>,
    command: &CommandLine,
) -> anyhow::Result<Child> {
    let namespace = File::open(netns).with_context(|| format!("cannot open {netns}"))?;
    thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|e| {
                anyhow!("cannot enter the network namespace {netns}: {e}; run as root")
            })?;
            if let Some(Err(error)) = resolv.map(ResolvConf::put) {
                output::complain(&format!(
                    "the command uses this host's DNS servers, not the router: {error:#}"
                ));
            }
            spawn(command)
        });
        spawned
            .join()
            .map_err(|_| anyhow!("could not start a thread"))?
    })
}

fn spawn(line: &CommandLine) -> anyhow::Result<Child> {
    let (program, args) = line.words().split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(args);
    if line.is_detached() {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
    }
    command
        .spawn()
        .with_context(|| format!("cannot run '{program}'"))
}

fn adopt(
    preparation: &Preparation<'_>,
    child: &Child,
    command: &CommandLine,
) -> anyhow::Result<()> {
    let request = AdoptRequest {
        id: preparation.prepared().id.clone(),
        container: None,
        pid: Some(child.id()),
        name: command.name().to_owned(),
    };
    preparation.client().post::<Done>("/adopt", &request)?;
    Ok(())
}

fn ended_early(
    preparation: &Preparation<'_>,
    command: &CommandLine,
    status: ExitStatus,
) -> VerbResult {
    if command.is_detached() {
        preparation.print(&preparation.prepared().id, command.name())?;
        return Ok(0);
    }
    Ok(status_of(status))
}

fn end(child: &mut Child) {
    // The command may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child, signals: &SigSet) -> VerbResult {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("pid out of range")?);
    // A terminal sends SIGINT to the command as well; do not send it twice.
    let by_terminal = std::io::stdin().is_terminal();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status_of(status));
        }
        match signals.wait()? {
            Signal::SIGCHLD => {}
            Signal::SIGINT if by_terminal => {}
            // The command may have ended just now; the next iteration notices.
            signal => drop(kill(pid, signal)),
        }
    }
}
