//! Containers, routers, engines and hosts that end and restart.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, HostObjects, wait_until, with_testbed};

use crate::{again, full_mesh, run, run_with};

#[test]
fn a_container_keeps_its_address_over_every_kind_of_restart() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        let far = run(bed.host(2), "10.2.1.2/24", "far")?;
        far.reaches(&run(host, "10.2.1.1/24", "near")?)?;
        let docker = |verb| host.docker(&[verb, "-t", "0", "near"])?.ok();
        for round in [
            "docker restart",
            "docker stop and start",
            "docker kill and mesh start",
            "mesh restart",
        ] {
            match round {
                "docker restart" => docker("restart")?,
                "docker stop and start" => {
                    docker("stop").and_then(|_| host.docker(&["start", "near"])?.ok())?
                }
                "docker kill and mesh start" => {
                    host.docker(&["kill", "near"])?.ok()?;
                    host.mesh(&["start", "near"])?.ok()?
                }
                _ => host.mesh(&["restart", "near"])?.ok()?,
            };
            let near = again(host, "near", "10.2.1.1/24").map_err(|e| e.context(round))?;
            far.reaches(&near).map_err(|e| e.context(round))?;
        }
        Ok(())
    })
}

#[test]
fn containers_outlive_their_router() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        let (near, far) = (
            run(host, "10.2.1.1/24", "near")?,
            run(bed.host(2), "10.2.1.2/24", "far")?,
        );
        near.reaches(&far)?;

        host.mesh(&["stop"])?.ok()?;
        host.launch(&[])?;
        near.reaches(&far)?;
        host.kill_router()?;
        host.launch(&[])?;
        near.reaches(&far)?;
        ensure!(host.ps()?.len() == 1, "{:?}", host.ps()?);

        // A container removed while the router is down.
        host.kill_router()?;
        host.docker(&["rm", "-f", "near"])?;
        host.launch(&[])?;
        wait_until(Duration::from_secs(10), "it is no longer listed", || {
            ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
            Ok(())
        })?;
        far.reaches(&run(host, "10.2.1.1/24", "next")?)
    })
}

#[test]
fn after_a_power_cut_containers_with_restart_always_are_back_on_the_mesh() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let far = run(one, "10.2.1.1/24", "far")?;
        far.reaches(&run_with(
            two,
            "10.2.1.2/24",
            "web",
            &["--restart", "always"],
        )?)?;
        two.crash()?;
        two.boot(false)?;
        // The order of the systemd units: first the router, then the engine.
        two.launch(&[])?;
        two.start_engine()?;
        far.reaches(&again(two, "web", "10.2.1.2/24")?)
    })
}

#[test]
fn an_engine_that_restarts_under_a_running_router_finds_it() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        run_with(host, "10.2.1.1/24", "web", &["--restart", "always"])?;
        host.shell("kill -TERM $(cat /run/docker.pid)")?.ok()?;
        wait_until(Duration::from_secs(20), "the engine ends", || {
            ensure!(host.exec(&["pgrep", "-x", "dockerd"])?.code != Some(0));
            Ok(())
        })?;
        host.start_engine()?;
        let web = again(host, "web", "10.2.1.1/24")?;
        run(host, "10.2.1.2/24", "other")?.reaches(&web)
    })
}

#[test]
fn what_the_engine_gave_up_without_its_driver_is_started() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let far = run(one, "10.2.1.1/24", "far")?;
        run_with(two, "10.2.1.2/24", "web", &["--restart", "always"])?;
        two.crash()?;
        two.boot(true)?;
        // dockerd retries for 15 s or more, or has already given up.
        two.launch(&[])?;
        let runs = || again(two, "web", "10.2.1.2/24");
        far.reaches(&wait_until(Duration::from_secs(60), "web is back", runs)?)
    })
}

#[test]
fn an_attached_container_is_back_on_the_mesh_after_each_restart() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let near = run(host, "10.2.1.1/24", "near")?;
        host.docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?
            .ok()?;
        host.mesh(&["attach", "10.2.1.2/24", "plain"])?.ok()?;
        for (who, verb) in [
            ("docker", vec!["restart", "-t", "0"]),
            ("mesh", vec!["restart"]),
        ] {
            let args = [verb, vec!["plain"]].concat();
            let restarted = if who == "docker" {
                host.docker(&args)
            } else {
                host.mesh(&args)
            };
            restarted?.ok()?;
            near.reaches(&again(host, "plain", "10.2.1.2/24")?)?;
        }
        // A stopped container can be started with another address.
        host.docker(&["stop", "-t", "0", "plain"])?.ok()?;
        host.mesh(&["detach", "plain"])?.ok()?;
        host.mesh(&["start", "10.2.1.3/24", "plain"])?.ok()?;
        near.reaches(&again(host, "plain", "10.2.1.3/24")?)
    })
}

#[test]
fn reset_leaves_nothing_in_the_engine_either() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        let before = HostObjects::take(host)?;
        host.launch(&[])?;
        run(host, "10.2.1.1/24", "web")?;
        host.docker(&["rm", "-f", "web"])?.ok()?;
        host.mesh(&["reset"])?.ok()?;
        HostObjects::take(host)?.same_as(&before)
    })
}

#[test]
fn reset_beside_running_containers_takes_what_is_of_the_mesh_only() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?
            .ok()?;
        let addresses = |name| host.docker(&["exec", name, "ip", "-o", "-4", "addr"])?.ok();
        let own = addresses("plain")?;
        for killed in [false, true] {
            let before = HostObjects::take(host)?;
            host.launch(&[])?;
            let both = [
                "run",
                "10.2.1.1/24",
                "10.2.1.2/24",
                "--name",
                "web",
                "ubuntu",
                "sleep",
                "1d",
            ];
            host.mesh(&both)?.ok()?;
            host.mesh(&["attach", "10.2.1.3/24", "plain"])?.ok()?;
            if killed {
                host.kill_router()?;
            }
            host.mesh(&["reset"])?.ok()?;
            ensure!(addresses("plain")? == own, "{}", addresses("plain")?);
            // It keeps running on Docker's own network.
            let left = addresses("web")?;
            ensure!(left.contains("eth0") && !left.contains("mesh"), "{left}");
            host.docker(&["rm", "-f", "web"])?.ok()?;
            HostObjects::take(host)?
                .same_as(&before)
                .map_err(|e| e.context(format!("killed: {killed}")))?;
        }
        Ok(())
    })
}
