//! `mesh stop`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use mesh_proto::api::Done;

use crate::client::{ApiClient, ClientError};
use crate::output;
use crate::output::VerbResult;
use crate::service::supervisor;
use crate::service::unit;

/// Time within which the router must end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Stops the router and waits until it is gone. If none runs, a message says so; that is not a failure.
pub(crate) fn stop(client: &ApiClient) -> VerbResult {
    if !stop_if_running(client)? {
        output::complain("mesh is not running");
    }
    Ok(0)
}

/// Stops the router, and the supervisor or unit that would restart it. Returns true if any of them ran.
pub(crate) fn stop_if_running(client: &ApiClient) -> anyhow::Result<bool> {
    let pid = running(client)?;
    let unit = unit::of(pid, client.socket());
    if let Some(unit) = &unit {
        unit::stop(unit)?;
        if let (Some(pid), None) = (pid, running(client)?) {
            wait_until_gone(client, pid)?;
        }
    }
    let supervisor = supervisor::find(client.socket());
    let pid = running(client)?;
    if pid.is_some() {
        match client.post::<Done>("/stop", &Done {}) {
            // The router may end before its answer arrives.
            Ok(Done {}) | Err(ClientError::NotRunning { .. } | ClientError::Broken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(supervisor) = supervisor {
        // The supervisor ends with the router; but the router may have just crashed, and would be restarted.
        supervisor::terminate(supervisor);
    }
    if let Some(pid) = pid {
        wait_until_gone(client, pid)?;
    }
    if let Some(supervisor) = supervisor {
        wait_for_supervisor(supervisor)?;
    }
    Ok(pid.is_some() || supervisor.is_some() || unit.is_some())
}

fn running(client: &ApiClient) -> anyhow::Result<Option<i32>> {
    match client.pid() {
        Ok(pid) => Ok(Some(pid)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn wait_for_supervisor(pid: i32) -> anyhow::Result<()> {
    let began = Instant::now();
    while supervisor::is_one(pid) && is_alive(pid) {
        if began.elapsed() >= STOP_DEADLINE {
            bail!(
                "the process that starts the router again (pid {pid}) did not end within {} s; `kill {pid}`",
                STOP_DEADLINE.as_secs()
            );
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn wait_until_gone(client: &ApiClient, pid: i32) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < STOP_DEADLINE {
        let silent = matches!(client.pid(), Err(ClientError::NotRunning { .. }));
        if silent && !is_alive(pid) {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    bail!(
        "the router (pid {pid}) did not stop within {} s; see its log, or `kill {pid}`",
        STOP_DEADLINE.as_secs()
    )
}

/// True if the process still holds resources: a zombie does not.
fn is_alive(pid: i32) -> bool {
    if pid <= 0 || pid.unsigned_abs() == std::process::id() {
        return false;
    }
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_waiting_to_be_reaped_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(is_alive(pid));
        child.kill().unwrap();
        let began = Instant::now();
        while is_alive(pid) && began.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!is_alive(pid));
        child.wait().unwrap();
        assert!(!is_alive(0));
    }
}
