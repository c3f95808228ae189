//! A router with canned answers, engines made of shell scripts, and `mesh` run against them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

pub(crate) const REPORT: &str = include_str!("../../../proto/view/tests/report.json");
pub(crate) const PS: &str = include_str!("../../../proto/view/tests/ps.json");
pub(crate) const CONTAINER: &str =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

type Answer = (String, u16, String);

/// A directory with a socket, a PATH, and a log of the calls to the fake engines.
pub(crate) struct Lab {
    root: PathBuf,
    mesh: PathBuf,
    /// Removed on drop, unless another process created it.
    _dir: Option<TempDir>,
    answers: Arc<Mutex<Vec<Answer>>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

/// Output and exit status of `mesh`.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// Returns a lab without a router and without engines.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut lab = Self::at(dir.path().to_owned());
        lab._dir = Some(dir);
        fs::create_dir(lab.path("bin")).unwrap();
        lab
    }

    /// Like [`new`](Self::new), with a copy of `mesh` that has no real `mesh-router` next to it.
    pub(crate) fn apart() -> Self {
        let mut lab = Self::new();
        let (built, apart) = (env!("CARGO_BIN_EXE_mesh"), lab.path("mesh"));
        if fs::hard_link(built, &apart).is_err() {
            fs::copy(built, &apart).unwrap();
        }
        lab.mesh = apart;
        lab
    }

    /// Returns a lab in a directory that another process created.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self {
            root,
            mesh: env!("CARGO_BIN_EXE_mesh").into(),
            _dir: None,
            answers: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// Returns a lab with a router that answers `Done` to requests without a canned answer.
    pub(crate) fn with_router() -> Self {
        let lab = Self::new();
        lab.answer("/report", 200, REPORT);
        lab.answer("/ps", 200, PS);
        lab.serve();
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("mesh.sock")
    }

    /// Sets the router's answer to `path`.
    pub(crate) fn answer(&self, path: &str, status: u16, body: &str) {
        let answer = (path.to_owned(), status, body.to_owned());
        self.answers.lock().unwrap().insert(0, answer);
    }

    /// Returns the bodies of the requests for `path` so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<serde_json::Value> {
        let requests = self.requests.lock().unwrap();
        let bodies = requests.iter().filter(|(p, _)| p == path);
        bodies
            .map(|(_, body)| serde_json::from_str(body).unwrap_or_default())
            .collect()
    }

    /// Creates a program in PATH. It logs its arguments as one line, then runs `body` (shell, no other programs).
    pub(crate) fn program(&self, name: &str, body: &str) {
        let file = self.path("bin").join(name);
        let log = self.path("log");
        let script = format!(
            "#!/bin/sh\necho {name} \"$*\" >> {}\n{body}\n",
            log.display()
        );
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the logged calls, one per line.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(ToOwned::to_owned).collect()
    }

    /// Runs `mesh` with words that are separated by blanks.
    pub(crate) fn mesh(&self, line: &str) -> Said {
        self.mesh_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn mesh_words(&self, words: &[&str]) -> Said {
        let result = self.command(words).output().unwrap();
        Said {
            status: result.status.code().unwrap_or(-1),
            out: String::from_utf8(result.stdout).unwrap(),
            err: String::from_utf8(result.stderr).unwrap(),
        }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.mesh);
        command
            .args(words)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("TMPDIR", &self.root)
            .env("MESH_SOCKET", self.socket())
            .env("MESH_STATE_DIR", self.path("state"))
            .stdin(Stdio::null());
        command
    }

    /// Answers on the socket until a stop request, then removes the socket.
    pub(crate) fn serve(&self) -> JoinHandle<()> {
        let socket = self.socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let (answers, requests) = (Arc::clone(&self.answers), Arc::clone(&self.requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stopped =
                    exchange(stream.unwrap(), &answers, &requests).is_some_and(|p| p == "/stop");
                if stopped {
                    fs::remove_file(&socket).unwrap();
                    return;
                }
            }
        })
    }
}

/// Handles one request and returns its path; `None` if the client only connected.
fn exchange(
    stream: UnixStream,
    answers: &Mutex<Vec<Answer>>,
    requests: &Mutex<Vec<(String, String)>>,
) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (path, length) = read_head(&mut reader)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    requests.lock().unwrap().push((path.clone(), body));
    let known = answers
        .lock()
        .unwrap()
        .iter()
        .find(|a| a.0 == path)
        .cloned();
    let (_, status, answer) = known.unwrap_or((String::new(), 200, "{}".to_owned()));
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all((head + &answer).as_bytes()).unwrap();
    Some(path)
}

fn read_head(reader: &mut BufReader<UnixStream>) -> Option<(String, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            return Some((path, length));
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
}

impl Said {
    /// Asserts exit status 0 and an empty standard error; returns standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// Asserts exit status `status`, empty standard output, and one line on standard error that contains `part`.
    #[track_caller]
    pub(crate) fn failed(&self, status: i32, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.out, "");
        assert!(
            self.err.starts_with("mesh: ") && self.err.contains(part),
            "{self:?}"
        );
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
    }
}

/// Returns true if `path` exists within five seconds.
pub(crate) fn appears(path: &Path) -> bool {
    (0..500).any(|_| {
        thread::sleep(std::time::Duration::from_millis(10));
        path.exists()
    })
}
