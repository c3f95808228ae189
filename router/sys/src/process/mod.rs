//! Processes: watching, capabilities, the lock file, memory.

pub mod descriptors;
pub mod environment;
pub mod latency;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::SysError;

/// Flag of open(2) that refuses symbolic links (ELOOP).
pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;

/// Sets the priority of the calling thread only, to `nice` as in setpriority(2): −20 (highest) to 19 (lowest).
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE, if the priority is raised.
pub fn set_thread_priority(nice: i32) -> Result<(), SysError> {
    // SAFETY: setpriority takes three integers and touches no memory of ours; 0 is the calling thread on Linux.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result).map_err(|e| SysError::errno("set a thread's priority", e))?;
    Ok(())
}

/// Makes the kernel kill the child that `command` will start when the thread that starts it ends.
pub fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: prctl with these arguments is a system call that touches no memory of ours.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec only that system call is made, which is async-signal-safe, and nothing is
    // allocated.
    unsafe { command.pre_exec(ask) };
}

/// Handle of one process, safe against reuse of its pid. The descriptor becomes readable when the process ends.
#[derive(Debug)]
pub struct ProcessWatch {
    fd: OwnedFd,
    pid: i32,
    start_time: u64,
}

impl ProcessWatch {
    /// Opens a handle (pidfd) of the process.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if there is no such process.
    pub fn open(pid: i32) -> Result<Self, SysError> {
        let what = || format!("watch process {pid}");
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let raw = Errno::result(result).map_err(|e| SysError::errno(what(), e))?;
        let raw = RawFd::try_from(raw).map_err(|_| SysError::errno(what(), Errno::EBADF))?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let watch = Self {
            fd,
            pid,
            start_time: start_time(pid)?,
        };
        // Between the two calls the process may have ended, and its pid been reused.
        if watch.has_ended() {
            return Err(SysError::errno(what(), Errno::ESRCH));
        }
        Ok(watch)
    }

    /// Returns the pid in the router's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the start time in clock ticks since boot, which together with the pid is unique.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Returns true if the process has ended.
    pub fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for the end of the process, at most `timeout`. Returns true if it has ended.
    pub fn wait(&self, timeout: Duration) -> bool {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for ProcessWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ProcessWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Returns the start time of a process in clock ticks since boot (`/proc/PID/stat`, field 22).
///
/// # Errors
/// [`SysError::is_not_found`] if there is no such process, or if it is a zombie.
pub fn start_time(pid: i32) -> Result<u64, SysError> {
    let what = || format!("read the start time of process {pid}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|e| SysError::new(what(), e))?;
    match parse_start_time(&stat) {
        Some((b'Z' | b'X', _)) => Err(SysError::errno(what(), Errno::ESRCH)),
        Some((_, start)) => Ok(start),
        None => Err(SysError::other(what(), "unexpected /proc/PID/stat")),
    }
}

/// Returns state and start time.
fn parse_start_time(stat: &str) -> Option<(u8, u64)> {
    // The command in field 2 may contain spaces and brackets: count from the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Makes this process the leader of a new session, so that closing the terminal does not end it.
///
/// # Errors
/// EPERM if it is already the leader of a process group.
pub fn setsid() -> Result<(), SysError> {
    nix::unistd::setsid()
        .map(|_| ())
        .map_err(|e| SysError::errno("begin a new session", e))
}

/// Sets the name of this process in `ps` and `pgrep`, truncated to 15 bytes.
///
/// # Errors
/// `name` has a zero byte.
pub fn set_name(name: &str) -> Result<(), SysError> {
    let what = || format!("name this process {name}");
    let text = CString::new(name).map_err(|_| SysError::errno(what(), Errno::EINVAL))?;
    nix::sys::prctl::set_name(&text).map_err(|e| SysError::errno(what(), e))
}

/// Sends SIGTERM to a process.
///
/// # Errors
/// ESRCH if it has ended.
pub fn terminate(pid: i32) -> Result<(), SysError> {
    nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .map_err(|e| SysError::errno(format!("end process {pid}"), e))
}

/// Returns the parent process, or the process that adopted this one.
pub fn parent() -> i32 {
    Pid::parent().as_raw()
}

/// Returns a second handle of standard error.
///
/// # Errors
/// No descriptor is left.
pub fn stderr_file() -> io::Result<File> {
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// Redirects standard error of this process to `file`.
///
/// # Errors
/// The errno of the failed system call.
pub fn set_stderr(file: &File) -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(file)?)
}

/// Least free space for state; with less, writing is likely to fail.
const ROOM: u64 = 64 * 1024;

/// Returns the reason why no file can be written to a directory: gone, read-only or full, in words.
pub fn hindrance(dir: &Path) -> Option<String> {
    let stat = match nix::sys::statvfs::statvfs(dir) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Some("the directory is gone".to_owned()),
        Err(error) => return Some(error.desc().to_owned()),
    };
    let free = stat.blocks_free().saturating_mul(stat.fragment_size());
    // Some file systems do not count blocks or files.
    if stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        Some("the file system is read-only".to_owned())
    } else if stat.blocks() > 0 && free < ROOM {
        Some("the disk is full".to_owned())
    } else if stat.files() > 0 && stat.files_free() == 0 {
        Some("the file system has room for no more files".to_owned())
    } else {
        None
    }
}

/// Returns true if files of this user are trusted: root, and the user of this process.
pub fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Capabilities that a router needs: number (linux/capability.h) and name.
const NEEDED: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (21, "CAP_SYS_ADMIN"),
];

