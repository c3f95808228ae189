//! Restarts after a crash, without a service manager.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, stays, wait_until, with_testbed};

use super::{SOON, warns};

/// Kills the router alone, and waits for the next one.
fn crash(host: &TestbedHost) -> Result<()> {
    let old = host.router_pid()?;
    host.exec(&["kill", "-KILL", &old])?.ok()?;
    wait_until(SOON, "another router answers", || {
        ensure!(host.router_pid()? != old);
        host.report().map(drop)
    })
}

fn supervisors(host: &TestbedHost) -> Result<usize> {
    let pids = host.exec(&["pgrep", "-x", "mesh-supervisor"])?;
    Ok(pids.stdout.lines().count())
}

#[test]
fn a_router_that_crashed_is_started_again_as_it_was() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.launch(&[])?;
        two.launch(&["host1", "192.0.2.1"])?;
        two.wait_connections(1)?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        b.reaches(&a)?;
        two.mesh(&["forget", "192.0.2.1"])?.ok()?;
        for _ in 0..2 {
            crash(two)?;
            two.wait_connections(1)?;
            b.reaches(&a)?;
        }
        let router = two.report()?.router;
        ensure!(router.targets == ["host1"], "{:?}", router.targets);
        ensure!(
            router.restart.contains("after a crash"),
            "{}",
            router.restart
        );
        let log = two.shell("cat /var/lib/mesh/router.log")?.ok()?;
        ensure!(
            log.matches("was ended by signal 9; it is started again")
                .count()
                == 2,
            "{log}"
        );
        ensure!(supervisors(two)? == 1);
        two.mesh(&["launch"])?.refused()?;

        two.mesh(&["stop"])?.ok()?;
        ensure!(two.router_pid().is_err() && supervisors(two)? == 0);
        ensure!(two.exec(&["ls", "/run/mesh"])?.ok()?.is_empty());
        Ok(())
    })
}

#[test]
fn nothing_stands_in_the_way_if_either_of_the_two_is_killed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.exec(&["pkill", "-KILL", "-x", "mesh-supervisor"])?
            .ok()?;
        warns(host, "starts this router again after a crash is gone", true)?;
        host.mesh(&["stop"])?.ok()?;

        // Both are killed, as by a power failure; after the next launch a crash is handled as before.
        host.launch(&[])?;
        host.kill_router()?;
        host.launch(&[])?;
        crash(host)?;
        // `stop` ends the supervisor while the router cannot start.
        host.shell("mv /var/lib/mesh/identity /run/testbed/; mkdir /var/lib/mesh/identity")?
            .ok()?;
        let pid = host.router_pid()?;
        host.exec(&["kill", "-KILL", &pid])?.ok()?;
        wait_until(SOON, "it was tried in vain", || {
            host.shell("grep -q 'ended with status 1' /var/lib/mesh/router.log")?
                .ok()
        })?;
        let message = host.mesh(&["launch"])?.refused()?;
        ensure!(message.contains("mesh stop"), "{message}");
        host.mesh(&["stop"])?.ok()?;
        ensure!(supervisors(host)? == 0 && host.router_pid().is_err());
        host.shell("rmdir /var/lib/mesh/identity; mv /run/testbed/identity /var/lib/mesh/")?
            .ok()?;

        // A refused start is not retried.
        host.mesh(&["launch", "--key-file", "/etc/mesh/missing"])?
            .refused()?;
        ensure!(supervisors(host)? == 0);

        host.launch(&["--no-restart"])?;
        ensure!(host.report()?.router.restart.contains("--no-restart"));
        ensure!(supervisors(host)? == 0);
        let pid = host.router_pid()?;
        host.exec(&["kill", "-KILL", &pid])?.ok()?;
        stays(
            std::time::Duration::from_secs(2),
            "nobody starts it",
            || {
                // It may take a moment to end, and does so between two questions.
                ensure!(host.router_pid().map_or(true, |now| now == pid));
                Ok(())
            },
        )?;
        host.launch(&[])?;
        host.mesh(&["reset", "--force"])?.ok()?;
        ensure!(supervisors(host)? == 0 && host.router_pid().is_err());
        Ok(())
    })
}
