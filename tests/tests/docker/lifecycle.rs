//! Containers, routers, engines and hosts that end and come back.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Setup, Snapshot, wait_until, with_testbed};

use crate::{again, full_mesh, run, run_with};

#[test]
fn a_container_keeps_its_address_over_every_kind_of_restart() -> Result<()> {
    with_testbed(&Setup::hosts(2).engines(), |bed| {
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
    with_testbed(&Setup::hosts(2).engines(), |bed| {
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

        // A container that is removed while the router is away.
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
    with_testbed(&Setup::hosts(2).engines(), |bed| {
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
        // The order of the systemd unit: first the router, then the engine.
        two.launch(&[])?;
        two.start_engine()?;
        far.reaches(&again(two, "web", "10.2.1.2/24")?)
    })
}

#[test]
fn an_engine_that_restarts_under_a_running_router_finds_it() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
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
fn reset_leaves_nothing_in_the_engine_either() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        let before = Snapshot::take(host)?;
        host.launch(&[])?;
        run(host, "10.2.1.1/24", "web")?;
        host.docker(&["rm", "-f", "web"])?.ok()?;
        host.mesh(&["reset"])?.ok()?;
        Snapshot::take(host)?.same_as(&before)
    })
}