/// Checks that this process has the capabilities that a router needs.
///
/// # Errors
/// An error with the names of the missing capabilities.
pub fn check_capabilities() -> Result<(), SysError> {
    let what = "read the capabilities of this process";
    let status =
        std::fs::read_to_string("/proc/thread-self/status").map_err(|e| SysError::new(what, e))?;
    let effective =
        parse_effective(&status).ok_or_else(|| SysError::other(what, "no CapEff in status"))?;
    let missing = missing_capabilities(effective);
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!("{} missing; start it as root", missing.join(", "));
    Err(SysError::new(
        "run a router",
        io::Error::new(io::ErrorKind::PermissionDenied, reason),
    ))
}

/// Drops all capabilities of this thread and its children but those needed to configure networks and to enter network
/// namespaces; permanently, also for programs that are executed.
///
/// # Errors
/// EPERM without CAP_SETPCAP; nothing is changed then.
pub fn keep_network_capabilities() -> Result<(), SysError> {
    let what = "give up capabilities";
    let keep = NEEDED
        .iter()
        .fold(0u64, |all, (number, _)| all | 1 << number);
    for number in (0..64u32).filter(|number| keep >> number & 1 == 0) {
        // SAFETY: prctl takes integers here and touches no memory of ours.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
        match Errno::result(dropped) {
            Ok(_) => {}
            // The kernel has no capability with this or a higher number.
            Err(Errno::EINVAL) => break,
            Err(e) => return Err(SysError::errno(what, e)),
        }
    }
    #[repr(C)]
    struct CapabilityHeader {
        version: u32,
        pid: i32,
    }
    // Version 3 of linux/capability.h: effective, permitted, inheritable; 32 bits each, twice.
    let mut header = CapabilityHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let (low, high) = (keep & 0xffff_ffff, keep >> 32);
    let word = |bits: u64| u32::try_from(bits).unwrap_or_default();
    let sets = [word(low), word(low), 0, word(high), word(high), 0];
    // SAFETY: the kernel reads both, which have the sizes that this version says, and writes at most the header.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    Errno::result(set).map_err(|e| SysError::errno(what, e))?;
    Ok(())
}

