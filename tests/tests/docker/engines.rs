//! Objects of engines and their users: names, networks, bridges, states of containers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_proto::api::AttachedContainer;
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::podman::installed;
use crate::run;

const SOON: Duration = Duration::from_secs(25);

/// Waits until `ps` lists exactly the containers `names` with 10.2.1.1, and until only their names resolve to it.
fn who_has_it(host: &TestbedHost, names: &[&str], others: &[&str]) -> Result<()> {
    wait_until(SOON, &format!("10.2.1.1 is of {names:?}"), || {
        let rows = host.ps()?;
        let has =
            |row: &&AttachedContainer| row.interfaces.iter().any(|i| i.address == "10.2.1.1/24");
        let listed: Vec<&str> = rows.iter().filter(has).map(|r| r.name.as_str()).collect();
        ensure!(listed == names, "{listed:?}");
        for name in names {
            let found = host.mesh(&["dns-lookup", name])?.ok()?;
            ensure!(found == "10.2.1.1", "{name}: {found}");
        }
        for name in others {
            ensure!(
                host.mesh(&["dns-lookup", name])?.code != Some(0),
                "{name} is answered"
            );
        }
        Ok(())
    })
}

#[test]
fn a_pod_that_is_stopped_is_off_the_mesh_and_one_that_is_renamed_has_its_new_name() -> Result<()> {
    if !installed()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.podman_images()?;
        let podman = |words: &[&str]| host.exec(&[&["podman"], words].concat())?.ok();
        let start = |flags: &[&str], name: &str| {
            let words = ["run", "--runtime", "podman", "10.2.1.1/24", "--name", name];
            let command = ["ubuntu", "sleep", "1000"];
            host.mesh(&[&words[..], flags, &command].concat())
        };
        let id = start(&[], "q")?.ok()?;
        let near = run(host, "10.2.1.2/24", "near")?;
        near.ping("10.2.1.1")?;
        podman(&["rename", "q", "r"])?;
        who_has_it(host, &["r"], &["q"])?;
        podman(&["pause", "r"])?;
        who_has_it(host, &["r"], &["q"])?;
        podman(&["unpause", "r"])?;

        podman(&["stop", "-t", "0", "r"])?;
        who_has_it(host, &[], &["q", "r"])?;
        ensure!(
            near.ping("10.2.1.1").is_err(),
            "a stopped container answers"
        );
        // The first process after a restart sees the address.
        podman(&["start", "r"])?;
        who_has_it(host, &["r"], &["q"])?;
        wait_until(SOON, "it is reached", || near.ping("10.2.1.1"))?;
        let seen = podman(&["exec", "r", "ip", "-o", "-4", "addr"])?;
        ensure!(seen.contains("inet 10.2.1.1/24"), "{seen}");

        // The address is in use, but the container that replaces the holder may have it.
        start(&[], "other")?.refused()?;
        ensure!(start(&["--replace", "--no-such-flag"], "r")?.code != Some(0));
        who_has_it(host, &["r"], &[])?;
        let next = start(&["--replace"], "r")?.ok()?;
        ensure!(next != id);
        who_has_it(host, &["r"], &[])?;
        wait_until(SOON, "the next is reached", || near.ping("10.2.1.1"))?;

        // While the container is stopped its address is free; if another one takes it, the container starts without.
        podman(&["stop", "-t", "0", "r"])?;
        start(&[], "taker")?.ok()?;
        podman(&["start", "r"])?;
        who_has_it(host, &["taker"], &["r"])?;
        wait_until(SOON, "it has lost its address", || {
            let seen = podman(&["exec", "r", "ip", "-o", "-4", "addr"])?;
            ensure!(!seen.contains("10.2.1.1"), "{seen}");
            Ok(())
        })?;
        let told = start(&["-p", "80:80"], "web")?.refused()?;
        ensure!(told.contains("mesh attach"), "{told}");
        Ok(())
    })
}

