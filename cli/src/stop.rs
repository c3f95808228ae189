//! `mesh stop`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use mesh_proto::api::Done;

use crate::Outcome;
use crate::client::{Client, ClientError};
use crate::output;

/// How long the router may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Stops the router and waits until it is gone. That none runs is said, and is no failure.
pub(crate) fn stop(client: &Client) -> Outcome {
    if !stop_if_running(client)? {
        output::complain("mesh is not running");
    }
    Ok(0)
}

/// Stops the router if one runs; says whether one did.
pub(crate) fn stop_if_running(client: &Client) -> anyhow::Result<bool> {
    let pid = match client.pid() {
        Ok(pid) => pid,
        Err(ClientError::NotRunning { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    match client.post::<Done>("/stop", &Done {}) {
        // The router may end before its answer is through.
        Ok(Done {}) | Err(ClientError::NotRunning { .. } | ClientError::Broken { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    wait_until_gone(client, pid)?;
    Ok(true)
}

fn wait_until_gone(client: &Client, pid: i32) -> anyhow::Result<()> {
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

/// Whether the process still holds anything: one that only waits to be reaped does not.
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
