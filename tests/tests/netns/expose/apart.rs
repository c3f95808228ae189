//! Isolation on an exposed host: subnets of the mesh, and containers on other bridges.

use anyhow::{Result, ensure};
use mesh_tests::{TestContainer, TestbedHost, TestbedLayout, wait_until, with_testbed};

use super::bridges::{bridge_with_machine, pings};
use super::{SOON, answers, mesh};

/// Creates a bridge like an engine's, with one machine that has its default route through the host.
fn engine(host: &TestbedHost, bridge: &str, net: &str, six: &str) -> Result<()> {
    bridge_with_machine(host, bridge, &format!("{net}.2/24"))?;
    let line = format!(
        "set -e
        ip addr add {net}.1/24 dev {bridge}
        ip addr add {six}::1/64 dev {bridge} nodad
        ip -n {bridge}-vm route add default via {net}.1
        ip -n {bridge}-vm addr add {six}::2/64 dev eth0 nodad
        ip -n {bridge}-vm route add default via {six}::1"
    );
    host.shell(&line)?.ok().map(drop)
}

fn is_closed(host: &TestbedHost, bridge: &str, address: &str) -> Result<()> {
    ensure!(
        pings(host, bridge, address).is_err(),
        "{address} answers what is on {bridge}"
    );
    Ok(())
}

fn route(container: &TestContainer, to: &str, via: &str) -> Result<()> {
    let line = ["ip", "route", "replace", to, "via", via];
    container.exec(&line)?.ok().map(drop)
}

#[test]
fn other_bridges_and_other_subnets_stay_apart_unless_asked_for() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let (one, two, outside) = (bed.host(1), bed.host(2), bed.host(3));
        two.launch(&[])?;
        one.launch(&["host2"])?;
        let near = one.run("10.2.1.1/24")?;
        let far = two.run("10.2.1.2/24")?;
        let other = two.run_named("10.2.2.35/24", "other")?;
        let six = one.run_named("fd00:2:1::1/64", "six")?;
        // Docker's rules let traffic from its bridge out on any other interface.
        one.shell("iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT; sysctl -qw net.ipv6.conf.all.forwarding=1")?
            .ok()?;
        engine(one, "docker0", "172.17.0", "fd17")?;
        mesh(one, "expose 10.2.1.254/24 10.2.2.254/24 fd00:2:1::254/64")?;
        for address in ["10.2.1.1", "10.2.1.2", "10.2.2.35", "fd00:2:1::1"] {
            answers(one, address)?;
        }
        pings(one, "docker0", "10.2.1.254")?;
        for address in ["10.2.1.1", "10.2.1.2", "10.2.2.35", "fd00:2:1::1"] {
            is_closed(one, "docker0", address)?;
        }
        route(&near, "10.2.2.0/24", "10.2.1.254")?;
        route(&other, "10.2.1.0/24", "10.2.2.254")?;
        ensure!(near.ping("10.2.2.35").is_err(), "subnets are joined");
        route(&near, "172.17.0.0/24", "10.2.1.254")?;
        ensure!(near.ping("172.17.0.2").is_err(), "docker0 is joined");
        near.reaches(&far)?;

        // Permitted traffic still passes.
        outside
            .exec(&["ip", "route", "add", "10.2.1.0/24", "via", "192.168.77.1"])?
            .ok()?;
        answers(outside, "10.2.1.1")?;
        answers(outside, "10.2.1.2")?;
        route(&near, "192.168.77.0/24", "10.2.1.254")?;
        near.ping("192.168.77.3")?;
        let publish = "nft 'table ip published { chain p {
            type nat hook prerouting priority -100;
            ip daddr 10.2.1.254 icmp type echo-request dnat to 172.17.0.2
        }; }'";
        one.shell(publish)?.ok()?;
        near.ping("10.2.1.254")?;
        one.shell("nft delete table ip published")?.ok()?;

        // A bridge that is created later.
        engine(one, "br-later", "172.18.0", "fd18")?;
        wait_until(SOON, "a new bridge is kept apart", || {
            is_closed(one, "br-later", "10.2.2.35")
        })?;
        mesh(one, "expose --forward 10.2.2.254/24")?;
        ensure!(mesh(one, "status")?.contains("forwards to all"));
        pings(one, "docker0", "10.2.2.35")?;
        near.ping("10.2.2.35")?;
        is_closed(one, "docker0", "10.2.1.2")?;
        mesh(one, "expose 10.2.2.254/24")?;
        is_closed(one, "docker0", "10.2.2.35")?;
        let counted = one.shell("nft list table ip mesh-expose-mesh")?.ok()?;
        let dropped = |line: &&str| line.contains("docker0") && line.contains("drop");
        ensure!(
            counted
                .lines()
                .filter(dropped)
                .any(|l| !l.contains("packets 0 ")),
            "{counted}"
        );
        drop(six);
        Ok(())
    })
}
