//! Docker's own commands for networks: `docker network create -d mesh`, on two hosts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestContainer, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::{full_mesh, is_id};

const SOON: Duration = Duration::from_secs(25);

fn create(host: &TestbedHost, args: &[&str], name: &str) -> Result<String> {
    let front = ["network", "create", "-d", "mesh"];
    host.docker(&[&front[..], args, &[name]].concat())?.ok()
}

/// Runs `docker run -d --network NETWORK … --name NAME ubuntu sleep`; returns the container with its address.
fn run_on(host: &TestbedHost, network: &str, args: &[&str], name: &str) -> Result<TestContainer> {
    let front = ["run", "-d", "--network", network, "--name", name];
    let line = [&front[..], args, &["ubuntu", "sleep", "1000"]].concat();
    is_id(&host.docker(&line)?.ok()?)?;
    let address = address_of(host, network, name)?;
    host.container(name, &address)
}

/// Returns the error of a command of Docker, which adds lines of its own.
fn denied(host: &TestbedHost, line: &[&str]) -> Result<String> {
    let output = host.docker(line)?;
    ensure!(output.code.is_some_and(|code| code != 0), "{output}");
    Ok(output.stderr)
}

/// Returns the address that `docker inspect` shows.
fn address_of(host: &TestbedHost, network: &str, name: &str) -> Result<String> {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    let shown = host.docker(&["inspect", "-f", &format, name])?.ok()?;
    Ok(shown.trim().to_owned())
}

#[test]
fn a_network_of_one_name_is_one_network_on_two_hosts() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let ours = ["--ipam-driver", "mesh"];
        create(
            one,
            &[&ours[..], &["--subnet", "10.40.0.0/16"]].concat(),
            "web",
        )?;
        wait_until(SOON, "the other host knows it", || {
            let shown = two.mesh(&["network", "inspect", "web"])?.ok()?;
            ensure!(shown.contains("10.40.0.0/16"), "{shown}");
            Ok(())
        })?;
        create(two, &ours, "web")?;
        let front = run_on(one, "web", &[], "front")?;
        let back = run_on(two, "web", &[], "back")?;
        let fixed = run_on(one, "web", &["--ip", "10.40.7.7"], "fixed")?;
        ensure!(address_of(one, "web", "fixed")? == "10.40.7.7");
        let all = [
            address_of(one, "web", "front")?,
            address_of(two, "web", "back")?,
        ];
        ensure!(
            all[0] != all[1] && all.iter().all(|a| a.starts_with("10.40.")),
            "{all:?}"
        );
        front.reaches(&back)?;
        back.reaches(&fixed)?;
        let taken = [
            "run",
            "-d",
            "--network",
            "web",
            "--ip",
            "10.40.7.7",
            "ubuntu",
            "true",
        ];
        let told = denied(one, &taken)?;
        ensure!(told.contains("fixed"), "{told}");

        one.docker(&["network", "disconnect", "web", "front"])?
            .ok()?;
        one.docker(&["network", "connect", "web", "front"])?.ok()?;
        let again = address_of(one, "web", "front")?;
        one.container("front", &again)?.reaches(&back)?;
        one.docker(&["restart", "-t", "0", "front"])?.ok()?;
        let again = address_of(one, "web", "front")?;
        one.container("front", &again)?.reaches(&back)?;

        one.docker(&["rm", "-f", "front", "fixed"])?.ok()?;
        one.docker(&["network", "rm", "web"])?.ok()?;
        two.mesh(&["network", "inspect", "web"])?
            .ok()
            .context("it is used there")?;
        Ok(())
    })
}

#[test]
fn what_contradicts_is_refused_with_both_values() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let subnet = |net: &'static str| ["--ipam-driver", "mesh", "--subnet", net];
        create(one, &subnet("10.40.0.0/16"), "web")?;
        wait_until(SOON, "the other host knows it", || {
            two.mesh(&["network", "inspect", "web"])?.ok()
        })?;
        create(two, &subnet("10.41.0.0/16"), "web")?;
        let line = ["run", "-d", "--network", "web", "ubuntu", "true"];
        let told = denied(two, &line)?;
        ensure!(
            told.contains("10.40.0.0/16") && told.contains("10.41.0.0/16"),
            "{told}"
        );

        // A network of the mesh is there for Docker on all hosts. No name here is the beginning of an id: Docker would take it
        // for one.
        one.mesh(&["network", "create", "data", "--subnet", "10.60.0.0/16"])?
            .ok()?;
        for host in [one, two] {
            wait_until(SOON, "Docker has the network", || {
                host.docker(&["network", "inspect", "data"])?.ok()
            })?;
        }
        let first = run_on(one, "data", &["--ip", "10.60.0.9"], "first")?;
        run_on(two, "data", &[], "second")?.reaches(&first)?;
        one.docker(&["rm", "-f", "first"])?.ok()?;
        two.docker(&["rm", "-f", "second"])?.ok()?;
        wait_until(SOON, "nobody is in it", || {
            one.mesh(&["network", "rm", "data"])?.ok()
        })?;
        for host in [one, two] {
            wait_until(SOON, "Docker has it no more", || {
                denied(host, &["network", "inspect", "data"]).map(drop)
            })?;
        }

        // Docker's own IPAM does not know what is in use on the other host.
        create(one, &["--subnet", "10.50.0.0/16"], "shop")?;
        wait_until(SOON, "the other host knows it", || {
            two.mesh(&["network", "inspect", "shop"])?.ok()
        })?;
        create(two, &["--subnet", "10.50.0.0/16"], "shop")?;
        run_on(one, "shop", &[], "till")?;
        wait_until(SOON, "the holder is named", || {
            let line = ["run", "-d", "--network", "shop", "ubuntu", "true"];
            let told = denied(two, &line)?;
            ensure!(
                told.contains("till") && told.contains("--ipam-driver mesh"),
                "{told}"
            );
            Ok(())
        })
    })
}
