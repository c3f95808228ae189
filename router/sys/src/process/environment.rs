//! Environment variables: secrets are removed from that of this process, and programs that it runs get only the
//! variables they need.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use nix::libc;

/// Variables passed on if they are set: paths, and settings of podman and iptables.
const PASSED: [&str; 8] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
];
/// Prefixes of the names of further variables.
const PASSED_PREFIXES: [&str; 3] = ["XDG_", "CONTAINER", "XTABLES_"];
/// Search path of programs if none is set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns a command in the locale `C`, with the variables it may need and none that may hold a secret.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", DEFAULT_PATH);
    let passed = std::env::vars_os().filter(|(name, _)| is_passed(name));
    command.envs(passed).env("LC_ALL", "C");
    command
}

fn is_passed(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Removes a variable from this process's environment and returns it. Its value is overwritten there, so that
/// `/proc/PID/environ` and programs started later do not show it. To be called before there is a second thread.
pub fn take(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    let key = CString::new(name).ok()?;
    // SAFETY: the caller has no second thread, so nobody else reads or changes the environment. `getenv` gives null
    // or a terminated string in memory of this process that may be written; its length is that of the copy made
    // above.
    unsafe {
        let at = libc::getenv(key.as_ptr());
        if !at.is_null() {
            let length = libc::strlen(at).min(value.as_bytes().len());
            for offset in 0..length {
                at.add(offset).write_volatile(0);
            }
        }
        std::env::remove_var(name);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_variables_they_need_only() {
        for (name, passed) in [
            ("PATH", true),
            ("CONTAINERS_CONF", true),
            ("XDG_RUNTIME_DIR", true),
            ("MESH_PASSWORD", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("LD_PRELOAD", false),
        ] {
            assert_eq!(is_passed(OsStr::new(name)), passed, "{name}");
        }
        let output = command("env").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("PATH=") && said.contains("LC_ALL=C"),
            "{said}"
        );
        assert!(!said.contains("CARGO"), "{said}");
    }

    /// In a process of its own, because tests run in threads.
    #[test]
    fn a_removed_variable_is_invisible() {
        const MARK: &str = "MESH_TEST_OF_TAKE";
        if std::env::var_os(MARK).is_none() {
            let done = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "--test-threads=1",
                    "process::environment::tests::a_removed_variable_is_invisible",
                ])
                .env(MARK, "needle-in-the-hay")
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            return;
        }
        assert_eq!(take(MARK).unwrap(), "needle-in-the-hay");
        assert!(take(MARK).is_none());
        let environ = std::fs::read("/proc/self/environ").unwrap();
        let environ = String::from_utf8_lossy(&environ);
        assert!(!environ.contains("needle"), "{environ}");
        // A failure is reported by the exit status.
    }
}
