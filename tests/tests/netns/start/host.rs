//! Deficiencies of a host: reported, but no reason not to run.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, wait_until, with_testbed};

use super::{SOON, program, warns, with_programs};

#[test]
fn names_addresses_and_listeners_may_come_later() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        // No default route, and no resolv.conf.
        let launched = one.mesh(&[
            "launch",
            "--host",
            "192.168.77.201",
            "--dns-listen",
            "192.168.77.201",
            "no-such-host.invalid",
        ])?;
        launched.clone().ok()?;
        for words in ["no-such-host.invalid", "192.168.77.201 (--host)"] {
            ensure!(launched.stderr.contains(words), "{launched}");
        }
        let connected = one.mesh(&["connect", "nor-this.invalid"])?;
        connected.clone().ok()?;
        ensure!(connected.stderr.contains("nor-this.invalid"), "{connected}");
        warns(one, "192.168.77.201 (--host)", true)?;
        ensure!(one.report()?.router.targets.len() == 2);
        two.launch(&["192.168.77.201"])?;
        one.exec(&["ip", "addr", "add", "192.168.77.201/24", "dev", "eth0"])?
            .ok()?;
        two.wait_connections(1)?;
        warns(one, "192.168.77.201 (--host)", false)?;
        wait_until(SOON, "queries are answered there", || {
            let text = one.mesh(&["status", "dns"])?.ok()?;
            ensure!(!text.contains("cannot answer"), "{text}");
            Ok(())
        })?;
        one.run("10.2.1.1/24")?.reaches(&two.run("10.2.1.2/24")?)
    })
}

/// The same from the file that the unit reads, in the manner of the unit.
#[test]
fn a_peer_of_the_file_that_has_no_address_stops_no_start() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        let file = format!("peers = [\"no-such-host.invalid\", \"{}\"]", two.address());
        one.shell(&format!("echo '{file}' >/run/testbed/mesh.toml"))?
            .ok()?;
        two.launch(&[])?;
        let line = "exec mesh launch --foreground --config /run/testbed/mesh.toml 2>/dev/null";
        let _service = one.shell_in_background(line)?;
        wait_until(SOON, "the router is up", || one.report().map(drop))?;
        one.wait_connections(1)?;
        let status = one.mesh(&["status", "connections"])?.ok()?;
        ensure!(status.contains("no-such-host.invalid"), "{status}");
        one.mesh(&["stop"])?.ok().map(drop)
    })
}

#[test]
fn multicast_is_left_alone_where_the_operator_says_so() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.launch(&["--no-multicast-route"])?;
        two.launch(&[])?;
        for (host, has_route) in [(one, false), (two, true)] {
            let container = host.run("10.2.1.1/24")?;
            let routes = container.exec(&["ip", "-4", "route"])?.ok()?;
            ensure!(routes.contains("224.0.0.0/4") == has_route, "{routes}");
        }
        Ok(())
    })
}

#[test]
fn a_firewall_that_lacks_something_is_done_without() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        let real = host.shell("command -v iptables")?.ok()?;
        for name in ["iptables", "ip6tables"] {
            let real = real.trim().replace("iptables", name);
            let script = format!(
                "case \"$*\" in *comment*) echo \"Couldn't load match comment\" >&2; exit 2;; esac; exec {real} \"$@\""
            );
            program(host, name, &script)?;
        }
        host.shell(&with_programs("mesh launch"))?.ok()?;
        host.shell("iptables -S FORWARD | grep -q -- '-j mesh-forward-mesh'")?
            .ok()?;
        host.shell("iptables -S mesh-forward-mesh | grep -q -- '-i mesh -o mesh -j ACCEPT'")?
            .ok()?;
        // A second start finds everything in place, and in the end it is removed.
        host.shell(&with_programs("mesh stop && mesh launch"))?
            .ok()?;
        let jumps = host.shell("iptables -S FORWARD | grep -c mesh-forward-mesh")?;
        ensure!(jumps.stdout.trim() == "1", "{jumps}");
        host.shell(&with_programs("mesh reset"))?.ok()?;
        let left = host.shell("iptables -S; true")?.ok()?;
        ensure!(!left.contains("mesh"), "{left}");

        for name in ["iptables", "ip6tables"] {
            program(
                host,
                name,
                "echo 'Permission denied (you must be root)' >&2; exit 4",
            )?;
        }
        let launched = host.shell(&with_programs("mesh launch"))?;
        launched.clone().ok()?;
        ensure!(launched.stderr.contains("iptables"), "{launched}");
        warns(host, "do not reach one another", true)?;
        let (a, b) = (host.run("10.2.1.1/24")?, host.run("10.2.1.2/24")?);
        a.reaches(&b)
    })
}

#[test]
fn a_route_in_the_range_and_a_full_disk_are_told_while_they_last() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        // A small file system for the state alone.
        host.shell("mount -t tmpfs -o size=512k tmpfs /var/lib/mesh")?
            .ok()?;
        host.exec(&["ip", "route", "add", "10.33.0.0/16", "dev", "lo"])?
            .ok()?;
        let launched = host.mesh(&["launch"])?;
        launched.clone().ok()?;
        ensure!(launched.stderr.contains("10.33.0.0/16"), "{launched}");
        warns(host, "route to 10.33.0.0/16", true)?;
        ensure!(host.mesh(&["status"])?.ok()?.contains("Addresses: off"));
        host.mesh(&["run", "--runtime", "process", "--", "true"])?
            .refused()?;
        host.exec(&["ip", "route", "del", "10.33.0.0/16"])?.ok()?;
        warns(host, "route to 10.33.0.0/16", false)?;
        host.run_free(&[], "a")?;
        // The conflict returns, this time as another program's network.
        host.shell("ip link add other type bridge; ip addr add 10.40.0.1/24 dev other")?
            .ok()?;
        warns(host, "10.40.0", true)?;
        host.mesh(&["run", "--runtime", "process", "--", "true"])?
            .refused()?;
        host.exec(&["ip", "link", "del", "other"])?.ok()?;
        warns(host, "10.40.0", false)?;

        host.shell("dd if=/dev/zero of=/var/lib/mesh/filler bs=4k 2>/dev/null; true")?
            .ok()?;
        let message = host.mesh(&["connect", "192.0.2.1"])?.refused()?;
        ensure!(message.contains("cannot be stored"), "{message}");
        ensure!(message.matches("No space left").count() == 1, "{message}");
        ensure!(!message.contains("os error"), "{message}");
        warns(host, "the disk is full", true)?;
        warns(host, "cannot store the targets", true)?;
        host.shell("rm /var/lib/mesh/filler")?.ok()?;
        warns(host, "the disk is full", false)?;
        warns(host, "cannot store the targets", false)?;
        // Changes that could not be stored before are stored now.
        host.mesh(&["stop"])?.ok()?;
        host.launch(&[])?;
        ensure!(host.report()?.router.targets == ["192.0.2.1"]);
        host.mesh(&["stop"])?.ok()?;
        wait_until(Duration::from_secs(10), "the disk is free", || {
            host.exec(&["umount", "--lazy", "/var/lib/mesh"])?.ok()
        })
        .map(drop)
    })
}
