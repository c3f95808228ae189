//! Supervisor: restarts the router after a crash where no service manager does. `mesh launch` runs it in the
//! background, unless `--no-restart` is given.
//!
//! It is a process without state or threads that does nothing but wait, so that a fault that kills the router does not
//! kill it. A refused start is not retried, and a router that ends by itself was told to.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mesh_sys::process::{self, LockFile};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Settings;
use crate::crypto::secret::{PASSWORD_VARIABLE, Password};
use crate::process::log::{self, open_log};
use crate::state::LOG;

/// Process name, at most 15 bytes.
const NAME: &str = "mesh-supervisor";
/// First delay before a restart; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest delay before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Run time after which the delay is reset.
const SETTLED: Duration = Duration::from_secs(60);
/// Exit status of a router that refused to start.
const REFUSED: i32 = 1;
/// Interval of polling the router, in case SIGCHLD is missed.
const POLL: Duration = Duration::from_secs(10);

/// Returns the path of the lock file next to the API's socket: locked while the supervisor lives, with its pid.
pub fn lock_path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".supervisor");
    name.into()
}

/// Runs the router with this process's own arguments until told to end, or until it refuses to start.
///
/// # Errors
/// Another supervisor runs already, or the router cannot be started at all.
pub fn run(settings: &Settings, password: Option<Password>) -> anyhow::Result<ExitCode> {
    process::setsid()?;
    process::set_name(NAME)?;
    let lock = Lock::take(&lock_path(&settings.socket))?;
    log::init_beside(&settings.log_level, &settings.state_dir);
    let supervisor = Supervisor {
        program: std::env::current_exe().context("cannot tell which program this is")?,
        arguments: std::env::args_os()
            .skip(1)
            .filter(|a| a != "--restart")
            .collect(),
        log: settings.state_dir.join(LOG),
        socket: settings.socket.clone(),
        password,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(supervisor.run());
    drop(lock);
    ended
}

/// Lock of a live supervisor; the file is removed on drop.
struct Lock {
    path: PathBuf,
    _lock: LockFile,
}

impl Lock {
    fn take(path: &Path) -> anyhow::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let Some(lock) = LockFile::try_lock(path)? else {
            let pid = fs::read_to_string(path).unwrap_or_default();
            bail!(
                "a router that crashed is being started again here (by process {}); `mesh stop` ends that",
                pid.trim()
            );
        };
        lock.write(&format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so the file is ours.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Parameters for starting the router.
struct Supervisor {
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    /// Socket that the router creates when it is up.
    socket: PathBuf,
    password: Option<Password>,
}

/// Outcome of a run of the router.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The router was told to end.
    Stopped,
    /// The router refuses to run.
    Refused,
    /// The router crashed; carries a description.
    Crashed(String),
}

impl Supervisor {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut orders = Orders::new()?;
        let mut wait = FIRST_WAIT;
        let mut again = false;
        let before = identity(&self.socket);
        loop {
            let began = Instant::now();
            let ended = match self.start(again) {
                Ok(child) => orders.watch(child, again).await,
                Err(error) if again => Ended::Crashed(format!("cannot be started: {error}")),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot start {}", self.program.display()));
                }
            };
            let how = match ended {
                Ended::Stopped => return Ok(ExitCode::SUCCESS),
                Ended::Refused => return Ok(ExitCode::FAILURE),
                Ended::Crashed(how) => how,
            };
            // `mesh launch` still waits for it, and reports the reason.
            if !again && identity(&self.socket) == before {
                tracing::error!("the router {how} before it was up; it is not started again");
                return Ok(ExitCode::FAILURE);
            }
            if began.elapsed() >= SETTLED {
                wait = FIRST_WAIT;
            }
            tracing::error!(
                "the router {how}; it is started again in {} s",
                wait.as_secs_f32()
            );
            if orders.come_within(wait).await {
                return Ok(ExitCode::SUCCESS);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            again = true;
        }
    }

    fn start(&self, again: bool) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .arg("--supervised")
            .args(again.then_some("--again"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(password) = &self.password {
            let value = std::ffi::OsStr::from_bytes(password.as_bytes());
            command.env(PASSWORD_VARIABLE, value);
        }
        // The log may have been rotated since the last start.
        if again && let Ok(log) = open_log(&self.log) {
            command.stderr(log);
        }
        command.spawn()
    }
}

/// Returns the identity of the file at `path`; a file created in its place has another device, inode or time.
fn identity(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

/// Signals to this process.
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
}

impl Orders {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            child: listen(SignalKind::child())?,
        })
    }

    /// Waits for a signal to end.
    async fn come(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                // A closed terminal is no reason to end.
                _ = self.hang_up.recv() => {}
            }
        }
    }

    /// True if a signal to end arrives within this time.
    async fn come_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.come()).await.is_ok()
    }

    /// Waits until the router ends; signals to end are passed on to it.
    async fn watch(&mut self, mut child: Child, again: bool) -> Ended {
        let mut ordered = false;
        loop {
            if let Some(status) = child.try_wait().transpose() {
                return judge(status, again, ordered);
            }
            let is_order = tokio::select! {
                // Polls as well: the router may have ended before SIGCHLD was handled.
                _ = tokio::time::sleep(POLL) => false,
                _ = self.child.recv() => false,
                _ = self.terminate.recv() => true,
                _ = self.interrupt.recv() => true,
                // A closed terminal is no reason to end.
                _ = self.hang_up.recv() => false,
            };
            if let Some(pid) = i32::try_from(child.id()).ok().filter(|_| is_order) {
                ordered = true;
                // The router may have ended just now.
                let _ = process::terminate(pid);
            }
        }
    }
}

