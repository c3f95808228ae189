//! `mesh run --runtime process`: a command in its own network namespace, without an engine.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context as _, anyhow, bail};
use mesh_proto::api::{AdoptRequest, Done};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::preparation::Preparation;
use super::resolv::ResolvConf;
use crate::engine::status_of;
use crate::output;
use crate::output::Outcome;

/// `[-d] [--name NAME] [--] command [argument…]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    detach: bool,
    name: String,
    words: Vec<String>,
}

impl CommandLine {
    /// Parses the words after the addresses.
    pub(crate) fn parse(rest: &[String]) -> anyhow::Result<Self> {
        let mut detach = false;
        let mut name = None;
        let mut rest = rest;
        loop {
            match rest {
                [flag, after @ ..] if flag == "-d" || flag == "--detach" => {
                    detach = true;
                    rest = after;
                }
                [flag, value, after @ ..] if flag == "--name" => {
                    name = Some(value.clone());
                    rest = after;
                }
                [flag, after @ ..] if flag == "--" => {
                    rest = after;
                    break;
                }
                [flag, ..] if flag.starts_with('-') => bail!(
                    "'{flag}' is not an option of --runtime process; write the command after --"
                ),
                _ => break,
            }
        }
        let Some(program) = rest.first() else {
            bail!("no command: give it after the addresses, like -- ping 10.2.1.1");
        };
        let name = name.unwrap_or_else(|| program.rsplit('/').next().unwrap_or(program).to_owned());
        Ok(Self {
            detach,
            name,
            words: rest.to_vec(),
        })
    }
}

impl CommandLine {
    /// Returns the program to run, or an empty string.
    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// True if the command stays in the background.
    pub(crate) fn is_detached(&self) -> bool {
        self.detach
    }

    /// Returns the name that `ps` shows.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Runs the command until it ends, and exits with its status; with `-d`, prints an id and leaves it running.
pub(crate) fn run(mut preparation: Preparation<'_>, command: &CommandLine) -> Outcome {
    let Some(netns) = preparation.prepared().netns.clone() else {
        bail!("the router prepared no namespace; are mesh and mesh-router of the same version?");
    };
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
    if command.detach {
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
    let (program, args) = line.words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(args);
    if line.detach {
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
        name: command.name.clone(),
    };
    preparation.client().post::<Done>("/adopt", &request)?;
    Ok(())
}

fn ended_early(
    preparation: &Preparation<'_>,
    command: &CommandLine,
    status: ExitStatus,
) -> Outcome {
    if command.detach {
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

fn wait(child: &mut Child, signals: &SigSet) -> Outcome {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<CommandLine> {
        let words: Vec<_> = line.split_whitespace().map(ToOwned::to_owned).collect();
        CommandLine::parse(&words)
    }

    #[test]
    fn command_lines() {
        for (line, detach, name, words) in [
            ("ping 10.2.1.1 -d", false, "ping", "ping 10.2.1.1 -d"),
            ("-- /bin/ping -c 1 x", false, "ping", "/bin/ping -c 1 x"),
            ("-d -- sleep 60", true, "sleep", "sleep 60"),
            ("--detach --name web httpd -f", true, "web", "httpd -f"),
            ("-- -odd", false, "-odd", "-odd"),
        ] {
            let command = parse(line).unwrap();
            assert_eq!(command.detach, detach, "{line}");
            assert_eq!(command.name, name, "{line}");
            assert_eq!(command.words.join(" "), words, "{line}");
        }
        for line in ["", "-d", "--", "-x ping", "--name"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
