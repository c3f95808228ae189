//! Waiting for an engine's client and its daemon, with a message to the user when they are slow.

use std::io::{self, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_view::waiting::silence;

use crate::output;

/// Time limits of a command.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Time after which the user is told what the command waits for.
    said_after: Duration,
    /// Time after which the client is killed.
    given_up_after: Duration,
}

/// Limits of a query, which needs only the daemon itself.
pub(crate) const QUESTION: Limits = Limits {
    said_after: Duration::from_secs(1),
    given_up_after: Duration::from_secs(20),
};
/// Limits of a removal: a container has 10 s to stop (or as its flags say) before it is killed.
pub(crate) const REMOVAL: Limits = Limits {
    said_after: Duration::from_secs(15),
    given_up_after: Duration::from_secs(60),
};
/// Interval of polling for the end of the client.
const POLL: Duration = Duration::from_millis(5);
/// Interval of daemon pings during a command that may take long.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Docker's socket unless `DOCKER_HOST` is set.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Output and exit status of a client.
pub(crate) struct ProgramOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a client within limits, and captures its output.
///
/// # Errors
/// The client cannot be started, or does not end in time.
pub(crate) fn ask(mut command: Command, daemon: &str, limits: Limits) -> io::Result<ProgramOutput> {
    let mut child = command.stderr(Stdio::piped()).spawn_piped()?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            let joined = |pipe: thread::JoinHandle<Vec<u8>>| pipe.join().unwrap_or_default();
            let (stdout, stderr) = (joined(stdout), joined(stderr));
            return Ok(ProgramOutput {
                status,
                stdout,
                stderr,
            });
        }
        let waited = began.elapsed();
        if waited >= limits.said_after {
            say_once(daemon, limits.given_up_after);
        }
        if waited >= limits.given_up_after {
            return Err(give_up(&mut child, daemon, limits.given_up_after));
        }
        thread::sleep(POLL);
    }
}

/// Runs a client that may take arbitrarily long (to pull an image, for example), with the user's standard error. It is
/// killed when Docker's daemon has answered no ping for [`QUESTION`]; the user is told after a second.
///
/// # Errors
/// The client cannot be started, or its daemon hangs.
pub(crate) fn have_done(
    mut command: Command,
    daemon: &str,
    has_daemon: bool,
) -> io::Result<ProgramOutput> {
    let mut child = command.stderr(Stdio::inherit()).spawn_piped()?;
    let stdout = drain(child.stdout.take());
    let mut next_ping = Instant::now() + PING_EVERY / 2;
    let mut silent_since: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ProgramOutput {
                status,
                stdout: stdout.join().unwrap_or_default(),
                stderr: Vec::new(),
            });
        }
        let now = Instant::now();
        if has_daemon && now >= next_ping {
            match answers_ping() {
                false => {
                    say_once(daemon, QUESTION.given_up_after);
                    let since = *silent_since.get_or_insert(now);
                    if since.elapsed() >= QUESTION.given_up_after {
                        return Err(give_up(&mut child, daemon, QUESTION.given_up_after));
                    }
                }
                true => silent_since = None,
            }
            next_ping = Instant::now() + PING_EVERY;
        }
        thread::sleep(POLL);
    }
}

/// True if dockerd answers within a second, or if that cannot be determined: the client then reports the problem.
fn answers_ping() -> bool {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = match host.as_str() {
        "" => DOCKER_SOCKET,
        host => match host.strip_prefix("unix://") {
            Some(path) => path,
            None => return true,
        },
    };
    let Ok(mut stream) = UnixStream::connect(path) else {
        return true;
    };
    let asked = stream
        .set_read_timeout(Some(QUESTION.said_after))
        .and_then(|()| stream.set_write_timeout(Some(QUESTION.said_after)))
        .and_then(|()| stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"));
    let heard = asked.and_then(|()| stream.read(&mut [0; 16]));
    match heard {
        Err(e) => !matches!(
            e.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ),
        Ok(_) => true,
    }
}

/// True if the error means that an engine is installed and does not answer.
pub(crate) fn is_silent(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
    causes.any(|e| e.kind() == io::ErrorKind::TimedOut)
}

/// Tells the user, once per process, what the command waits for.
pub(crate) fn say_once(daemon: &str, limit: Duration) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        output::complain(&silence(daemon, limit.as_secs()));
    }
}

fn give_up(child: &mut Child, daemon: &str, limit: Duration) -> io::Error {
    // The client may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
    let limit = limit.as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "{daemon} has not answered for {limit} s; see its log, or restart it. Its last request may still complete"
        ),
    )
}

/// Reads the pipe to its end, so that the client never blocks on it.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe is treated as the end of the output.
            let _ = pipe.read_to_end(&mut all);
        }
        all
    })
}

trait SpawnPiped {
    fn spawn_piped(&mut self) -> io::Result<Child>;
}

impl SpawnPiped for Command {
    fn spawn_piped(&mut self) -> io::Result<Child> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    }
}
