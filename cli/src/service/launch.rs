//! `mesh launch`: starts the router and waits until it answers.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use mesh_command::args::LaunchArgs;
use mesh_command::service::{Unit, peers_to_dial, router_words};
use mesh_options::DEFAULT_SOCKET;
use mesh_view::router_log;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::client::{ApiClient, ClientError};
use crate::lookup::PeerLookup;
use crate::output;
use crate::output::VerbResult;
use crate::router;
use crate::service::supervisor;
use crate::service::unit;

/// Time within which the router must answer.
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Delay after which a user at a terminal sees that the command still waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes at the end of the log that are read when the router ends early.
const LOG_TAIL: u64 = 16 << 10;

/// Starts the router unless it already runs.
pub(crate) fn launch(args: &LaunchArgs, socket: Option<&Path>) -> VerbResult {
    let config = router::read_config(args.router.config.as_deref())?;
    let socket = absolute(&config.socket(socket))?;
    let state_dir = absolute(&config.state_dir(args.router.state_dir.as_deref()))?;
    let client = ApiClient::new(socket.clone())?;
    let remarks = args.weave.remarks()?;
    refuse_if_running(&client)?;
    remarks.iter().for_each(|remark| output::complain(remark));
    let unit = unit::installed().filter(|_| !args.foreground);
    refuse_if_starting(unit.as_ref(), &socket)?;

    let mut command = Command::new(router::program()?);
    let args = &with_absolute_files(args)?;
    command.args(router_words(args, &socket, &state_dir)?);
    if args.foreground {
        let error = command.exec();
        return Err(anyhow!("cannot start {}: {error}", router::PROGRAM));
    }
    let log = Log::open(&state_dir)?;
    let lookup = PeerLookup::begin(&peers_to_dial(args, &config));
    let child = spawn(command, &log)?;
    wait_until_up(child, &client, &log)?;
    lookup.finish();
    tell_notices(&client, unit.as_ref());
    Ok(0)
}

/// Prints the router's notices about this host.
fn tell_notices(client: &ApiClient, unit: Option<&Unit>) {
    // A router that does not answer has no notices.
    for notice in client.get::<Vec<String>>("/notices").unwrap_or_default() {
        output::complain(&format!("warning: {notice}"));
    }
    if let Some(unit) = unit.filter(|unit| unit.is_enabled()) {
        output::complain(&format!(
            "{} is enabled, too: at the next boot systemd starts the router with the options of that unit; to have it do so \
             now: mesh stop; systemctl start {}",
            unit.name(),
            unit.name()
        ));
    }
}

/// Fails if another start of this router is under way: the two would conflict.
fn refuse_if_starting(unit: Option<&Unit>, socket: &Path) -> anyhow::Result<()> {
    if let Some(pid) = supervisor::find(socket) {
        bail!(
            "mesh is being started again after a crash (by process {pid}); `mesh stop` ends that"
        );
    }
    if let Some(unit) = unit.filter(|unit| unit.is_starting())
        && socket == Path::new(DEFAULT_SOCKET)
    {
        bail!(
            "systemd is starting the router ({}); `systemctl status {}` shows its progress, `mesh stop` ends it",
            unit.name(),
            unit.name()
        );
    }
    Ok(())
}

