//! An /etc/resolv.conf for one command, bind-mounted over the host's in a private mount namespace.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use mesh_command::dns::resolv_conf;
use mesh_proto::api::DnsClient;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::preparation::Preparation;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const NONE: Option<&str> = None;

/// Text of the file, and the directory to create it in.
pub(crate) struct ResolvConf {
    text: String,
    /// Directory of the router's socket, a file system that lasts until the next boot.
    dir: PathBuf,
}

impl ResolvConf {
    /// Returns the resolv.conf for a preparation; `None` if the command is not to query the router.
    pub(crate) fn of(preparation: &Preparation<'_>) -> Option<Self> {
        let dir = preparation.client().socket().parent();
        Self::new(
            &preparation.prepared().dns,
            dir.unwrap_or(Path::new("/run")),
        )
    }

    fn new(dns: &DnsClient, dir: &Path) -> Option<Self> {
        Some(Self {
            text: resolv_conf(dns)?,
            dir: dir.to_owned(),
        })
    }

    /// Mounts the file for the calling thread and its future children.
    ///
    /// Fails if the host has no such file to mount over.
    pub(crate) fn put(&self) -> anyhow::Result<()> {
        let draft = ResolvDraft::write(&self.dir, &self.text)?;
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|e| anyhow!("cannot make a mount namespace: {e}"))?;
        // Mounts of the host propagate into the namespace, but ours do not propagate back.
        mount(NONE, "/", NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE)
            .map_err(|e| anyhow!("cannot make mounts private: {e}"))?;
        mount(Some(&draft.path), RESOLV_CONF, NONE, MsFlags::MS_BIND, NONE).map_err(|e| {
            anyhow!(
                "cannot bind {} over {RESOLV_CONF}: {e}",
                draft.path.display()
            )
        })
    }
}

/// Temporary file with a random name. The name is removed on drop; a bind mount of it stays.
struct ResolvDraft {
    path: PathBuf,
}

impl ResolvDraft {
    fn write(dir: &Path, text: &str) -> anyhow::Result<Self> {
        let random = getrandom::u64().map_err(|e| anyhow!("no randomness from the system: {e}"))?;
        let path = dir.join(format!("resolv-{random:016x}.conf"));
        let cannot = || format!("cannot make {}", path.display());
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).open(&path);
        let mut file = file.with_context(cannot)?;
        let draft = Self { path: path.clone() };
        file.write_all(text.as_bytes()).with_context(cannot)?;
        // Readable by any user that the command runs as, whatever the umask.
        let all = Permissions::from_mode(0o644);
        file.set_permissions(all).with_context(cannot)?;
        Ok(draft)
    }
}

impl Drop for ResolvDraft {
    fn drop(&mut self) {
        // If it remains, it is a few bytes until the next boot.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn it_is_made_only_to_ask_the_router_and_beside_its_socket() {
        let dir = Path::new("/run/mesh");
        let mut dns = DnsClient {
            search: "mesh.local".into(),
            ..DnsClient::default()
        };
        assert!(ResolvConf::new(&dns, dir).is_none());
        dns.inside = Some("127.0.0.12".parse().unwrap());
        let conf = ResolvConf::new(&dns, dir).unwrap();
        assert_eq!(conf.text, "nameserver 127.0.0.12\nsearch mesh.local\n");
        assert_eq!(conf.dir, dir);
    }

    #[test]
    fn a_draft_is_readable_for_all_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let draft = ResolvDraft::write(dir.path(), "text").unwrap();
        assert_eq!(std::fs::read_to_string(&draft.path).unwrap(), "text");
        let mode = std::fs::metadata(&draft.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        drop(draft);
        assert_eq!(names(dir.path()), 0);
        let nowhere = dir.path().join("no");
        let error = ResolvDraft::write(&nowhere, "text").err().unwrap();
        assert!(error.to_string().contains("cannot make"), "{error}");
    }

    #[test]
    fn it_is_seen_by_this_thread_only_and_leaves_no_file() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let conf = ResolvConf {
            text: "nameserver 127.0.0.12\n".into(),
            dir: dir.path().to_owned(),
        };
        let before = std::fs::read_to_string(RESOLV_CONF).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                conf.put().unwrap();
                std::fs::read_to_string(RESOLV_CONF).unwrap()
            });
            assert_eq!(inside.join().unwrap(), conf.text);
        });
        assert_eq!(std::fs::read_to_string(RESOLV_CONF).unwrap(), before);
        assert_eq!(names(dir.path()), 0);
    }
}
