//! The router as a systemd service: systemd then starts and stops it, and must be asked to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use mesh_options::DEFAULT_SOCKET;

/// Unit that `make install` installs.
const DEFAULT: &str = "mesh.service";
/// Exists if systemd is process 1 (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// A unit with its properties from systemd.
#[derive(Debug)]
pub(crate) struct Unit {
    name: String,
    properties: BTreeMap<String, String>,
}

impl Unit {
    /// Returns the unit that `make install` installs, if loaded.
    pub(crate) fn installed() -> Option<Self> {
        let unit = Self::ask(DEFAULT)?;
        (unit.property("LoadState") == "loaded").then_some(unit)
    }

    /// Returns the unit to stop along with the router on `socket`: the one whose main process is the router (`pid`), or
    /// the installed one while it starts or restarts the router.
    pub(crate) fn of(pid: Option<i32>, socket: &Path) -> Option<Self> {
        let of_pid = pid.and_then(unit_of_process);
        let names = of_pid.iter().map(String::as_str).chain([DEFAULT]);
        let units = names.filter_map(Self::ask);
        units.into_iter().find(|unit| {
            let main: Option<i32> = unit.property("MainPID").parse().ok();
            let is_main = pid.is_some() && main == pid;
            is_main || unit.is_starting() && unit.name == DEFAULT && is_default(socket)
        })
    }

    fn ask(name: &str) -> Option<Self> {
        if !Path::new(BOOTED).exists() {
            return None;
        }
        let output = Command::new("systemctl")
            .args([
                "show",
                "--property=LoadState,ActiveState,UnitFileState,MainPID",
            ])
            .arg(name)
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(Self {
            name: name.to_owned(),
            properties: parse(&String::from_utf8_lossy(&output.stdout)),
        })
    }

    fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    /// Returns the name of the unit, like `mesh.service`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// True if systemd starts the unit at boot.
    pub(crate) fn is_enabled(&self) -> bool {
        self.property("UnitFileState").starts_with("enabled")
    }

    /// True if the unit is starting, or waits for a restart.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.property("ActiveState"), "activating" | "reloading")
    }

    /// Stops the unit through systemd, and waits until it has stopped.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let output = Command::new("systemctl")
            .args(["stop", &self.name])
            .stdin(Stdio::null())
            .output()
            .context("cannot run systemctl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "the router is {}, which systemd does not stop: {}; try `systemctl stop {}`",
                self.name,
                said.trim(),
                self.name
            );
        }
        Ok(())
    }
}

fn is_default(socket: &Path) -> bool {
    socket == Path::new(DEFAULT_SOCKET)
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Returns the service whose cgroup the process is in. Login sessions opened by the service are in it, too, so callers
/// must check the main process.
fn unit_of_process(pid: i32) -> Option<String> {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut parts = cgroup.lines().flat_map(|line| line.rsplit('/'));
    parts
        .find(|part| part.ends_with(".service"))
        .map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_is_understood() {
        let unit = Unit {
            name: "mesh.service".to_owned(),
            properties: parse(
                "MainPID=812\nLoadState=loaded\nActiveState=activating\nUnitFileState=enabled-runtime\n",
            ),
        };
        assert!(unit.is_enabled() && unit.is_starting());
        assert_eq!(unit.property("MainPID"), "812");
        let other = Unit {
            properties: parse(
                "MainPID=0\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n",
            ),
            ..unit
        };
        assert!(!other.is_enabled() && !other.is_starting());
    }
}
