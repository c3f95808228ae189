//! Network namespaces: creation, opening, entering.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::SysError;

/// Directory in which `ip netns` keeps namespaces.
const NETNS_DIR: &str = "/run/netns";

/// Open network namespace, which lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

/// Identity of a namespace: equal for two handles of the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl Netns {
    /// Opens the namespace bound or linked at `path`.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if the path does not exist; invalid input if it is no network namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SysError> {
        let path = path.as_ref().to_owned();
        let what = || format!("open network namespace {}", path.display());
        let file = File::open(&path).map_err(|e| SysError::new(what(), e))?;
        let magic = nix::sys::statfs::fstatfs(&file).map_err(|e| SysError::errno(what(), e))?;
        if magic.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
            return Err(SysError::other(what(), "it is not a namespace"));
        }
        Ok(Self { file, path })
    }

    /// Opens a namespace by name, as given by `ip netns` and [`Netns::create_named`].
    ///
    /// # Errors
    /// Like [`Netns::open`].
    pub fn open_named(name: &str) -> Result<Self, SysError> {
        Self::open(named_path(name)?)
    }

    /// Opens the namespace of a process.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if there is no such process.
    pub fn of_pid(pid: i32) -> Result<Self, SysError> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Opens the calling thread's namespace.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if /proc is not mounted.
    pub fn current() -> Result<Self, SysError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Creates a namespace with a name, like `ip netns add`, and brings its loopback up.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if the name is taken; EPERM without CAP_SYS_ADMIN.
    pub fn create_named(name: &str) -> Result<Self, SysError> {
        let path = named_path(name)?;
        let what = format!("create network namespace {name}");
        share_netns_dir().map_err(|e| SysError::new(&*what, e))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| SysError::new(&*what, e))?;
        let bound = on_fresh_thread(|| bind_new_namespace(&path));
        if let Err(e) = bound {
            // The file is a mount point without a mount, which is useless.
            let _ = std::fs::remove_file(&path);
            return Err(SysError::errno(what, e));
        }
        Self::open(path)
    }

    /// Removes the name of a namespace. Returns true if it existed. The namespace itself ends with its last user.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn delete_named(name: &str) -> Result<bool, SysError> {
        let path = named_path(name)?;
        let what = format!("delete network namespace {name}");
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(SysError::errno(what, e)),
        }
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(SysError::new(what, e)),
        }
    }

    /// Runs `f` on a new thread inside the namespace and returns its result; a panic is propagated to the caller.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    pub fn run_in<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, SysError> {
        on_fresh_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .map_err(|e| SysError::errno(format!("enter {}", self.path.display()), e))?;
            Ok(f())
        })
    }

    /// Returns the identity of the namespace, for comparison.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn id(&self) -> Result<NetnsId, SysError> {
        let meta = self
            .file
            .metadata()
            .map_err(|e| SysError::new(format!("identify {}", self.path.display()), e))?;
        Ok(NetnsId {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Returns the path from which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `f` on a thread of its own, so that changes of the thread's namespaces end with it.
fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn named_path(name: &str) -> Result<PathBuf, SysError> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') || name.contains('\0') {
        return Err(SysError::other(
            format!("use '{name}' as the name of a network namespace"),
            "it must not be empty, begin with '.' or contain '/'",
        ));
    }
    Ok(Path::new(NETNS_DIR).join(name))
}

fn bind_new_namespace(path: &Path) -> Result<(), Errno> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNET)?;
    if let Ok(mut netlink) = crate::netlink::Netlink::open() {
        // The loopback has index 1 in every new namespace; programs expect it to be up.
        let _ = netlink.link().set_up(1);
    }
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        NONE,
        MsFlags::MS_BIND,
        NONE,
    )
}

/// Makes /run/netns a shared mount, so that names appear and disappear in other mount namespaces, too.
fn share_netns_dir() -> io::Result<()> {
    const NONE: Option<&str> = None;
    std::fs::create_dir_all(NETNS_DIR)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    match mount(Some("none"), NETNS_DIR, NONE, shared, NONE) {
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(NETNS_DIR), NETNS_DIR, NONE, bind, NONE)?;
            mount(Some("none"), NETNS_DIR, NONE, shared, NONE)?;
            Ok(())
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", ".", "..", "a/b", ".hidden", "a\0b"] {
            assert!(named_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_not_a_namespace() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Netns::open(file.path()).unwrap_err();
        assert!(error.to_string().contains("not a namespace"), "{error}");
        assert!(
            Netns::open("/run/netns/surely-not")
                .unwrap_err()
                .is_not_found()
        );
    }

    #[test]
    fn named_namespaces_come_and_go() {
        if needs_root("named_namespaces_come_and_go") {
            return;
        }
        let named = NamedNetns::new();
        let again = Netns::open_named(&named.name).unwrap();
        assert_eq!(again.id().unwrap(), named.netns.id().unwrap());
        let here = Netns::current().unwrap().id().unwrap();
        assert_ne!(here, again.id().unwrap());
        let inside = again.run_in(|| Netns::current().unwrap().id().unwrap());
        assert_eq!(inside.unwrap(), again.id().unwrap());
        assert_eq!(here, Netns::current().unwrap().id().unwrap());
        assert!(Netns::create_named(&named.name).unwrap_err().is_exists());
        assert!(Netns::delete_named(&named.name).unwrap());
        assert!(!Netns::delete_named(&named.name).unwrap());
    }

    #[test]
    fn a_panic_inside_reaches_the_caller() {
        if needs_root("a_panic_inside_reaches_the_caller") {
            return;
        }
        let here = Netns::current().unwrap();
        let caught = std::panic::catch_unwind(|| here.run_in(|| panic!("inside")));
        assert!(caught.is_err());
    }
}
