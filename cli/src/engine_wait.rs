//! Waiting for an engine's client, and for the daemon behind it, without keeping the user in the dark.

use std::io::{self, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::output;

/// How long something may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// When the user is told what the command waits for.
    said_after: Duration,
    /// When it is given up.
    given_up_after: Duration,
}

/// A question needs nothing but the engine itself.
pub(crate) const QUESTION: Limits = Limits {
    said_after: Duration::from_secs(1),
    given_up_after: Duration::from_secs(20),
};
/// A container has ten seconds to end before it is killed, or what its flags say.
pub(crate) const REMOVAL: Limits = Limits {
    said_after: Duration::from_secs(15),
    given_up_after: Duration::from_secs(60),
};
/// Time between two looks whether the client has ended.
const POLL: Duration = Duration::from_millis(5);
/// Time between two looks whether the daemon answers while it does something that may take long.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Where Docker's daemon listens unless `DOCKER_HOST` says otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What a client said, and how it ended.
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Has a client say something, within limits.
///
/// # Errors
/// The client cannot be started, or does not answer in time.
pub(crate) fn ask(mut command: Command, whom: &str, limits: Limits) -> io::Result<Said> {
    let mut child = command.stderr(Stdio::piped()).spawn_piped()?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            let joined = |pipe: thread::JoinHandle<Vec<u8>>| pipe.join().unwrap_or_default();
            let (stdout, stderr) = (joined(stdout), joined(stderr));
            return Ok(Said {
                status,
                stdout,
                stderr,
            });
        }
        let waited = began.elapsed();
        if waited >= limits.said_after {
            say_once(whom, limits.given_up_after);
        }
        if waited >= limits.given_up_after {
            return Err(give_up(&mut child, whom, limits.given_up_after));
        }
        thread::sleep(POLL);
    }
}

/// Has the engine do something that may take as long as it takes, like fetching an image; its standard error is the user's.
/// Given up when Docker's daemon has not answered a ping for [`QUESTION`], of which the user is told after a second.
///
/// # Errors
/// The client cannot be started, or its daemon hangs.
pub(crate) fn have_done(mut command: Command, whom: &str, has_daemon: bool) -> io::Result<Said> {
    let mut child = command.stderr(Stdio::inherit()).spawn_piped()?;
    let stdout = drain(child.stdout.take());
    let mut next_ping = Instant::now() + PING_EVERY / 2;
    let mut silent_since: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Said {
                status,
                stdout: stdout.join().unwrap_or_default(),
                stderr: Vec::new(),
            });
        }
        let now = Instant::now();
        if has_daemon && now >= next_ping {
            match answers_ping() {
                false => {
                    say_once(whom, QUESTION.given_up_after);
                    let since = *silent_since.get_or_insert(now);
                    if since.elapsed() >= QUESTION.given_up_after {
                        return Err(give_up(&mut child, whom, QUESTION.given_up_after));
                    }
                }
                true => silent_since = None,
            }
            next_ping = Instant::now() + PING_EVERY;
        }
        thread::sleep(POLL);
    }
}

/// Whether dockerd answers within a second. Where that cannot be told it counts as yes: its client will say what is wrong.
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

/// Whether this says that an engine is there and does not answer.
pub(crate) fn is_silent(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
    causes.any(|e| e.kind() == io::ErrorKind::TimedOut)
}

/// Tells, once in this process, what it waits for.
pub(crate) fn say_once(whom: &str, limit: Duration) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let limit = limit.as_secs();
        output::complain(&format!(
            "waiting for {whom}, which does not answer (for {limit} s at most)"
        ));
    }
}

fn give_up(child: &mut Child, whom: &str, limit: Duration) -> io::Error {
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
    let limit = limit.as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "{whom} has not answered for {limit} s; see its log, or restart it. What it was asked last it may still do"
        ),
    )
}

/// Reads to the end, so that the client never waits for us.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe ends what it says like its end does.
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
