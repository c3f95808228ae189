//! Docker containers without a given address: each gets its own, and keeps it as long as it exists.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    TestContainer, TestbedHost, TestbedLayout, all_reach_all, wait_until, with_testbed,
};

use crate::{again, full_mesh, is_id};

/// Containers on each host, limited by the time that a test may take.
const EACH: usize = 5;

/// Runs `mesh run ARGS --name NAME FLAGS ubuntu sleep`.
fn run(host: &TestbedHost, args: &[&str], name: &str, flags: &[&str]) -> Result<TestContainer> {
    let named = ["--name", name];
    let image = ["ubuntu", "sleep", "1000"];
    // Standard error may have a line about waiting.
    let outcome = host.mesh(&[&["run"], args, &named, flags, &image].concat())?;
    is_id(&outcome.ok()?)?;
    let address = wait_until(Duration::from_secs(5), "it is listed by name", || {
        host.address_of(name)
    })?;
    host.container(name, &address)
}

fn held(host: &TestbedHost) -> Result<Vec<String>> {
    let allocations = host.ipam()?.allocations.into_iter();
    Ok(allocations.map(|a| a.address).collect())
}

#[test]
fn on_three_engines_all_are_distinct_and_reach_one_another() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        // The order of a first trial: launch, run, run, and only then connect.
        let mut containers = Vec::new();
        for host in &bed.hosts()[..2] {
            host.launch(&[])?;
            containers.push(run(host, &[], "first", &[])?);
        }
        bed.host(2).mesh(&["connect", "host1"])?.ok()?;
        bed.host(3).launch(&["host1"])?;
        for host in bed.hosts() {
            host.wait_connections(2)?;
            for n in 0..EACH {
                containers.push(run(host, &[], &format!("c{n}"), &[])?);
            }
        }
        let addresses: BTreeSet<&str> = containers.iter().map(TestContainer::address).collect();
        ensure!(addresses.len() == 3 * EACH + 2, "{addresses:?}");
        all_reach_all(&containers[..5])?;
        containers[0].reaches(&containers[3 * EACH + 1])?;
        let seen = bed
            .host(3)
            .docker(&["exec", "c0", "ip", "-o", "-4", "addr"])?
            .ok()?;
        ensure!(seen.contains("/12 "), "{seen}");
        // Its space is usable as soon as the router is gone.
        let reset = bed.host(3).mesh(&["reset"])?;
        ensure!(reset.code == Some(0) && reset.stderr.is_empty(), "{reset}");
        wait_until(Duration::from_secs(5), "two owners are left", || {
            let report = bed.host(1).ipam()?;
            let all: u64 = report.owners.iter().map(|o| o.addresses).sum();
            ensure!(
                report.owners.len() == 2 && all == 1 << 20,
                "{:?}",
                report.owners
            );
            Ok(())
        })
    })
}

#[test]
fn an_address_is_kept_over_every_restart_and_free_when_its_container_is_destroyed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        let net = ["net:10.32.5.0/24"];
        let web = run(host, &net, "web", &["--restart", "always"])?;
        ensure!(web.address() == "10.32.5.1", "{}", web.address());
        let far = run(bed.host(2), &net, "far", &[])?;
        far.reaches(&web).context("at first")?;
        host.docker(&["restart", "-t", "0", "web"])?.ok()?;
        let web = again(host, "web", "10.32.5.1/24")?;
        far.reaches(&web).context("restarted")?;
        // While it is stopped, its address is not given to others, even on explicit request.
        host.docker(&["stop", "-t", "0", "web"])?.ok()?;
        let next = run(host, &net, "next", &[])?;
        ensure!(next.address() == "10.32.5.3", "{}", next.address());
        let claim = ["run", "10.32.5.1/24", "ubuntu", "true"];
        let refused = host.mesh(&claim)?.refused()?;
        ensure!(
            refused.contains("10.32.5.1 is already used by container web"),
            "{refused}"
        );
        let refused = bed.host(2).mesh(&claim)?.refused()?;
        // The lending router knows only the other router, not the container.
        ensure!(
            refused.contains("10.32.5.1 is already used by") && refused.contains("host1"),
            "{refused}"
        );
        // After a crash of the router, with the container stopped and running.
        host.kill_router()?;
        host.launch(&["host2"])?;
        host.wait_connections(1)?;
        host.docker(&["start", "web"])?.ok()?;
        let web = again(host, "web", "10.32.5.1/24")?;
        far.reaches(&web).context("after the router's end")?;
        host.kill_router()?;
        host.launch(&[])?;
        host.wait_connections(1)?;
        ensure!(
            held(host)? == ["10.32.5.1/24", "10.32.5.3/24"],
            "{:?}",
            held(host)?
        );
        // After a crash of the host.
        host.crash()?;
        host.boot(false)?;
        host.launch(&[])?;
        host.start_engine()?;
        host.wait_connections(1)?;
        let web = again(host, "web", "10.32.5.1/24")?;
        far.reaches(&web).context("after the host's end")?;
        // Removal of a running and of a stopped container.
        host.docker(&["rm", "-f", "web"])?.ok()?;
        host.docker(&["rm", "next"])?.ok()?;
        wait_until(Duration::from_secs(40), "all is free", || {
            let held = held(host)?;
            ensure!(held.is_empty(), "{held:?}");
            // The other router owns the space, and is told a moment later if the link was renewed just then.
            let lent = bed.host(2).ipam()?.remote_leases;
            ensure!(lent.is_empty(), "{lent:?}");
            Ok(())
        })?;
        let last = run(host, &net, "last", &[])?;
        ensure!(last.address() == "10.32.5.1", "{}", last.address());
        host.docker(&["rm", "-f", "last"])?.ok()?;
        wait_until(Duration::from_secs(5), "it is free at once", || {
            let held = held(host)?;
            ensure!(held.is_empty(), "{held:?}");
            Ok(())
        })
    })
}

#[test]
fn attach_and_detach_take_subnets_too() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?
            .ok()?;
        let attach = |args: &[&str]| -> Result<String> {
            host.mesh(&[&["attach"], args, &["plain"]].concat())?.ok()
        };
        let first = attach(&[])?;
        ensure!(attach(&[])? == first, "the same again");
        let both = attach(&["net:10.32.5.0/24", "10.2.1.1/24"])?;
        ensure!(both == "10.32.5.1 10.2.1.1", "{both}");
        // After a restart, the container has all its addresses again.
        host.docker(&["restart", "-t", "0", "plain"])?.ok()?;
        wait_until(Duration::from_secs(15), "all three are back", || {
            let all = host.ps()?;
            let plain = all.iter().find(|c| c.name == "plain");
            let count = plain.context("it is not on the mesh")?.interfaces.len();
            ensure!(count == 3, "{count}");
            Ok(())
        })?;
        let gone = host.mesh(&["detach", "net:10.32.5.0/24", "plain"])?.ok()?;
        ensure!(gone == "10.32.5.1", "{gone}");
        host.mesh(&["detach", "plain"])?.ok()?;
        wait_until(Duration::from_secs(5), "all is free", || {
            let held = held(host)?;
            ensure!(held.is_empty(), "{held:?}");
            Ok(())
        })
    })
}
