//! Underlays with an MTU below 1,500 bytes, with a PMTU black hole, with an MTU that shrinks, or with jumbo frames.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{
    TestContainer, Testbed, TestbedHost, TestbedLayout, Transfer, tell, transfer, wait_until,
    with_testbed,
};

/// Time limit of a path MTU search on a busy machine.
const SEARCHED: Duration = Duration::from_secs(30);
/// Promised time limit after the path MTU shrinks.
const RECOVERED: Duration = Duration::from_secs(5);
const MEGABYTE: u64 = 1_000_000;

/// Returns two hosts with IPv4 only: with IPv6 the path could switch to it, whose headers are 20 bytes longer.
fn over_ipv4() -> TestbedLayout {
    TestbedLayout::hosts(2).ipv4_only()
}

/// Makes the underlay drop IP packets longer than `mtu` silently, like a path that filters ICMP.
fn lose_longer_than(bed: &Testbed, mtu: u16) -> Result<()> {
    for host in bed.hosts() {
        // Datagrams of a GSO run must be segmented before the switch, which would otherwise see one long packet.
        host.shell("ip link set eth0 gso_max_segs 1")?.ok()?;
    }
    on_switch(
        bed,
        &format!(
            "nft 'add table bridge narrow; delete table bridge narrow; add table bridge narrow; \
             add chain bridge narrow pass {{ type filter hook forward priority 1; }}; \
             add rule bridge narrow pass meta length > {mtu} drop'"
        ),
    )
}

fn on_switch(bed: &Testbed, line: &str) -> Result<()> {
    let mut shell = bed.spawn_on_switch(&["sh", "-c", line])?;
    let outcome = wait_until(SEARCHED, line, || shell.finished())?;
    outcome.ok().map(drop)
}

/// Starts routers connected over IPv4, and a container on each host.
fn pair(bed: &Testbed, flags: &[&str]) -> Result<[TestContainer; 2]> {
    pair_by(bed, &bed.host(1).address(), flags)
}

/// Starts routers connected by this address of the first, and a container on each host.
fn pair_by(bed: &Testbed, address: &str, flags: &[&str]) -> Result<[TestContainer; 2]> {
    let (first, second) = (bed.host(1), bed.host(2));
    first.launch(flags)?;
    second.launch(&[flags, &[address]].concat())?;
    for host in bed.hosts() {
        host.wait_peers(2)?;
        host.wait_connections(1)?;
    }
    let containers = [
        bed.host(1).run("10.2.1.1/24")?,
        bed.host(2).run("10.2.1.2/24")?,
    ];
    containers[0].reaches(&containers[1])?;
    Ok(containers)
}

/// Sends pings of 10,000 bytes, fragmented by the sender.
fn big_ping(a: &TestContainer, b: &TestContainer) -> Result<()> {
    let ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-s", "10000"];
    a.exec(&[&ping[..], &[b.address()]].concat())?.ok()?;
    Ok(())
}

/// Waits until `mesh status` shows this path MTU on both hosts.
fn wait_mtu(bed: &Testbed, mtu: u16) -> Result<()> {
    for (from, to) in [(1, 2), (2, 1)] {
        let what = format!("host{from} finds the MTU {mtu}");
        wait_until(SEARCHED, &what, || {
            let found = bed.host(from).connection_to(bed.host(to))?.mtu;
            ensure!(found == mtu, "{found}");
            Ok(())
        })?;
    }
    Ok(())
}

fn counter(bed: &Testbed, name: &str) -> Result<u64> {
    let counters = bed.host(1).report()?.router.counters;
    Ok(counters.get(name).copied().unwrap_or(0))
}

/// Runs a mesh on an underlay that has this MTU from the start; the MTU found inside must be `inside`.
fn black_hole(
    setup: &TestbedLayout,
    by: impl Fn(&TestbedHost) -> String,
    mtu: u16,
    inside: u16,
) -> Result<()> {
    with_testbed(setup, |bed| {
        lose_longer_than(bed, mtu)?;
        let [a, b] = pair_by(bed, &by(bed.host(1)), &[])?;
        // Probes of sizes that do not pass have to be lost first.
        wait_until(SEARCHED, "large pings pass", || big_ping(&a, &b))?;
        wait_mtu(bed, inside)?;
        big_ping(&a, &b)?;
        let took = transfer(&a, &b, 5 * MEGABYTE, Duration::from_secs(30))?;
        tell(&format!("5 MB over {mtu} bytes: {took:?}"));
        transfer(&b, &a, 5 * MEGABYTE, Duration::from_secs(30))?;
        Ok(())
    })
}

