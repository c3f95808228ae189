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
use mesh_options::{DEFAULT_SOCKET, Datapath, Options};
use mesh_view::router_log;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::args::LaunchArgs;
use crate::client::{Client, ClientError};
use crate::lookup::Lookup;
use crate::output;
use crate::output::Outcome;
use crate::router::{self, Config};
use crate::service::supervisor;
use crate::service::unit::Unit;

/// Time within which the router must answer.
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Delay after which a user at a terminal sees that the command still waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes at the end of the log that are read when the router ends early.
const LOG_TAIL: u64 = 16 << 10;

/// Starts the router unless it already runs.
pub(crate) fn launch(args: &LaunchArgs, socket: Option<&Path>) -> Outcome {
    let config = Config::read(args.router.config.as_deref())?;
    let socket = absolute(&router::socket(socket, Some(&config)))?;
    let state_dir = absolute(&router::state_dir(
        args.router.state_dir.as_deref(),
        &config,
    ))?;
    let client = Client::new(socket.clone())?;
    let remarks = args.weave.remarks()?;
    refuse_if_running(&client)?;
    remarks.iter().for_each(|remark| output::complain(remark));
    let unit = Unit::installed().filter(|_| !args.foreground);
    refuse_if_starting(unit.as_ref(), &socket)?;

    let mut command = Command::new(router::program()?);
    command.args(router_words(args, &socket, &state_dir)?);
    if args.foreground {
        let error = command.exec();
        return Err(anyhow!("cannot start {}: {error}", router::PROGRAM));
    }
    let log = Log::open(&state_dir)?;
    let typed = args.router.peers.iter().chain(&args.more_peers);
    let mut peers: Vec<String> = typed.cloned().collect();
    if peers.is_empty() && !args.resume {
        peers.clone_from(&config.peers);
    }
    let lookup = Lookup::begin(&peers);
    let child = spawn(command, &log)?;
    wait_until_up(child, &client, &log)?;
    lookup.finish();
    tell_notices(&client, unit.as_ref());
    Ok(0)
}

/// Prints the router's notices about this host.
fn tell_notices(client: &Client, unit: Option<&Unit>) {
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

fn refuse_if_running(client: &Client) -> anyhow::Result<()> {
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

/// The router's command line.
fn router_words(args: &LaunchArgs, socket: &Path, state_dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut words = vec!["--socket".to_owned(), text(socket)?];
    let starts: [(&str, bool); 3] = [
        ("--daemon", !args.foreground),
        ("--restart", !args.foreground && !args.no_restart),
        ("--resume", args.resume),
    ];
    let given = starts.iter().filter(|(_, given)| *given);
    words.extend(given.map(|(flag, _)| (*flag).to_owned()));
    words.extend(router_options(args, state_dir)?.to_words()?);
    Ok(words)
}

/// Options that the router is started with: paths are absolute, and flags of other tools have become ours.
fn router_options(args: &LaunchArgs, state_dir: &Path) -> anyhow::Result<Options> {
    let mut options = args.router.clone();
    options.state_dir = Some(state_dir.to_owned());
    options.peers.extend(args.more_peers.iter().cloned());
    if args.weave.asks_for_pcap() {
        options.datapath.get_or_insert(Datapath::Pcap);
    }
    for file in [
        &mut options.config,
        &mut options.key_file,
        &mut options.password_file,
    ] {
        *file = file.as_deref().map(absolute).transpose()?;
    }
    Ok(options)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().map(ToOwned::to_owned);
    text.ok_or_else(|| anyhow!("'{}' is not valid UTF-8; use another path", path.display()))
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

fn wait_until_up(mut child: Child, client: &Client, log: &Log) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut progress = Progress::default();
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
struct Progress {
    steps: u32,
}

impl Progress {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_passed_on() {
        let args = LaunchArgs {
            router: Options {
                peers: vec!["host2".to_owned()],
                port: Some(7000),
                multicast_limit: Some(0),
                no_discovery: true,
                no_encryption: true,
                trusted_subnets: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
                ..Options::default()
            },
            ..LaunchArgs::default()
        };
        let words = router_words(&args, Path::new("/s"), Path::new("/d")).unwrap();
        let expected = [
            "--socket",
            "/s",
            "--daemon",
            "--restart",
            "--multicast-limit=0",
            "--no-discovery",
            "--no-encryption",
            "--port=7000",
            "--state-dir=/d",
            "--trusted-subnets=10.0.0.0/8",
            "--trusted-subnets=fd00::/8",
            "host2",
        ];
        assert_eq!(words, expected);
    }
}
