//! A router as a systemd service, with systemd replaced by a script.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use super::{SOON, program, with_programs};

/// Installs a fake `systemctl`: `show` prints the contents of files; `stop` ends the main process, like systemd.
fn play_systemd(host: &TestbedHost) -> Result<()> {
    host.shell("mkdir -p /run/systemd/system; echo 0 >/run/testbed/main; echo inactive >/run/testbed/active")?
        .ok()?;
    program(
        host,
        "systemctl",
        "cd /run/testbed; echo \"$*\" >>asked
         case $1 in
         show) echo LoadState=loaded; echo UnitFileState=enabled; echo MainPID=$(cat main); echo ActiveState=$(cat active);;
         stop) [ $(cat main) = 0 ] || kill $(cat main); echo inactive >active; echo 0 >main;;
         esac",
    )
}

/// Starts the unit's process, as with `Type=notify`.
fn start_service(host: &TestbedHost) -> Result<mesh_tests::Background> {
    let line = "echo $$ >/run/testbed/main; echo active >/run/testbed/active; \
                SYSTEMD_EXEC_PID=$$ exec mesh launch --foreground 2>/dev/null";
    let service = host.shell_in_background(line)?;
    wait_until(SOON, "the service answers", || host.report().map(drop))?;
    Ok(service)
}

/// What systemd must not do: give up a router that ends often, or one that starts slowly, and with it all containers.
#[test]
fn the_unit_gives_no_router_up() -> Result<()> {
    let unit = include_str!("../../../../packaging/mesh.service");
    for line in [
        "StartLimitIntervalSec=0",
        "TimeoutStartSec=infinity",
        "Restart=on-failure",
        "Type=notify",
        "KillMode=process",
        "Before=docker.service",
    ] {
        ensure!(unit.lines().any(|there| there == line), "{line}: {unit}");
    }
    ensure!(!unit.contains("network-online.target"), "{unit}");
    Ok(())
}

#[test]
fn stop_and_reset_end_the_unit_and_launch_says_that_there_is_one() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        play_systemd(host)?;
        let asked = || {
            host.shell("cat /run/testbed/asked; : >/run/testbed/asked")?
                .ok()
        };
        for verb in ["stop", "reset"] {
            let service = start_service(host)?;
            let message = host.shell(&with_programs("mesh launch"))?.refused()?;
            ensure!(message.contains("already running"), "{message}");
            let ended = host.shell(&with_programs(&format!("mesh {verb}")))?;
            ended.clone().ok()?;
            ensure!(asked()?.contains("stop mesh.service"), "{verb}");
            ensure!(host.router_pid().is_err(), "{verb}");
            ensure!(
                ended.stderr.contains("enabled") == (verb == "reset"),
                "{ended}"
            );
            drop(service);
        }
        // systemd delays the restart after a crash.
        host.shell("echo activating >/run/testbed/active")?.ok()?;
        let message = host.shell(&with_programs("mesh launch"))?.refused()?;
        ensure!(
            message.contains("systemd is starting the router"),
            "{message}"
        );
        let ended = host.shell(&with_programs("mesh stop"))?;
        ensure!(ended.code == Some(0) && ended.stderr.is_empty(), "{ended}");
        ensure!(asked()?.contains("stop mesh.service"));

        // A router started by hand belongs to no unit.
        let launched = host.shell(&with_programs("mesh launch"))?;
        launched.clone().ok()?;
        ensure!(
            launched.stderr.contains("mesh.service is enabled, too"),
            "{launched}"
        );
        host.shell(&with_programs("mesh stop"))?.ok()?;
        ensure!(!asked()?.contains("stop"));
        Ok(())
    })
}
