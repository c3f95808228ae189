//! podman, and hosts without any engine.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, with_testbed};

use crate::{full_mesh, is_id, is_installed, run};

pub(crate) fn installed() -> Result<bool> {
    is_installed("podman")
}

#[test]
fn podman_and_docker_share_the_mesh() -> Result<()> {
    if !installed()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        host.podman_images()?;
        let far = run(bed.host(2), "10.2.1.2/24", "far")?;
        let id = host
            .mesh(&[
                "run",
                "--runtime",
                "podman",
                "10.2.1.1/24",
                "--name",
                "pod",
                // Needed by this image's ping, which does not use unprivileged ICMP sockets.
                "--cap-add=NET_RAW",
                "ubuntu",
                "sleep",
                "1000",
            ])?
            .ok()?;
        is_id(&id)?;
        let ping =
            |to: &str| host.exec(&["podman", "exec", "pod", "ping", "-c", "1", "-W", "1", to]);
        mesh_tests::wait_until(
            std::time::Duration::from_secs(15),
            "the pod reaches 10.2.1.2",
            || ping("10.2.1.2")?.ok(),
        )?;
        far.ping("10.2.1.1")?;
        host.exec(&["podman", "restart", "-t", "0", "pod"])?.ok()?;
        mesh_tests::wait_until(
            std::time::Duration::from_secs(15),
            "the pod is back",
            || ping("10.2.1.2")?.ok(),
        )?;
        ensure!(
            host.ps()?.iter().any(|c| c.container == id),
            "{:?}",
            host.ps()?
        );
        host.exec(&["podman", "rm", "-f", "-t", "0", "pod"])?.ok()?;
        mesh_tests::wait_until(
            std::time::Duration::from_secs(10),
            "it is no longer listed",
            || {
                ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
                Ok(())
            },
        )
    })
}

#[test]
fn the_address_is_there_before_the_first_process_of_a_pod() -> Result<()> {
    if !installed()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.podman_images()?;
        let id = host
            .mesh(&[
                "run",
                "--runtime",
                "podman",
                "10.2.1.1/24",
                "ubuntu",
                "ip",
                "-o",
                "-4",
                "addr",
                "show",
                "up",
            ])?
            .ok()?;
        host.exec(&["podman", "wait", &id])?.ok()?;
        let seen = host.exec(&["podman", "logs", &id])?.ok()?;
        ensure!(seen.contains("inet 10.2.1.1/24"), "{seen}");
        Ok(())
    })
}

/// Waits until the image's own resolver in a container resolves a name to this address.
fn finds(host: &TestbedHost, pod: &str, name: &str, address: &str) -> Result<()> {
    let within = std::time::Duration::from_secs(15);
    mesh_tests::wait_until(within, &format!("{pod} finds {name}"), || {
        let found = host
            .exec(&["podman", "exec", pod, "nslookup", name])?
            .ok()?;
        ensure!(found.contains(address), "{found}");
        Ok(())
    })
}

#[test]
fn pods_that_are_on_the_mesh_only_find_names() -> Result<()> {
    if !installed()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        host.podman_images()?;
        run(bed.host(2), "10.2.1.2/24", "far")?;
        let podman = |words: &[&str]| host.exec(&[&["podman"], words].concat())?.ok();
        let mesh_run = ["run", "--runtime", "podman", "10.2.1.1/24", "--name", "pod"];
        let command = ["ubuntu", "sleep", "1000"];
        host.mesh(&[&mesh_run[..], &command].concat())?.ok()?;
        let conf = podman(&["exec", "pod", "cat", "/etc/resolv.conf"])?;
        ensure!(conf.contains("nameserver 127.0.0.12"), "{conf}");
        ensure!(conf.contains("search mesh.local"), "{conf}");
        finds(host, "pod", "far.mesh.local", "10.2.1.2")?;

        // A container started by podman, on a network of podman's.
        let flags = host.mesh(&["dns-args", "--runtime", "podman"])?.ok()?;
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let own = ["run", "-d", "--name", "own"];
        podman(&[&own[..], &flags, &command].concat())?;
        let attach = ["attach", "--runtime", "podman", "10.2.1.3/24", "own"];
        host.mesh(&attach)?.ok()?;
        finds(host, "own", "far.mesh.local", "10.2.1.2")?;
        finds(host, "own", "pod.mesh.local", "10.2.1.1")?;

        for pod in ["pod", "own"] {
            podman(&["restart", "-t", "0", pod])?;
            finds(host, pod, "far.mesh.local", "10.2.1.2")?;
        }
        host.kill_router()?;
        host.launch(&["host2"])?;
        for pod in ["pod", "own"] {
            finds(host, pod, "far.mesh.local", "10.2.1.2")?;
        }
        podman(&["rm", "-f", "-t", "0", "pod", "own"])?;
        let within = std::time::Duration::from_secs(15);
        mesh_tests::wait_until(within, "nothing is answered within pods", || {
            let status = host.mesh(&["status", "dns", "--json"])?.ok()?;
            ensure!(status.contains("\"Inside\": 0,"), "{status}");
            Ok(())
        })
    })
}

#[test]
fn podman_is_found_when_docker_does_not_answer() -> Result<()> {
    if !installed()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.podman_images()?;
        host.shell("kill -TERM $(cat /run/docker.pid)")?.ok()?;
        mesh_tests::wait_until(std::time::Duration::from_secs(20), "docker ends", || {
            ensure!(host.docker(&["version"])?.code != Some(0));
            Ok(())
        })?;
        let id = host
            .mesh(&[
                "run",
                "10.2.1.1/24",
                "--name",
                "pod",
                "ubuntu",
                "sleep",
                "1000",
            ])?
            .ok()?;
        is_id(&id)?;
        let name = host
            .exec(&["podman", "inspect", "-f", "{{.Name}}", &id])?
            .ok()?;
        ensure!(name == "pod", "{name}");
        let own = [
            "run",
            "10.2.1.2/24",
            "--network",
            "podman",
            "ubuntu",
            "true",
        ];
        let message = host.mesh(&own)?.refused()?;
        ensure!(message.contains("on the mesh only"), "{message}");
        let failing = ["run", "10.2.1.2/24", "ubuntu", "/no/such/program"];
        ensure!(host.mesh(&failing)?.code != Some(0));
        ensure!(host.ps()?.len() == 1, "{:?}", host.ps()?);
        Ok(())
    })
}

#[test]
fn without_an_engine_the_error_says_so() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let message = host
            .mesh(&[
                "run",
                "--runtime",
                "docker",
                "10.2.1.1/24",
                "ubuntu",
                "true",
            ])?
            .refused()?;
        ensure!(message.to_lowercase().contains("docker"), "{message}");
        let message = host.mesh(&["attach", "10.2.1.1/24", "nobody"])?.refused()?;
        ensure!(!message.is_empty());
        Ok(())
    })
}