fn parse_effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let lacks = |(number, _): &&(u32, &str)| effective >> number & 1 == 0;
    NEEDED.iter().filter(lacks).map(|(_, name)| *name).collect()
}

/// Exclusive lock on a file, released when dropped or when the process ends; the file stays.
#[derive(Debug)]
pub struct LockFile {
    lock: Flock<File>,
}

impl LockFile {
    /// Takes the lock, creating the file if necessary; `None` if another process holds it.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if the directory does not exist.
    pub fn try_lock(path: &Path) -> Result<Option<Self>, SysError> {
        let what = || format!("lock {}", path.display());
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(NO_FOLLOW)
                .open(path)
                .map_err(|e| SysError::new(what(), e))?;
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, e)) => return Err(SysError::errno(what(), e)),
            };
            let locked = lock.metadata().map_err(|e| SysError::new(what(), e))?;
            let there = std::fs::metadata(path).ok();
            // The previous holder may have removed the file in between; then the lock would exclude nobody.
            if there.is_some_and(|t| (t.dev(), t.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Some(Self { lock }));
            }
        }
    }

    /// Replaces the content of the file.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance on a full disk.
    pub fn write(&self, text: &str) -> io::Result<()> {
        self.lock.set_len(0)?;
        (&*self.lock).write_all(text.as_bytes())
    }
}

/// Returns the time since boot, the same for all processes, to 10 ms; `None` if `/proc` does not have it.
pub fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Returns the resident memory of this process in bytes; 0 if `/proc` does not have it.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_resident(&status).unwrap_or(0)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_capabilities_are_kept() {
        if crate::testing::needs_root("only_network_capabilities_are_kept") {
            return;
        }
        // On a thread of its own, which ends with the test.
        let kept = std::thread::spawn(|| {
            keep_network_capabilities().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = kept.join().unwrap();
        let expected = 1u64 << 12 | 1 << 13 | 1 << 21;
        assert_eq!(parse_effective(&status), Some(expected));
        let bound = status.replace("CapEff:", "").replace("CapBnd:", "CapEff:");
        assert_eq!(parse_effective(&bound), Some(expected));
        assert!(uptime().unwrap() > Duration::ZERO);
    }

    #[test]
    fn a_command_name_with_brackets_is_parsed() {
        let numbers: Vec<String> = (4..=40).map(|n: u32| n.to_string()).collect();
        let stat = format!("77 (a) S 1 (b) S {}", numbers.join(" "));
        assert_eq!(parse_start_time(&stat), Some((b'S', 22)));
        assert_eq!(parse_start_time("77 (a) S 1 2"), None);
        assert_eq!(parse_start_time(""), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing_capabilities(u64::MAX), Vec::<&str>::new());
        assert_eq!(missing_capabilities(1 << 12 | 1 << 21), ["CAP_NET_RAW"]);
        assert_eq!(missing_capabilities(0).len(), 3);
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\n";
        assert_eq!(parse_effective(status), Some(0x1ff_ffff_ffff));
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(parse_resident("VmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(parse_resident("VmRSS:\t x kB\n"), None);
        assert!(resident_bytes() > 100_000);
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        if let Ok(watch) = ProcessWatch::open(pid) {
            assert!(watch.wait(Duration::from_secs(10)));
        }
        assert!(start_time(pid).unwrap_err().is_not_found());
        child.wait().unwrap();
        assert!(start_time(pid).unwrap_err().is_not_found());
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let watch = ProcessWatch::open(pid).unwrap();
        assert!(!watch.has_ended());
        assert!(watch.start_time() > 0);
        child.kill().unwrap();
        assert!(watch.wait(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(ProcessWatch::open(pid).unwrap_err().is_not_found());
    }

    #[test]
    fn only_one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = LockFile::try_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(LockFile::try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(LockFile::try_lock(&path).unwrap().is_some());
        assert!(LockFile::try_lock(&dir.path().join("no/lock")).is_err());
    }
}
