//! Underlay addresses that are reached through the mesh itself: unusable between its routers, and never a storm.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

/// Time limit for a router to notice changes on its host.
const SOON: Duration = Duration::from_secs(30);

/// Creates a bridge with addresses of both families, and a port that is not the mesh's.
fn lan(host: &TestbedHost, n: u8) -> Result<()> {
    let line = format!(
        "set -e
        ip link add lan0 type bridge
        ip link set lan0 up
        ip addr add 192.168.5.{n}/24 dev lan0
        ip addr add fd05::{n}/64 dev lan0 nodad
        ip link add p0 type veth peer name p1
        ip link set p0 master lan0 up
        ip link set p1 up"
    );
    host.shell(&line)?.ok().map(drop)
}

fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    let args: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&args)?.ok()
}

fn path_to(host: &TestbedHost, peer: &TestbedHost) -> Result<String> {
    let peers = host.report()?.router.peers;
    let peer = peers.into_iter().find(|p| p.nick_name == peer.name());
    Ok(peer.context("the peer is not known")?.path)
}

fn data_sent(host: &TestbedHost) -> Result<u64> {
    let counters = host.report()?.router.counters;
    Ok(counters.get("data_sent").copied().unwrap_or(0))
}

/// Checks that few datagrams are sent while idle, and that frames arrive.
fn is_calm(hosts: [&TestbedHost; 2], frames: impl Fn() -> Result<()>) -> Result<()> {
    let before = [data_sent(hosts[0])?, data_sent(hosts[1])?];
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        frames()?;
    }
    for (host, before) in hosts.into_iter().zip(before) {
        let sent = data_sent(host)? - before;
        ensure!(sent < 500, "{} sent {sent} datagrams", host.name());
    }
    Ok(())
}

fn warns(host: &TestbedHost, of: &str) -> Result<()> {
    let warnings = host.report()?.router.warnings;
    let said = warnings
        .iter()
        .any(|w| w.contains(of) && w.contains("through the mesh itself"));
    ensure!(said, "{warnings:?}");
    Ok(())
}

#[test]
fn an_address_behind_the_mesh_is_no_way_between_its_routers() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).links("1-3,2-3"), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        lan(one, 1)?;
        lan(two, 2)?;
        three.launch(&[])?;
        one.launch(&["host3"])?;
        two.launch(&["host3"])?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        mesh(one, "attach-bridge lan0")?;
        mesh(two, "attach-bridge lan0")?;
        mesh(one, "connect [fd05::2]:6783")?;
        // All other traffic of the hosts uses the mesh there.
        for address in ["192.168.5.2", "fd05::2"] {
            wait_until(SOON, "the bridges are joined", || {
                let ping = ["ping", "-n", "-c", "1", "-W", "1", address];
                one.exec(&ping)?.ok().map(drop)
            })?;
        }
        for address in ["192.168.5.2", "fd05::2"] {
            wait_until(SOON, "the operator is told", || warns(one, address))?;
        }
        is_calm([one, two], || a.ping(b.address()))?;
        ensure!(
            path_to(one, two)?.starts_with("via "),
            "{}",
            path_to(one, two)?
        );
        ensure!(one.established()?.len() == 1, "{:?}", one.established()?);
        let drops = one.report()?.router.drops;
        ensure!(drops.get("underlay").is_some_and(|n| *n > 0), "{drops:?}");

        // The routes to an exposed host lead to the mesh's bridge.
        mesh(one, "expose 10.2.1.101/24")?;
        mesh(two, "expose 10.2.1.102/24")?;
        mesh(one, "connect 10.2.1.102")?;
        wait_until(SOON, "the address is refused", || {
            let rows = one.report()?.router.connections;
            let row = rows
                .iter()
                .find(|row| row.address.starts_with("10.2.1.102"));
            let error = &row.context("it is not listed")?.error;
            ensure!(error.contains("through the mesh itself"), "{error}");
            Ok(())
        })?;
        is_calm([one, two], || a.ping(b.address()))
    })
}

#[test]
fn a_bridge_with_the_uplink_on_it_stays_a_way() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.shell(
            "set -e
            ip link add br0 type bridge forward_delay 0
            ip addr flush dev eth0
            ip link set eth0 master br0
            ip link set br0 up
            ip addr add 192.168.77.1/24 dev br0",
        )?
        .ok()?;
        one.launch(&[])?;
        two.launch(&["192.168.77.1"])?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        mesh(one, "attach-bridge br0")?;
        is_calm([one, two], || {
            for (host, peer) in [(one, two), (two, one)] {
                let path = path_to(host, peer)?;
                ensure!(path.starts_with("direct 192.168.77."), "{path}");
            }
            a.ping(b.address())
        })?;
        let warnings = one.report()?.router.warnings;
        ensure!(
            !warnings.iter().any(|w| w.contains("itself")),
            "{warnings:?}"
        );
        Ok(())
    })
}
