//! The way in which this router was started, and the restart policy after a crash.

use crate::config::Args;

/// Way in which this router was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartMode {
    /// True if it runs in the background (`mesh launch`).
    pub daemon: bool,
    /// True if only the stored targets are used.
    pub resume: bool,
    /// Pid of the supervisor, which restarts the router after a crash.
    pub supervisor: Option<i32>,
    /// True if this is a restart after a crash.
    pub again: bool,
}

/// Restart policy after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// By the supervisor, with its pid.
    Supervisor(i32),
    /// By systemd, with the name of the unit.
    Unit(String),
    /// Left to the caller, which started it in the foreground.
    Foreground,
    /// None, by the operator's choice.
    Nobody,
}

impl StartMode {
    /// Returns the way that the command line tells.
    pub fn of(args: &Args) -> Self {
        Self {
            daemon: args.daemon,
            resume: args.resume,
            supervisor: args.supervised.then(mesh_sys::process::parent),
            again: args.again,
        }
    }

    /// True if a user waits for the start and can fix errors: mistakes are then refused. An automatic start goes on
    /// with a warning instead.
    pub fn is_by_hand(&self) -> bool {
        self.daemon && !self.again
    }

    /// Returns the restart policy.
    pub fn restart(&self) -> Restart {
        if let Some(pid) = self.supervisor {
            return Restart::Supervisor(pid);
        }
        if self.daemon {
            return Restart::Nobody;
        }
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        match unit_of(&cgroup).filter(|_| is_main_process()) {
            Some(unit) => Restart::Unit(unit.to_owned()),
            None => Restart::Foreground,
        }
    }
}

impl Restart {
    /// Returns the policy as text, for `mesh status`.
    pub fn words(&self) -> String {
        match self {
            Self::Supervisor(pid) if self.is_there() => format!("after a crash (by process {pid})"),
            Self::Supervisor(_) => "none (the process that did it is gone)".to_owned(),
            Self::Unit(unit) => format!("by systemd ({unit})"),
            Self::Foreground => "left to the process that started it (--foreground)".to_owned(),
            Self::Nobody => "none (--no-restart)".to_owned(),
        }
    }

    /// Returns a warning if the supervisor is gone.
    pub fn warning(&self) -> Option<String> {
        (!self.is_there()).then(|| {
            "the process that starts this router again after a crash is gone; `mesh stop` and `mesh launch` start both"
                .to_owned()
        })
    }

    fn is_there(&self) -> bool {
        match self {
            // Orphans get another parent.
            Self::Supervisor(pid) => mesh_sys::process::parent() == *pid,
            _ => true,
        }
    }
}

/// True if systemd started this very process (systemd.exec(5); versions before 248 set no pid, but are its parent,
/// process 1).
fn is_main_process() -> bool {
    let own = std::process::id().to_string();
    match std::env::var("SYSTEMD_EXEC_PID") {
        Ok(pid) => pid == own,
        Err(_) => std::env::var_os("INVOCATION_ID").is_some() && mesh_sys::process::parent() == 1,
    }
}

/// Returns the service from `/proc/PID/cgroup`: the last part of systemd's path.
fn unit_of(cgroup: &str) -> Option<&str> {
    let paths = cgroup.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    let mut units = paths.filter_map(|path| path.rsplit('/').find(|p| p.ends_with(".service")));
    units.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_found_in_either_kind_of_cgroup() {
        for (text, unit) in [
            ("0::/system.slice/mesh.service\n", Some("mesh.service")),
            (
                "2:cpu:/\n1:name=systemd:/system.slice/mesh@a.service\n0::/\n",
                Some("mesh@a.service"),
            ),
            ("0::/system.slice/mesh.service/sub\n", Some("mesh.service")),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("3:cpu:/docker/x.service\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(text), unit, "{text}");
        }
    }

    #[test]
    fn who_starts_it_again_is_said() {
        let manner = StartMode {
            daemon: true,
            resume: false,
            supervisor: None,
            again: false,
        };
        assert_eq!(manner.restart().words(), "none (--no-restart)");
        let parent = mesh_sys::process::parent();
        let supervised = StartMode {
            supervisor: Some(parent),
            ..manner
        };
        assert_eq!(supervised.restart().warning(), None);
        let gone = Restart::Supervisor(parent + 1);
        assert!(gone.words().contains("gone"));
        assert!(gone.warning().unwrap().contains("mesh launch"));
        assert!(manner.is_by_hand());
        let again = StartMode {
            again: true,
            ..manner
        };
        assert!(!again.is_by_hand());
    }
}