#[test]
fn a_path_of_1400_bytes_loses_nothing() -> Result<()> {
    black_hole(&over_ipv4(), TestbedHost::address, 1_400, 1_324)
}

#[test]
fn a_path_of_1280_bytes_loses_nothing() -> Result<()> {
    black_hole(&over_ipv4(), TestbedHost::address, 1_280, 1_280)
}

#[test]
fn a_path_of_700_bytes_loses_nothing() -> Result<()> {
    black_hole(&over_ipv4(), TestbedHost::address, 700, 1_280)
}

#[test]
fn a_path_of_1400_bytes_over_ipv6_loses_nothing() -> Result<()> {
    black_hole(
        &TestbedLayout::hosts(2).ipv6_only(),
        TestbedHost::address6,
        1_400,
        1_304,
    )
}

#[test]
fn a_sender_that_forbids_fragments_is_told_what_passes() -> Result<()> {
    with_testbed(&over_ipv4(), |bed| {
        lose_longer_than(bed, 1_400)?;
        let [a, b] = pair(bed, &[])?;
        wait_mtu(bed, 1_324)?;
        let ping = |size: &str| {
            let ping = ["ping", "-n", "-c", "2", "-W", "1", "-M", "do", "-s", size];
            a.exec(&[&ping[..], &[b.address()]].concat())
        };
        // A probe lost on a busy machine makes the path count as narrower for a while.
        wait_until(SEARCHED, "the sender is told 1324", || {
            a.exec(&["ip", "route", "flush", "cache"])?.ok()?;
            let told = ping("1348")?;
            ensure!(told.stdout.contains("mtu = 1324"), "{told}");
            ping("1296")?.ok()
        })?;
        ensure!(counter(bed, "too_big_sent")? > 0, "not counted");
        Ok(())
    })
}

#[test]
fn a_path_that_shrinks_under_a_transfer_recovers() -> Result<()> {
    for mtu in [1_400, 700] {
        with_testbed(&over_ipv4(), |bed| {
            let [a, b] = pair(bed, &[])?;
            let mut transfer = Transfer::start(&a, &b, 5_001, 60 * MEGABYTE, 40)?;
            wait_until(SEARCHED, "the transfer flows", || {
                let received = transfer.received()?;
                ensure!(received > 20 * MEGABYTE, "{received}");
                Ok(())
            })?;
            lose_longer_than(bed, mtu)?;
            let before = transfer.received()?;
            let began = std::time::Instant::now();
            wait_until(RECOVERED, "it flows again", || {
                let more = transfer.received()? - before;
                ensure!(more > 2 * MEGABYTE, "{more} bytes since");
                Ok(())
            })?;
            tell(&format!(
                "shrunk to {mtu}: 2 MB after {:?}",
                began.elapsed()
            ));
            transfer.finish(Duration::from_secs(60))?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_interface_that_is_narrow_itself_is_no_other_case() -> Result<()> {
    with_testbed(&over_ipv4(), |bed| {
        bed.host(2).shell("ip link set eth0 mtu 1400")?.ok()?;
        let [a, b] = pair(bed, &[])?;
        big_ping(&a, &b)?;
        wait_mtu(bed, 1_324)?;
        transfer(&a, &b, 5 * MEGABYTE, Duration::from_secs(30))?;
        transfer(&b, &a, 5 * MEGABYTE, Duration::from_secs(30))?;
        Ok(())
    })
}

#[test]
fn jumbo_frames_are_carried_whole() -> Result<()> {
    with_testbed(&over_ipv4(), |bed| {
        for host in bed.hosts() {
            host.shell("ip link set eth0 mtu 9000")?.ok()?;
            on_switch(bed, &format!("ip link set {} mtu 9000", host.name()))?;
        }
        let [a, b] = pair(bed, &["--mtu", "8900"])?;
        wait_mtu(bed, 8_900)?;
        let cut = counter(bed, "datagrams_cut")?;
        let ping = [
            "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-M", "do", "-s", "8872",
        ];
        a.exec(&[&ping[..], &[b.address()]].concat())?.ok()?;
        transfer(&a, &b, 5 * MEGABYTE, Duration::from_secs(30))?;
        ensure!(
            counter(bed, "datagrams_cut")? == cut,
            "whole, not in pieces"
        );
        Ok(())
    })
}