fn refuse_if_running(client: &ApiClient) -> anyhow::Result<()> {
    match client.pid() {
        Ok(pid) => bail!("mesh is already running (pid {pid})"),
        Err(ClientError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a path absolute, since a daemon may change its directory.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("'{}' is not a path", path.display()))
}

/// Makes the paths of files absolute.
fn with_absolute_files(args: &LaunchArgs) -> anyhow::Result<LaunchArgs> {
    let mut args = args.clone();
    let options = &mut args.router;
    for file in [
        &mut options.config,
        &mut options.key_file,
        &mut options.password_file,
    ] {
        *file = file.as_deref().map(absolute).transpose()?;
    }
    Ok(args)
}

/// Fails if other users may write the directory, since they could redirect the log. The router checks this, too.
fn check_directory(dir: &Path) -> anyhow::Result<()> {
    let meta =
        std::fs::metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
        bail!(
            "the state directory {} belongs to user {}; run: chown root {}",
            dir.display(),
            meta.uid(),
            dir.display()
        );
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    // A new tmpfs has the mode of /tmp.
    let is_empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    let tighten = || std::fs::set_permissions(dir, Permissions::from_mode(0o700)).is_ok();
    if mode & 0o1000 == 0 || !is_empty() || !tighten() || !is_empty() {
        bail!(
            "the state directory {} can be written by others (mode {mode:04o}); run: chmod 700 {}",
            dir.display(),
            dir.display()
        );
    }
    Ok(())
}

/// Log file of the router, and the offset at which this start begins.
struct Log {
    path: PathBuf,
    file: File,
    start: u64,
}

impl Log {
    fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let advice = "run as root, or give another --state-dir";
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(|e| anyhow!("cannot make {}: {e}; {advice}", state_dir.display()))?;
        check_directory(state_dir)?;
        let path = state_dir.join(router::LOG);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(|e| anyhow!("cannot write {}: {e}; {advice}", path.display()))?;
        let start = file.metadata()?.len();
        Ok(Self { path, file, start })
    }

    /// Returns the last lines of this start, errors in preference to others.
    fn last_lines(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            let end = file.metadata().map_or(0, |m| m.len());
            // A log that grew too long was rotated: all of the current file is new.
            let start = if self.start > end { 0 } else { self.start };
            let from = start.max(end.saturating_sub(LOG_TAIL));
            // An unreadable log yields no lines; the caller names the file.
            let _ = file.seek(SeekFrom::Start(from));
            let _ = file.take(LOG_TAIL).read_to_end(&mut bytes);
        }
        router_log::last_lines(&String::from_utf8_lossy(&bytes))
    }
}

fn spawn(mut command: Command, log: &Log) -> anyhow::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.file.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", router::PROGRAM))
}

fn wait_until_up(mut child: Child, client: &ApiClient, log: &Log) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut progress = StartProgress::default();
    while began.elapsed() < START_DEADLINE {
        if let Some(status) = child.try_wait()? {
            progress.end();
            return Err(ended_early(status, log));
        }
        if client.answers(Duration::from_secs(1)) {
            progress.end();
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            progress.step();
        }
        thread::sleep(POLL);
    }
    progress.end();
    // Leave no partial start behind: another launch must find the socket and the state free.
    let pid = i32::try_from(child.id()).map(Pid::from_raw);
    if let Ok(pid) = pid {
        let _ = kill(pid, Signal::SIGTERM);
    }
    bail!(
        "{} did not answer on {} within {} s and was told to stop; see {}",
        router::PROGRAM,
        client.socket().display(),
        START_DEADLINE.as_secs(),
        log.path.display()
    )
}

fn ended_early(status: std::process::ExitStatus, log: &Log) -> anyhow::Error {
    let lines = log.last_lines();
    if lines.is_empty() {
        return anyhow!(
            "{} ended at once ({status}) without a word; see {}",
            router::PROGRAM,
            log.path.display()
        );
    }
    anyhow!("{} ended at once ({status}): {lines}", router::PROGRAM)
}

/// Dots on standard error while a user waits.
#[derive(Default)]
struct StartProgress {
    steps: u32,
}

impl StartProgress {
    fn step(&mut self) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let mark = if self.steps == 0 {
            "waiting for the router "
        } else {
            "."
        };
        if self.steps.is_multiple_of(10) {
            let _ = write!(std::io::stderr(), "{mark}");
        }
        self.steps += 1;
    }

    fn end(&self) {
        if self.steps > 0 {
            let _ = writeln!(std::io::stderr());
        }
    }
}
