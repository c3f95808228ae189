//! Changes made in Docker without the router's knowledge, and their repair.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::{again, is_id, run, run_with};

#[test]
fn containers_stay_usable_whatever_is_done_with_docker_alone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        networks_are_there_for_stopped_containers(host).context("networks")?;
        an_address_that_is_not_there_is_no_success(host).context("addresses")?;
        docker_may_connect_by_itself(host).context("connect")?;
        an_address_is_free_as_soon_as_docker_says_so(host).context("free")
    })
}

/// `docker network prune` removes networks that stopped containers need.
fn networks_are_there_for_stopped_containers(host: &TestbedHost) -> Result<()> {
    run(host, "10.2.1.1/24", "one")?;
    run_with(host, "10.2.1.2/24", "two", &["--network", "none"])?;
    let docker = |words: &[&str]| host.docker(words)?.ok();
    docker(&["stop", "-t", "0", "one", "two"])?;
    docker(&["network", "prune", "-f"])?;
    docker(&["start", "one", "two"])?;
    let one = again(host, "one", "10.2.1.1/24")?;
    one.reaches(&again(host, "two", "10.2.1.2/24")?)?;
    docker(&["stop", "-t", "0", "one", "two"])?;
    docker(&["network", "rm", "mesh"])?;
    docker(&["start", "one"])?;
    again(host, "one", "10.2.1.1/24")?;
    // While no router runs, the network stays missing; the next router creates it.
    docker(&["stop", "-t", "0", "one"])?;
    host.mesh(&["stop"])?.ok()?;
    docker(&["network", "prune", "-f"])?;
    host.launch(&[])?;
    host.mesh(&["start", "one"])?.ok()?;
    let one = again(host, "one", "10.2.1.1/24")?;
    docker(&["start", "two"])?;
    one.reaches(&again(host, "two", "10.2.1.2/24")?)?;
    // A stopped container can be detached, and then starts without the mesh.
    docker(&["stop", "-t", "0", "one"])?;
    let printed = host.mesh(&["detach", "one"])?.ok()?;
    ensure!(printed == "10.2.1.1", "{printed}");
    docker(&["start", "one"])?;
    let addresses = docker(&["exec", "one", "ip", "-o", "-4", "addr"])?;
    ensure!(!addresses.contains("mesh"), "{addresses}");
    docker(&["rm", "-f", "one", "two"]).map(drop)
}

fn an_address_that_is_not_there_is_no_success(host: &TestbedHost) -> Result<()> {
    let without = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=1"];
    let line = |flags: &[&'static str]| {
        let begin = ["run", "fd00:5::7/64", "--name", "six"];
        [&begin, flags, &["ubuntu", "sleep", "1000"]].concat()
    };
    let refused = host.mesh(&line(&without))?.refused()?;
    ensure!(refused.contains("fd00:5::7"), "{refused}");
    let left = host.docker(&["ps", "-aq"])?.ok()?;
    ensure!(left.is_empty(), "{left}");
    wait_until(Duration::from_secs(10), "nothing is listed", || {
        ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
        Ok(())
    })?;
    is_id(&host.mesh(&line(&[]))?.ok()?)?;
    // A container that ends at once counts as started.
    let short = ["run", "10.2.1.9/24", "--rm", "ubuntu", "true"];
    is_id(&host.mesh(&short)?.ok()?)?;
    host.docker(&["rm", "-f", "six"])?.ok().map(drop)
}

fn docker_may_connect_by_itself(host: &TestbedHost) -> Result<()> {
    run(host, "10.2.1.1/24", "one")?;
    let docker = |words: &[&str]| host.docker(words)?.ok();
    docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?;
    docker(&["network", "connect", "mesh", "plain"])?;
    for round in ["connected", "restarted"] {
        let address = wait_until(Duration::from_secs(10), "it is listed", || {
            host.address_of("plain")
        });
        let address = address.context(round)?;
        again(host, "plain", &address)?;
        docker(&["restart", "-t", "0", "plain"])?;
    }
    docker(&["network", "disconnect", "mesh", "plain"])?;
    docker(&["restart", "-t", "0", "plain"])?;
    docker(&["rm", "-f", "one", "plain"]).map(drop)
}

fn an_address_is_free_as_soon_as_docker_says_so(host: &TestbedHost) -> Result<()> {
    let line = ["run", "--name", "brief", "ubuntu", "sleep", "1000"];
    is_id(&host.mesh(&line)?.ok()?)?;
    host.docker(&["stop", "-t", "0", "brief"])?.ok()?;
    let held = || -> Result<usize> { Ok(host.ipam()?.allocations.len()) };
    ensure!(held()? == 1, "a stopped container keeps its address");
    host.kill_router()?;
    host.docker(&["rm", "brief"])?.ok()?;
    host.launch(&[])?;
    wait_until(Duration::from_secs(15), "its address is free", || {
        ensure!(held()? == 0, "{:?}", host.ipam()?.allocations);
        Ok(())
    })
}
