//! What containers of Docker are told of names, and of themselves, is what the mesh says: Docker has a server of its own in
//! each, and writes its own addresses into `/etc/hosts`.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Host, Setup, wait_until, with_testbed};

use crate::names::inside;
use crate::run_with;

/// In this time the router knows of a change, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(30);
/// What an operator of a guarded host has.
const GUARDED: &str = "iptables -A INPUT -i lo -j ACCEPT && iptables -P INPUT DROP";

/// Waits until a container, asking with its own `resolv.conf`, hears this.
fn hears(host: &Host, container: &str, ask: &str, expected: &str) -> Result<()> {
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

/// Waits until a container takes this for its own address.
fn is_called(host: &Host, container: &str, address: &str) -> Result<()> {
    wait_until(SOON, &format!("{container} is {address}"), || {
        let said = host.docker(&["exec", container, "hostname", "-i"])?.ok()?;
        ensure!(said.split_whitespace().next() == Some(address), "{said}");
        Ok(())
    })
}

fn hosts_file(host: &Host, container: &str) -> Result<String> {
    host.docker(&["exec", container, "cat", "/etc/hosts"])?.ok()
}

#[test]
fn containers_hear_the_mesh_first_and_know_their_own_address() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
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
        // At once, as `mesh run` has said that it runs.
        let said = host.docker(&["exec", "cl", "hostname", "-i"])?.ok()?;
        ensure!(said.starts_with("10.2.1.2"), "{said}");
        hears(host, "cl", "svc", "10.2.1.1")?;
        hears(host, "cl", "-x 10.2.1.1", "svc.mesh.local.")?;
        // The host name, the name, the alias: none of them doubled.
        hears(
            host,
            "svc",
            "-x 10.2.1.2",
            "www.mesh.local.\ncl.mesh.local.\nshop.mesh.local.",
        )?;

        // What Docker alone knows is there as before.
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

        // What is changed by hand counts, also for what Docker knows.
        host.mesh(&["dns-add", "svc", "-h", "extra"])?.ok()?;
        hears(host, "cl", "extra", "10.2.1.1")?;
        host.mesh(&["dns-remove", "svc"])?.ok()?;
        for ask in ["svc", "svc.mesh", "-x 10.2.1.1"] {
            hears(host, "cl", ask, "")?;
        }
        host.mesh(&["dns-add", "svc"])?.ok()?;
        hears(host, "cl", "svc", "10.2.1.1")?;

        // Its first process, too, and after a restart.
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

        // Docker makes a new namespace and a new file.
        host.docker(&["restart", "-t", "0", "cl"])?.ok()?;
        is_called(host, "cl", "10.2.1.2")?;
        hears(host, "cl", "-x 10.2.1.1", "svc.mesh.local.")?;
        // One that is on the mesh only has no way to its host, and asks all the same.
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
        // Attached and detached: as it was before.
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
