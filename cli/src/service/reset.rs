//! `mesh reset`: stops the router and makes it remove what it created.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use mesh_command::args::ResetArgs;
use mesh_command::service::{ConfigFile, Unit};
use mesh_options::DEFAULT_BRIDGE;
use mesh_proto::api::ipam::Left;
use mesh_proto::api::{Done, Report};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{ApiClient, ClientError};
use crate::output;
use crate::output::VerbResult;
use crate::router;
use crate::service::stop;
use crate::service::supervisor;
use crate::service::unit;

/// File in which a router that allocated addresses keeps them.
const JOURNAL: &str = "addresses";
/// Command for the other hosts when a router that owns addresses is gone.
const REMOVE: &str = "mesh rmpeer, with the name of this one";

/// Stops the router if it runs, then executes `mesh-router reset`.
pub(crate) fn reset(args: &ResetArgs, socket: Option<&Path>) -> VerbResult {
    let config = router::read_config(args.config.as_deref())?;
    let socket = config.socket(socket);
    let client = ApiClient::new(socket.clone())?;
    let bridge = bridge(args, &config, &client);
    let state_dir = config.state_dir(args.state_dir.as_deref());
    hand_over(&client, &state_dir, args.force)?;
    stop_or_kill(&client, args.force)?;

    let result = Command::new(router::program()?)
        .arg("reset")
        .arg("--state-dir")
        .arg(state_dir)
        .arg("--socket")
        .arg(socket)
        .arg("--bridge")
        .arg(bridge)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", router::PROGRAM))?;
    if args.verbose || !result.status.success() {
        output::print(&String::from_utf8_lossy(&result.stdout))?;
    }
    if !result.status.success() {
        output::complain(&format!(
            "{} reset failed ({}); fix the reported problem and reset again",
            router::PROGRAM,
            result.status
        ));
        return Ok(1);
    }
    if let Some(unit) = unit::installed().filter(Unit::is_enabled) {
        output::complain(&format!(
            "{} is enabled, so systemd starts a new router at the next boot; `systemctl disable {}` if it is not to",
            unit.name(),
            unit.name()
        ));
    }
    Ok(0)
}

/// Returns the bridge: as given, else as configured, else the running router's, else the default.
fn bridge(args: &ResetArgs, config: &ConfigFile, client: &ApiClient) -> String {
    let given = args.bridge.clone().or_else(|| config.bridge.clone());
    given.unwrap_or_else(|| match client.get::<Report>("/report") {
        Ok(report) => report.router.bridge,
        Err(_) => DEFAULT_BRIDGE.to_owned(),
    })
}

/// Makes the router, if it runs, hand its addresses over to others.
fn hand_over(client: &ApiClient, state_dir: &Path, force: bool) -> anyhow::Result<()> {
    let name = match client.get::<Report>("/report") {
        Ok(report) => report.router.nick_name,
        // No router runs; its addresses stay its own until it is removed elsewhere.
        Err(ClientError::NotRunning { .. }) => {
            if state_dir.join(JOURNAL).exists() {
                output::complain(&format!(
                    "the router does not run, so addresses that it owns are not handed over; on another host: {REMOVE}"
                ));
            }
            return Ok(());
        }
        Err(error) if force => {
            output::complain(&format!("{error}; on another host: {REMOVE}"));
            return Ok(());
        }
        Err(error) => return Err(forcible(error.into())),
    };
    match client.post::<Left>("/ipam/leave", &Done {}) {
        Ok(Left { orphaned, others }) if orphaned > 0 && others > 0 => output::complain(&format!(
            "not all of its addresses could be handed over in time; on another host: mesh rmpeer {name}"
        )),
        Ok(_) => {}
        Err(error) if force => output::complain(&format!(
            "{error}; its addresses are not handed over, so on another host: mesh rmpeer {name}"
        )),
        Err(error) => return Err(forcible(error.into())),
    }
    Ok(())
}

fn forcible(error: anyhow::Error) -> anyhow::Error {
    error.context("not reset; `mesh reset --force` goes on anyway")
}

fn stop_or_kill(client: &ApiClient, force: bool) -> anyhow::Result<()> {
    let error = match stop::stop_if_running(client) {
        Ok(_) => return Ok(()),
        Err(error) if force => error,
        Err(error) => return Err(forcible(error)),
    };
    output::complain(&format!("{error:#}; killing it"));
    if let Some(supervisor) = supervisor::find(client.socket()) {
        supervisor::kill_at_once(supervisor);
    }
    // The listener on the socket is the router. A pid of 0 or 1 would signal this process group or init.
    if let Ok(pid) = client.pid()
        && pid > 1
    {
        kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("cannot kill {pid}"))?;
    }
    Ok(())
}
