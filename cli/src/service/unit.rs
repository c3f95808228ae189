//! The router as a systemd service: systemd then starts and stops it, and must be asked to.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use mesh_command::service::{Unit, unit_of_cgroup};
use mesh_options::DEFAULT_SOCKET;

/// Unit that `make install` installs.
const DEFAULT: &str = "mesh.service";
/// Exists if systemd is process 1 (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// Returns the unit that `make install` installs, if loaded.
pub(crate) fn installed() -> Option<Unit> {
    ask(DEFAULT).filter(Unit::is_loaded)
}

/// Returns the unit to stop along with the router on `socket`: the one whose main process is the router (`pid`), or the
/// installed one while it starts or restarts the router.
pub(crate) fn of(pid: Option<i32>, socket: &Path) -> Option<Unit> {
    let of_pid = pid.and_then(unit_of_process);
    let names = of_pid.iter().map(String::as_str).chain([DEFAULT]);
    let mut units = names.filter_map(ask);
    units.find(|unit| {
        let is_main = pid.is_some_and(|pid| unit.has_main(pid));
        is_main || unit.is_starting() && unit.name() == DEFAULT && is_default(socket)
    })
}

/// Stops a unit through systemd, and waits until it has stopped.
pub(crate) fn stop(unit: &Unit) -> anyhow::Result<()> {
    let name = unit.name();
    let output = Command::new("systemctl")
        .args(["stop", name])
        .stdin(Stdio::null())
        .output()
        .context("cannot run systemctl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "the router is {name}, which systemd does not stop: {}; try `systemctl stop {name}`",
            said.trim()
        );
    }
    Ok(())
}

fn ask(name: &str) -> Option<Unit> {
    if !Path::new(BOOTED).exists() {
        return None;
    }
    let output = Command::new("systemctl")
        .args(["show", &format!("--property={}", Unit::PROPERTIES)])
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(Unit::parse(name, &String::from_utf8_lossy(&output.stdout)))
}

fn is_default(socket: &Path) -> bool {
    socket == Path::new(DEFAULT_SOCKET)
}

/// Returns the service whose cgroup the process is in.
fn unit_of_process(pid: i32) -> Option<String> {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    unit_of_cgroup(&cgroup).map(ToOwned::to_owned)
}
