//! The router's log on standard error. In the background that is a file of bounded size: beyond [`MAX_LOG`] it is
//! renamed to `router.log.1`, which replaces the previous one.
//!
//! Standard error itself is redirected to the new file, so that panics and libraries write there, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mesh_state::files::{LOG, OLD_LOG};
use mesh_sys::process;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Size in bytes at which the log is rotated; together with the old one twice as much is kept.
const MAX_LOG: u64 = 10 << 20;

/// Lines that wait for the disk; further ones are lost, and counted in the log.
const MAX_WAITING: usize = 4_096;

/// Starts logging at `level` and above, on a thread of its own: a disk that hangs holds up nothing else. With `daemon`, the
/// log in `state_dir` is rotated, provided that standard error goes there. Lines that wait are written when the guard is
/// dropped, within a second.
pub(crate) fn init(level: &str, daemon: bool, state_dir: &Path) -> WorkerGuard {
    let rotating = daemon.then(|| Rotating::of_stderr(state_dir)).flatten();
    let lost = Arc::new(OnceLock::new());
    let log: Box<dyn Write + Send> = match rotating {
        Some(log) => Box::new(log),
        None => Box::new(io::stderr()),
    };
    let noting = NotingLoss {
        log,
        lost: lost.clone(),
        told: 0,
    };
    let queue = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("log");
    let (writer, guard) = queue.finish(noting);
    // It is set once, here.
    let _ = lost.set(writer.error_counter());
    start(level, BoxMakeWriter::new(writer));
    guard
}

/// A log that tells how many lines had no room.
struct NotingLoss {
    log: Box<dyn Write + Send>,
    lost: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl Write for NotingLoss {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            let more = lost - self.told;
            self.told = lost;
            writeln!(
                self.log,
                "{more} lines of the log were lost: the disk was too slow"
            )?;
        }
        self.log.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }
}

/// Starts logging for a process next to the router, which writes to the same log.
pub(crate) fn init_beside(level: &str, state_dir: &Path) {
    let path = state_dir.to_owned();
    let writer = match LogByName::new(&path).is_stderr() {
        true => BoxMakeWriter::new(move || LogByName::new(&path)),
        false => BoxMakeWriter::new(io::stderr),
    };
    start(level, writer);
}

fn start(level: &str, writer: BoxMakeWriter) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(writer)
        .with_target(false)
        .with_ansi(false)
        .init();
}

/// Writes each line to the log by its path, since the router rotates the log.
pub(crate) struct LogByName {
    path: PathBuf,
}

impl LogByName {
    /// Returns the log in this directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(LOG),
        }
    }

    /// True if standard error was that log when this process started.
    pub(crate) fn is_stderr(&self) -> bool {
        let ours = process::stderr_file().and_then(|f| f.metadata());
        let there = fs::metadata(&self.path);
        ours.ok()
            .zip(there.ok())
            .is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

impl Write for LogByName {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        open_log(&self.path)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the log by its path; creates it if missing.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let mut open = OpenOptions::new();
    let open = open.create(true).append(true).mode(0o600);
    open.custom_flags(process::NO_FOLLOW).open(path)
}

/// A log file with rotation.
struct Rotating {
    path: PathBuf,
    aside: PathBuf,
    file: File,
    max: u64,
    /// Redirects standard error to the new file.
    turn: fn(&File) -> io::Result<()>,
}

impl Rotating {
    /// Returns the log in `state_dir`, if standard error goes there.
    fn of_stderr(state_dir: &Path) -> Option<Self> {
        let file = process::stderr_file().ok()?;
        let path = state_dir.join(LOG);
        let (ours, there) = (file.metadata().ok()?, fs::metadata(&path).ok()?);
        let same = (ours.dev(), ours.ino()) == (there.dev(), there.ino());
        same.then(|| Self {
            aside: state_dir.join(OLD_LOG),
            path,
            file,
            max: MAX_LOG,
            turn: process::set_stderr,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.aside)?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)?;
        (self.turn)(&file)?;
        self.file = file;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = self.file.metadata().is_ok_and(|m| m.len() >= self.max);
        if full && self.rotate().is_err() {
            // It cannot be renamed, perhaps because the disk is full: truncate it, to keep the bound.
            self.file.set_len(0)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path) -> Rotating {
        let path = dir.join(LOG);
        let mut open = OpenOptions::new();
        Rotating {
            aside: dir.join(OLD_LOG),
            file: open.create(true).append(true).open(&path).unwrap(),
            path,
            max: 100,
            turn: |_| Ok(()),
        }
    }

    #[test]
    fn a_full_log_is_put_aside_and_the_one_before_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        for n in 0..25 {
            let line = format!("line {n:013}\n");
            log.write_all(line.as_bytes()).unwrap();
            assert!(read(LOG).len() < 120 && read(OLD_LOG).len() < 120);
        }
        // Six lines fill it; the seventh starts the next file.
        assert!(read(LOG).ends_with("line 0000000000024\n"));
        assert!(
            read(OLD_LOG).starts_with("line 0000000000018\n"),
            "{}",
            read(OLD_LOG)
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let mode = fs::metadata(dir.path().join(LOG)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        fs::create_dir(dir.path().join(OLD_LOG)).unwrap();
        for _ in 0..100 {
            log.write_all(b"a line of twenty by\n").unwrap();
            assert!(log.file.metadata().unwrap().len() < 120);
        }
    }

    #[test]
    fn standard_error_that_goes_elsewhere_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Rotating::of_stderr(dir.path()).is_none());
        fs::write(dir.path().join(LOG), "old").unwrap();
        assert!(Rotating::of_stderr(dir.path()).is_none());
    }
}
