//! Commands, run to their end with a time limit, or in the background until dropped.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Time limit of a command; after that it and its children are ended, and it counts as failed.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Time from a request to end until it is killed.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// Exit status of a command that hit the time limit.
const TIMED_OUT: i32 = 124;

/// Output and exit status of a command.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// The command line, for messages.
    pub line: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status; `None` after a signal.
    pub code: Option<i32>,
}

impl CommandOutput {
    /// Returns the output with another command line for messages.
    #[must_use]
    pub(crate) fn of(self, program: &str, args: &[&str]) -> Self {
        let line = line_of(program, args);
        Self { line, ..self }
    }

    /// Returns standard output without leading and trailing white space.
    ///
    /// # Errors
    /// The exit status is not 0; with the command's output.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self}");
        Ok(self.stdout.trim().to_owned())
    }

    /// Returns the error message of a refusal: exit status neither 0 nor that of a crash, and one line on standard
    /// error.
    ///
    /// # Errors
    /// The command succeeded, crashed, or printed another number of lines.
    pub fn refused(self) -> Result<String> {
        // 101 is a Rust panic; 124 and 137 a command that hit the time limit.
        let decent = matches!(self.code, Some(code) if !matches!(code, 0 | 101 | 124 | 137));
        ensure!(decent, "should have refused: {self}");
        let message = self.stderr.trim_end();
        ensure!(!message.is_empty(), "refused without a word: {self}");
        ensure!(
            message.lines().count() == 1,
            "more than one line of error: {self}"
        );
        ensure!(
            self.stdout.trim().is_empty(),
            "an error and output as well: {self}"
        );
        Ok(message.to_owned())
    }
}

impl std::fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            stdout,
            stderr,
            code,
        } = self;
        write!(
            f,
            "`{line}` ended with {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        )
    }
}

/// Runs a program to its end, with empty standard input.
///
/// # Errors
/// The program cannot be started.
pub fn run(program: &str, args: &[&str]) -> Result<CommandOutput> {
    run_with_env(program, args, &[])
}

pub(crate) fn run_with_env(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<CommandOutput> {
    // Files rather than pipes: a daemon that inherits the output must not block the test.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let code = wait_within(TIME_LIMIT, &mut child)?;
    Ok(CommandOutput {
        line: line_of(program, args),
        stdout: contents(&mut stdout)?,
        stderr: contents(&mut stderr)?,
        code,
    })
}

/// Waits for the end of a child, whose process group is its own, and returns its exit status. A thread watches the time:
/// another program, such as `timeout`, would cost more than many of the commands.
fn wait_within(limit: Duration, child: &mut Child) -> Result<Option<i32>> {
    let group = child.id();
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut left = limit;
            let mut hit = false;
            for name in ["-TERM", "-KILL"] {
                if end.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                hit = true;
                signal(name, group);
                left = KILL_AFTER;
            }
            hit
        });
        let status = child.wait();
        drop(ended);
        let hit = watch.join().unwrap_or_default();
        Ok(if hit { Some(TIMED_OUT) } else { status?.code() })
    })
}

/// Sends a signal to a process group.
fn signal(name: &str, group: u32) {
    let _ = Command::new("kill")
        .args([name, "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
}

/// Starts a program in its own process group.
///
/// # Errors
/// The program cannot be started.
pub fn spawn(program: &str, args: &[&str]) -> Result<Background> {
    spawn_with_env(program, args, &[])
}

pub(crate) fn spawn_with_env(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<Background> {
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    Ok(Background {
        line: line_of(program, args),
        child,
        stdout,
        stderr,
    })
}

/// A background program. It and its children are killed on drop.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    stdout: File,
    stderr: File,
}

impl Background {
    /// Returns the program with another command line for messages.
    #[must_use]
    pub(crate) fn of(mut self, program: &str, args: &[&str]) -> Self {
        self.line = line_of(program, args);
        self
    }

    /// Returns its standard output so far.
    ///
    /// # Errors
    /// The output cannot be read.
    pub fn output(&mut self) -> Result<String> {
        contents(&mut self.stdout)
    }

    /// Returns its standard error so far.
    ///
    /// # Errors
    /// The output cannot be read.
    pub fn errors(&mut self) -> Result<String> {
        contents(&mut self.stderr)
    }

    /// Returns the outcome of a program that has ended.
    ///
    /// # Errors
    /// The program is still running.
    pub fn finished(&mut self) -> Result<CommandOutput> {
        let Some(status) = self.child.try_wait()? else {
            bail!("`{}` runs still", self.line);
        };
        Ok(CommandOutput {
            line: self.line.clone(),
            stdout: contents(&mut self.stdout)?,
            stderr: contents(&mut self.stderr)?,
            code: status.code(),
        })
    }

    /// Ends the program and returns its standard output.
    ///
    /// # Errors
    /// The output cannot be read.
    pub fn stop(mut self) -> Result<String> {
        self.end();
        self.output()
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        for name in ["-TERM", "-KILL"] {
            // The process group is the child's own, so no other process is killed.
            signal(name, self.child.id());
            for _ in 0..20 {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(Duration::from_millis(25));
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}

fn line_of(program: &str, args: &[&str]) -> String {
    [&[program], args].concat().join(" ")
}

fn contents(file: &mut File) -> Result<String> {
    // Reads through the descriptor that the child writes to, and so restores the position at the end.
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;
    use std::time::Instant;

    fn shell(script: &str) -> CommandOutput {
        run("sh", &["-c", script]).unwrap()
    }

    #[test]
    fn success_gives_the_output() {
        assert_eq!(shell("echo ' x '").ok().unwrap(), "x");
        let error = shell("echo why >&2; exit 3").ok().unwrap_err().to_string();
        assert!(error.contains("why") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_refusal_is_one_line_and_no_crash() {
        assert_eq!(shell("echo no >&2; exit 1").refused().unwrap(), "no");
        for bad in [
            "echo no >&2",
            "exit 1",
            "echo no >&2; exit 101",
            "printf 'a\nb\n' >&2; exit 1",
            "echo x; echo no >&2; exit 1",
        ] {
            assert!(shell(bad).refused().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_that_hits_the_time_limit_is_ended_with_its_children() {
        let limit = Duration::from_millis(200);
        for (script, waits) in [
            ("sleep 100 & wait", false),
            ("trap '' TERM; sleep 100", true),
        ] {
            let began = Instant::now();
            let mut child = Command::new("sh")
                .args(["-c", script])
                .process_group(0)
                .spawn()
                .unwrap();
            assert_eq!(wait_within(limit, &mut child).unwrap(), Some(TIMED_OUT));
            assert!(began.elapsed() >= limit + if waits { KILL_AFTER } else { Duration::ZERO });
            assert!(began.elapsed() < Duration::from_secs(30), "{script}");
        }
    }

    #[test]
    fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(shell("sleep 5 & echo done").ok().unwrap(), "done");
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn the_background_is_read_while_it_runs_and_ended_with_its_children() {
        let mut job = spawn("sh", &["-c", "echo one; sleep 100 & echo two; wait"]).unwrap();
        wait_until(Duration::from_secs(5), "both lines", || {
            let output = job.output()?;
            ensure!(output == "one\ntwo\n", "{output}");
            Ok(())
        })
        .unwrap();
        assert!(job.finished().is_err());
        let began = Instant::now();
        assert_eq!(job.stop().unwrap(), "one\ntwo\n");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
}