/// Classifies the end of the router. `ordered`: this process told it to end.
fn judge(status: io::Result<ExitStatus>, again: bool, ordered: bool) -> Ended {
    let status = match status {
        Ok(status) => status,
        Err(error) => return Ended::Crashed(format!("cannot be waited for: {error}")),
    };
    let by_order = matches!(status.signal(), Some(2 | 15));
    if status.success() || by_order || ordered {
        return Ended::Stopped;
    }
    match (status.code(), status.signal()) {
        // A start that is refused at first will be refused again; after a crash the cause may go away.
        (Some(REFUSED), _) if !again => Ended::Refused,
        (Some(code), _) => Ended::Crashed(format!("ended with status {code}")),
        (None, Some(signal)) => Ended::Crashed(format!("was ended by signal {signal}")),
        (None, None) => Ended::Crashed("ended".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crash_is_followed_by_a_start() {
        let exit = |code: i32| Ok(ExitStatus::from_raw(code << 8));
        let killed = |signal: i32| Ok(ExitStatus::from_raw(signal));
        assert_eq!(judge(exit(0), false, false), Ended::Stopped);
        assert_eq!(judge(exit(0), true, false), Ended::Stopped);
        assert_eq!(judge(killed(15), true, false), Ended::Stopped);
        assert_eq!(judge(killed(9), true, true), Ended::Stopped);
        assert_eq!(judge(exit(1), false, false), Ended::Refused);
        for crash in [
            judge(exit(1), true, false),
            judge(exit(101), false, false),
            judge(killed(9), false, false),
            judge(killed(11), true, false),
        ] {
            assert!(matches!(crash, Ended::Crashed(_)), "{crash:?}");
        }
    }

    #[test]
    fn there_is_one_for_each_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = lock_path(&dir.path().join("mesh.sock"));
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).err().unwrap().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains("mesh stop"), "{error}");
        drop(first);
        assert!(!path.exists());
        // A killed supervisor leaves its file, which blocks no one.
        fs::write(&path, "1\n").unwrap();
        drop(Lock::take(&path).unwrap());
    }

    fn supervisor(dir: &Path, script: &str) -> Supervisor {
        Supervisor {
            program: "/bin/sh".into(),
            // As options of sh these would be errors; the script gets them as its arguments.
            arguments: vec!["-c".into(), script.into()],
            log: dir.join(LOG),
            socket: dir.join("mesh.sock"),
            password: None,
        }
    }

    #[tokio::test]
    async fn a_router_that_crashes_before_it_is_up_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        // A socket that existed before says nothing about this router.
        fs::write(dir.path().join("mesh.sock"), "").unwrap();
        let killed = dir.path().join("killed");
        fs::write(&killed, "#!/bin/sh\nkill -KILL $$\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&killed, mode).unwrap();
        let killed = Supervisor {
            program: killed,
            ..supervisor(dir.path(), "")
        };
        assert_eq!(judge_of(killed).await, format!("{:?}", ExitCode::FAILURE));
    }

    async fn judge_of(supervisor: Supervisor) -> String {
        let ended = tokio::time::timeout(Duration::from_secs(60), supervisor.run());
        format!("{:?}", ended.await.unwrap().unwrap())
    }

    #[tokio::test]
    async fn the_first_start_that_cannot_be_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Supervisor {
            program: dir.path().join("missing"),
            ..supervisor(dir.path(), "")
        };
        let error = missing.run().await.unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
