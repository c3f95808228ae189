//! Mesh names in Docker containers, despite Docker's own resolver in each, and despite the Docker addresses that it
//! writes into `/etc/hosts`.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::names::inside;
use crate::run_with;

/// Time limit for the router to notice a change on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Firewall of a host with a default-drop policy.
const GUARDED: &str = "iptables -A INPUT -i lo -j ACCEPT && iptables -P INPUT DROP";

/// Waits until a query of a container, with its own `resolv.conf`, gets this answer.
fn hears(host: &TestbedHost, container: &str, ask: &str, expected: &str) -> Result<()> {
    wait_until(
        SOON,
        &format!("{container} hears '{expected}' for {ask}"),
        || {
            let said = inside(
                host,
                container,
                &format!("dig +short +search +tries=1 +time=3 {ask}"),
            )?;
            ensure!(said.stdout.trim() == expected, "{said}");
            Ok(())
        },
    )
}

/// Waits until the container resolves its own name to this address.
fn is_called(host: &TestbedHost, container: &str, address: &str) -> Result<()> {
    wait_until(SOON, &format!("{container} is {address}"), || {
        let said = host.docker(&["exec", container, "hostname", "-i"])?.ok()?;
        ensure!(said.split_whitespace().next() == Some(address), "{said}");
        Ok(())
    })
}

fn hosts_file(host: &TestbedHost, container: &str) -> Result<String> {
    host.docker(&["exec", container, "cat", "/etc/hosts"])?.ok()
}

#[test]
fn containers_hear_the_mesh_first_and_know_their_own_address() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.shell(GUARDED)?.ok()?;
        host.launch(&[])?;
        host.docker(&["network", "create", "app"])?.ok()?;
        let app = ["--network", "app"];
        run_with(host, "10.2.1.1/24", "svc", &app)?;
        let named = [
            &app[..],
            &["-h", "www.mesh.local", "--network-alias", "shop.mesh.local"],
        ]
        .concat();
        run_with(host, "10.2.1.2/24", "cl", &named)?;
        // Immediately after `mesh run` has returned.
        let said = host.docker(&["exec", "cl", "hostname", "-i"])?.ok()?;
        ensure!(said.starts_with("10.2.1.2"), "{said}");
        hears(host, "cl", "svc", "10.2.1.1")?;
        hears(host, "cl", "-x 10.2.1.1", "svc.mesh.local.")?;
        // Host name, name and alias, each once.
        hears(
            host,
            "svc",
            "-x 10.2.1.2",
            "www.mesh.local.\ncl.mesh.local.\nshop.mesh.local.",
        )?;

        // Names that only Docker knows still resolve.
        let db = [
            "run",
            "-d",
            "--network",
            "app",
            "--name",
            "db",
            "ubuntu",
            "sleep",
            "1000",
        ];
        host.docker(&db)?.ok()?;
        let format = "{{(index .NetworkSettings.Networks \"app\").IPAddress}}";
        let address = host.docker(&["inspect", "-f", format, "db"])?.ok()?;
        hears(host, "cl", "db", &address)?;

        // The operator's changes take precedence over Docker's names.
        host.mesh(&["dns-add", "svc", "-h", "extra"])?.ok()?;
        hears(host, "cl", "extra", "10.2.1.1")?;
        host.mesh(&["dns-remove", "svc"])?.ok()?;
        for ask in ["svc", "svc.mesh", "-x 10.2.1.1"] {
            hears(host, "cl", ask, "")?;
        }
        host.mesh(&["dns-add", "svc"])?.ok()?;
        hears(host, "cl", "svc", "10.2.1.1")?;

        // The first process, too, and after a restart.
        let first = [
            "run",
            "10.2.1.6/24",
            "--name",
            "first",
            "ubuntu",
            "sh",
            "-c",
        ];
        let line = "cp /etc/hosts /first; exec sleep 1000";
        host.mesh(&[&first[..], &[line]].concat())?.ok()?;
        for _ in 0..2 {
            let copy = || host.docker(&["exec", "first", "cat", "/first"])?.ok();
            let text = wait_until(SOON, "the first process has copied its file", copy)?;
            let (mesh, docker) = (text.find("10.2.1.6\t"), text.find("172."));
            ensure!(mesh.is_some() && mesh < docker, "{text}");
            host.docker(&["exec", "first", "rm", "/first"])?.ok()?;
            host.docker(&["restart", "-t", "0", "first"])?.ok()?;
        }

        // Docker creates a new namespace and a new file.
        host.docker(&["restart", "-t", "0", "cl"])?.ok()?;
        is_called(host, "cl", "10.2.1.2")?;
        hears(host, "cl", "-x 10.2.1.1", "svc.mesh.local.")?;
        // A container on the mesh only has no route to its host, and can still resolve names.
        run_with(host, "10.2.1.3/24", "only", &["--network", "none"])?;
        hears(host, "only", "svc", "10.2.1.1")?;

        host.mesh(&[
            "run",
            "--no-rewrite-hosts",
            "10.2.1.4/24",
            "--name",
            "left",
            "ubuntu",
            "sleep",
            "1000",
        ])?
        .ok()?;
        let text = hosts_file(host, "left")?;
        ensure!(!text.contains("# mesh"), "{text}");
        // Attach and detach restore the file.
        let before = hosts_file(host, "db")?;
        host.mesh(&[
            "attach",
            "--add-host",
            "cache:10.2.1.9",
            "10.2.1.5/24",
            "db",
        ])?
        .ok()?;
        is_called(host, "db", "10.2.1.5")?;
        let text = hosts_file(host, "db")?;
        ensure!(text.contains("10.2.1.9\tcache"), "{text}");
        host.mesh(&["detach", "db"])?.ok()?;
        wait_until(SOON, "the file is as it was", || {
            let text = hosts_file(host, "db")?;
            ensure!(text == before, "{text}");
            Ok(())
        })
    })
}
