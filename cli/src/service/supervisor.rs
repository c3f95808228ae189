//! The supervisor: a process that restarts the router after a crash, unless `mesh launch` is told otherwise.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Process name in `ps`.
const NAME: &str = "mesh-supervisor";

/// Returns the path of the supervisor's pid file, next to the router's socket.
fn file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".supervisor");
    name.into()
}

/// Returns the pid of the live supervisor of the router on this socket. A killed one leaves its file behind.
pub(crate) fn find(socket: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(file(socket)).ok()?;
    let pid: i32 = text.trim().parse().ok().filter(|pid| *pid > 1)?;
    is_one(pid).then_some(pid)
}

/// True if the pid is still that of a supervisor.
pub(crate) fn is_one(pid: i32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.trim_end() == NAME)
}

/// Asks the supervisor to end, with its router.
pub(crate) fn terminate(pid: i32) {
    // The supervisor may have ended just now.
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

/// Kills the supervisor alone, so that it starts nothing any more.
pub(crate) fn kill_at_once(pid: i32) {
    // The supervisor may have ended just now.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_left_behind_names_nobody() {
        let dir = std::env::temp_dir().join(format!("mesh-supervisor-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("mesh.sock");
        assert_eq!(find(&socket), None);
        for stale in ["1", "0", "-5", "rubbish", &std::process::id().to_string()] {
            std::fs::write(file(&socket), stale).unwrap();
            assert_eq!(find(&socket), None, "{stale}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
