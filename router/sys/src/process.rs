//! Processes: watching one end, rights, the lock file, memory.

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

/// Flag of open(2): a symbolic link is not followed, and is an error (ELOOP).
pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;

/// Has the calling thread, and no other, run before those of ordinary priority when both want the processor.
///
/// `nice` as of setpriority(2): −20 (first) to 19 (last).
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE, when that is higher than before.
pub fn set_thread_priority(nice: i32) -> Result<(), SysError> {
    // SAFETY: setpriority takes three integers and touches no memory of ours; 0 is the calling thread on Linux.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result).map_err(|e| SysError::errno("set a thread's priority", e))?;
    Ok(())
}

/// Has the kernel kill the child that `command` will start when the thread that starts it ends, however that ends.
pub fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: prctl with these arguments is a system call that touches no memory of ours.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec only that system call is made, which is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(ask) };
}

/// A handle of one process, which the reuse of its pid does not deceive; the descriptor becomes readable when it ends.
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
    /// [`SysError::is_not_found`] when there is no such process.
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
        // Between the two calls the process may have ended and its pid gone to another.
        if watch.has_ended() {
            return Err(SysError::errno(what(), Errno::ESRCH));
        }
        Ok(watch)
    }

    /// The pid in the router's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When it began, in clock ticks since boot: with the pid, a name that is not used twice.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for its end, at most `timeout`; whether it has ended.
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

/// When a process began, in clock ticks since boot (`/proc/PID/stat`, field 22).
///
/// # Errors
/// [`SysError::is_not_found`] when there is no such process, and when it has ended and its parent has not asked yet how.
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

/// State and start time.
fn parse_start_time(stat: &str) -> Option<(u8, u64)> {
    // The command in field 2 may itself hold spaces and brackets: count from the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Makes this process the leader of a new session, so that closing the terminal does not end it.
///
/// # Errors
/// EPERM when it leads a process group already.
pub fn setsid() -> Result<(), SysError> {
    nix::unistd::setsid()
        .map(|_| ())
        .map_err(|e| SysError::errno("begin a new session", e))
}

/// Names this process in listings like those of `ps` and `pgrep`; of more than 15 bytes the rest is cut off.
///
/// # Errors
/// `name` has a zero byte.
pub fn set_name(name: &str) -> Result<(), SysError> {
    let what = || format!("name this process {name}");
    let text = CString::new(name).map_err(|_| SysError::errno(what(), Errno::EINVAL))?;
    nix::sys::prctl::set_name(&text).map_err(|e| SysError::errno(what(), e))
}

/// Asks a process to end (SIGTERM).
///
/// # Errors
/// ESRCH when it has ended already.
pub fn terminate(pid: i32) -> Result<(), SysError> {
    nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .map_err(|e| SysError::errno(format!("end process {pid}"), e))
}

/// The process that started this one, or the one that took its place when that ended.
pub fn parent() -> i32 {
    Pid::parent().as_raw()
}

/// A second handle of the file that standard error goes to.
///
/// # Errors
/// When descriptors run out.
pub fn stderr_file() -> io::Result<File> {
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// Turns standard error to `file`, for this whole process.
///
/// # Errors
/// When the system refuses.
pub fn set_stderr(file: &File) -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(file)?)
}

/// Least room for state: less is as good as none.
const ROOM: u64 = 64 * 1024;

/// What hinders writing files into a directory, in words: it is gone, on a read-only file system, or there is no room.
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

/// Whether a file of this user is as safe as one of our own: root's, and that of the user we are.
pub fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// The capabilities a router needs: number (linux/capability.h) and name.
const NEEDED: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (21, "CAP_SYS_ADMIN"),
];

/// Refuses to go on without the capabilities that a router needs.
///
/// # Errors
/// EPERM-like, naming those that are missing.
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

/// Gives up, for this thread and what it starts, all capabilities but those that acting on networks and entering network
/// namespaces need; for good, also in programs that are executed.
///
/// # Errors
/// EPERM without CAP_SETPCAP; then all is as it was.
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
            // The kernel knows no more of them.
            Err(Errno::EINVAL) => break,
            Err(e) => return Err(SysError::errno(what, e)),
        }
    }
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // Version 3 of linux/capability.h: effective, permitted, inheritable; 32 bits each, twice.
    let mut header = Header {
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

/// An exclusive lock on a file, released when dropped or when the process ends; the file stays.
#[derive(Debug)]
pub struct LockFile {
    lock: Flock<File>,
}

impl LockFile {
    /// Takes the lock, making the file if need be; none when another process holds it.
    ///
    /// # Errors
    /// The kernel's, as when the directory does not exist.
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
            // The previous holder may have removed the file in between: a lock of that one would keep nobody out.
            if there.is_some_and(|t| (t.dev(), t.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Some(Self { lock }));
            }
        }
    }

    /// Replaces the content of the file.
    ///
    /// # Errors
    /// The kernel's, as on a full disk.
    pub fn write(&self, text: &str) -> io::Result<()> {
        self.lock.set_len(0)?;
        (&*self.lock).write_all(text.as_bytes())
    }
}

/// Time since the machine was started, the same for all its processes, to 10 ms; none when `/proc` does not say.
pub fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Resident memory of this process, in bytes (0 when `/proc` does not say).
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
    fn only_what_networks_need_is_kept() {
        if crate::testing::needs_root("only_what_networks_need_is_kept") {
            return;
        }
        // Of a thread of its own, which ends with the test.
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
    fn a_command_name_with_brackets_does_not_deceive() {
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
    fn a_process_that_nobody_has_waited_for_yet_has_ended() {
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