#[test]
fn what_is_called_mesh_and_what_is_dockers_stays_its_owners() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        let told = host.mesh(&["launch", "--bridge", "docker0"])?.refused()?;
        ensure!(told.contains("mesh attach-bridge docker0"), "{told}");
        let mtu = host.exec(&["cat", "/sys/class/net/docker0/mtu"])?;
        ensure!(mtu.code != Some(0) || mtu.stdout.trim() == "1500", "{mtu}");

        host.docker(&["network", "create", "mesh"])?.ok()?;
        host.docker(&[
            "network",
            "create",
            "--label",
            "mesh.network=1",
            "mesh-net-1",
        ])?
        .ok()?;
        host.launch(&[])?;
        let two = [
            "run",
            "10.2.1.1/24",
            "10.3.1.1/24",
            "--name",
            "two",
            "ubuntu",
            "sleep",
            "1000",
        ];
        host.mesh(&two)?.ok()?;
        let networks = || {
            let names = ["network", "ls", "--format", "{{.Name}} {{.Driver}}"];
            let names = host.docker(&names)?.ok()?;
            let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
            names.retain(|name| name.starts_with("mesh"));
            names.sort();
            anyhow::Ok(names.join(", "))
        };
        let made = "mesh bridge, mesh-net-1 bridge, mesh-own mesh, mesh-own-1 mesh";
        ensure!(networks()? == made, "{}", networks()?);
        let two = host.container("two", "10.2.1.1")?;
        run(host, "10.2.1.2/24", "near")?.reaches(&two)?;

        // For a container without a name in the mesh, Docker's current name is shown.
        let id = host
            .mesh(&["run", "10.32.9.9/12", "ubuntu", "sleep", "1000"])?
            .ok()?;
        let again = || {
            host.mesh(&["run", "10.32.9.9/12", "ubuntu", "true"])?
                .refused()
        };
        let name = host.docker(&["inspect", "-f", "{{.Name}}", &id])?.ok()?;
        let name = name.trim_start_matches('/');
        let told = again()?;
        ensure!(told.contains(name), "{name}: {told}");
        host.docker(&["rename", &id, "shop"])?.ok()?;
        wait_until(SOON, "it is called shop", || {
            let told = again()?;
            ensure!(told.contains("shop"), "{told}");
            let status = host.mesh(&["status", "ipam"])?.ok()?;
            ensure!(status.contains(" shop,"), "{status}");
            Ok(())
        })?;
        host.docker(&["stop", "-t", "0", "shop"])?.ok()?;
        host.docker(&["rename", "shop", "store"])?.ok()?;
        wait_until(SOON, "it is called store", || {
            let status = host.mesh(&["status", "ipam"])?.ok()?;
            ensure!(status.contains(" store,"), "{status}");
            Ok(())
        })?;

        host.mesh(&["reset"])?.ok()?;
        let left = "mesh bridge, mesh-net-1 bridge";
        ensure!(networks()? == left, "{}", networks()?);
        Ok(())
    })
}

#[test]
fn an_engine_that_hangs_is_named_and_given_up() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.docker(&["run", "-d", "--name", "web", "ubuntu", "sleep", "1000"])?
            .ok()?;
        host.mesh(&["attach", "10.2.1.1/24", "web"])?.ok()?;
        host.shell("kill -STOP $(cat /run/docker.pid)")?.ok()?;
        let began = Instant::now();
        let lines = [
            &["attach", "10.2.1.2/24", "web"][..],
            &["detach", "web"],
            &["run", "10.2.1.3/24", "ubuntu", "true"],
        ];
        let outcomes = std::thread::scope(|scope| {
            let asked = lines.map(|line| scope.spawn(move || host.mesh(line)));
            let listed = host.ps().map(|rows| rows.len());
            let outcomes = asked.map(std::thread::ScopedJoinHandle::join);
            ensure!(listed? == 1, "ps waits for nobody");
            Ok(outcomes)
        })?;
        for outcome in outcomes {
            let outcome = outcome.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            let told: Vec<&str> = outcome.stderr.lines().collect();
            let is_detach = outcome.line.contains("detach");
            let names_engine =
                |line: &str| line.contains("waiting for") && line.to_lowercase().contains("docker");
            // Attachments are known without Docker, so detaching works, and may be done before anything is said.
            let (code, lines) = if is_detach { (0, 0..=1) } else { (1, 2..=2) };
            ensure!(
                outcome.code == Some(code) && lines.contains(&told.len()),
                "{outcome}"
            );
            ensure!(
                told.first().is_none_or(|line| names_engine(line)),
                "{outcome}"
            );
            ensure!(is_detach || told[1].contains("answer"), "{outcome}");
        }
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        host.shell("kill -CONT $(cat /run/docker.pid)")?.ok()?;
        wait_until(SOON, "docker is asked again", || {
            host.mesh(&["attach", "10.2.1.2/24", "web"])?.ok()
        })?;
        Ok(())
    })
}
