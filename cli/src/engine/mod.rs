//! Container engines, driven through their command-line clients.

pub(crate) mod wait;

use std::process::Command;

use anyhow::{Context as _, bail};
use mesh_proto::api::Runtime;
use mesh_view::ps::short_id;

use self::wait::{Limits, ProgramOutput};
use crate::output;
use crate::router::in_path;

/// Engine with a client that has Docker's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineClient {
    Docker,
    Podman,
}

/// Advice when no engine is usable.
const NO_ENGINE: &str = "install docker or podman, or run a command without an engine: `mesh run --runtime process 10.2.1.3/24 -- COMMAND`";

impl EngineClient {
    /// Returns the name of the client program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Returns the engine as the API names it.
    pub(crate) fn runtime(self) -> Runtime {
        match self {
            Self::Docker => Runtime::Docker,
            Self::Podman => Runtime::Podman,
        }
    }

    /// Fails with a remedy if the client is missing or (docker) its daemon does not answer.
    pub(crate) fn check(self) -> anyhow::Result<()> {
        let program = self.program();
        if in_path(program).is_none() {
            bail!("there is no `{program}` in PATH; {NO_ENGINE}");
        }
        if self == Self::Docker {
            let result = self.quietly(&["version", "--format", "{{.Server.Version}}"])?;
            if !result.status.success() {
                let told = String::from_utf8_lossy(&result.stderr);
                let told = told.trim().lines().next_back().unwrap_or("no reason given");
                bail!("the docker daemon does not answer ({told}); start it, or {NO_ENGINE}");
            }
        }
        Ok(())
    }

    /// Returns Docker if its daemon answers, else podman if installed, with a message for the user if one is due.
    pub(crate) fn detect() -> anyhow::Result<(Self, Option<String>)> {
        let docker = Self::Docker.check();
        let (has_docker, has_podman) = (in_path("docker").is_some(), in_path("podman").is_some());
        match docker {
            Ok(()) => Ok((Self::Docker, None)),
            // A daemon that hangs may have the user's containers, so do not fall back to the other engine.
            Err(error) if wait::is_silent(&error) => Err(error),
            Err(error) if has_docker && has_podman => {
                // Drop the advice: it is for users without any engine.
                let told = error.to_string();
                let why = told.split("; start it").next().unwrap_or_default();
                Ok((Self::Podman, Some(format!("podman is taken: {why}"))))
            }
            Err(_) if has_podman => Ok((Self::Podman, None)),
            Err(error) if has_docker => Err(error),
            Err(_) => bail!("there is no container engine (docker, podman) in PATH; {NO_ENGINE}"),
        }
    }

    /// Returns the engine that has `container`.
    pub(crate) fn of(container: &str) -> anyhow::Result<Self> {
        let present: Vec<_> = [Self::Docker, Self::Podman]
            .into_iter()
            .filter(|engine| in_path(engine.program()).is_some())
            .collect();
        let mut silent = None;
        for engine in &present {
            let inspect = ["container", "inspect", "--format", "{{.Id}}", container];
            match engine.quietly(&inspect) {
                Ok(said) if said.status.success() => return Ok(*engine),
                Ok(_) => {}
                // The other engine may have the container; if not, this one may.
                Err(error) => silent = Some(error),
            }
        }
        if let Some(error) = silent {
            return Err(error);
        }
        if present.is_empty() {
            bail!("there is no container engine (docker, podman) in PATH");
        }
        let asked: Vec<_> = present.iter().map(|e| e.program()).collect();
        bail!("no container '{container}' (asked {})", asked.join(" and "))
    }

    /// Runs the client with the user's standard error, and captures its standard output.
    pub(crate) fn run(self, args: &[String]) -> anyhow::Result<FinishedProgram> {
        let has_daemon = self == Self::Docker;
        let result = wait::have_done(self.command(args), self.daemon(), has_daemon)
            .with_context(|| self.failed(args))?;
        let stdout = String::from_utf8_lossy(&result.stdout);
        let last_line = stdout.lines().next_back().unwrap_or_default().trim();
        Ok(FinishedProgram {
            status: status_of(result.status),
            last_line: last_line.to_owned(),
        })
    }

    /// Runs the client and captures both of its outputs.
    pub(crate) fn quietly<S: AsRef<str>>(self, args: &[S]) -> anyhow::Result<ProgramOutput> {
        self.within(args, wait::QUESTION)
    }

    /// Like [`quietly`](Self::quietly), with a timeout long enough for a container to stop.
    pub(crate) fn removing<S: AsRef<str>>(self, args: &[S]) -> anyhow::Result<ProgramOutput> {
        self.within(args, wait::REMOVAL)
    }

    fn within<S: AsRef<str>>(self, args: &[S], limits: Limits) -> anyhow::Result<ProgramOutput> {
        wait::ask(self.command(args), self.daemon(), limits).with_context(|| self.failed(args))
    }

    /// Returns the name of the daemon that the client waits for, for messages.
    fn daemon(self) -> &'static str {
        match self {
            Self::Docker => "the docker daemon",
            Self::Podman => "podman",
        }
    }

    fn failed<S: AsRef<str>>(self, args: &[S]) -> String {
        let verb = args.first().map_or("", AsRef::as_ref);
        format!("`{} {verb}` failed", self.program())
    }

    /// Returns the name of a container, or the start of its id if the engine does not answer.
    pub(crate) fn name_of(self, container: &str) -> String {
        let inspect = ["container", "inspect", "--format", "{{.Name}}", container];
        match self.quietly(&inspect) {
            Ok(result) if result.status.success() => {
                let name = String::from_utf8_lossy(&result.stdout);
                // Docker puts a slash in front.
                name.trim().trim_start_matches('/').to_owned()
            }
            _ => short_id(container).to_owned(),
        }
    }

    /// Removes a container that failed to start, with its anonymous volumes. It may be gone already.
    pub(crate) fn remove(self, container: &str) {
        if container.is_empty() {
            return;
        }
        let gone = match self.removing(&["rm", "-f", "-v", container]) {
            // With --rm the engine removes it as well.
            Ok(result) => result.status.success() || says_it_goes(&result.stderr),
            Err(_) => false,
        };
        if !gone {
            output::complain(&format!(
                "could not remove the container {container}; see `{} ps -a`",
                self.program()
            ));
        }
    }

    fn command<S: AsRef<str>>(self, args: &[S]) -> Command {
        let mut command = Command::new(self.program());
        command.args(args.iter().map(AsRef::as_ref));
        command
    }
}

/// True if the client's error says that the container is gone or being removed.
fn says_it_goes(stderr: &[u8]) -> bool {
    let told = String::from_utf8_lossy(stderr).to_lowercase();
    [
        "no such container",
        "no container with",
        "already in progress",
    ]
    .iter()
    .any(|t| told.contains(t))
}

/// Result of a client that ended.
pub(crate) struct FinishedProgram {
    /// Exit status; 128 + signal if it was killed, as in a shell.
    pub(crate) status: u8,
    /// Last line of standard output: the container id, if one was printed.
    pub(crate) last_line: String,
}

/// Returns the exit status as in a shell: 128 + signal for a process that was killed.
pub(crate) fn status_of(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|s| 128 + s))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
