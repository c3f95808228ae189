//! Plain VXLAN between consenting hosts: the right peers use it, and switching loses no frames.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    TestContainer, TestbedHost, CommandOutput, TestbedLayout, HostObjects, Testbed, Transfer, stays, tell, transfer,
    wait_until, with_testbed,
};

use crate::full_mesh;

/// Offers and keepalives take a second in each direction; allows for a busy machine.
const AGREE: Duration = Duration::from_secs(20);
/// Time limit for restoring deleted objects.
const REPAIR: Duration = Duration::from_secs(5);
const KERNEL: &str = "kernel";

fn datapath(from: &TestbedHost, to: &TestbedHost) -> Result<String> {
    Ok(from.connection_to(to)?.datapath)
}

fn wait_fast(from: &TestbedHost, to: &TestbedHost) -> Result<()> {
    let what = format!(
        "frames from {} to {} go by the kernel",
        from.name(),
        to.name()
    );
    wait_until(AGREE, &what, || {
        let connection = from.connection_to(to)?;
        ensure!(connection.datapath == KERNEL, "{connection:?}");
        Ok(())
    })
}

fn both_fast(bed: &Testbed) -> Result<()> {
    wait_fast(bed.host(1), bed.host(2))?;
    wait_fast(bed.host(2), bed.host(1))
}

/// Starts two hosts with a container each, and waits until these use the fast path.
fn pair(bed: &Testbed, flags: &[&str]) -> Result<[TestContainer; 2]> {
    full_mesh(bed, flags)?;
    let containers = [
        bed.host(1).run("10.2.1.1/24")?,
        bed.host(2).run("10.2.1.2/24")?,
    ];
    containers[0].reaches(&containers[1])?;
    both_fast(bed)?;
    Ok(containers)
}

/// Returns the bytes sent by VXLAN, over IPv4 or IPv6; an error without a device.
fn sent_by_vxlan(host: &TestbedHost) -> Result<u64> {
    let text = host
        .shell("cat /sys/class/net/mesh-x[46]/statistics/tx_bytes")?
        .ok()?;
    let numbers: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
    Ok(numbers?.into_iter().sum())
}

fn delete_devices(host: &TestbedHost) -> Result<()> {
    sent_by_vxlan(host).context("no device to delete")?;
    host.shell("for d in mesh-x4 mesh-x6; do ip link del $d; done")
        .map(drop)
}

fn frames_in(host: &TestbedHost) -> Result<u64> {
    let counters = host.report()?.router.counters;
    let frames = counters.get("frames_in").copied();
    frames.context("no counter frames_in")
}

/// Returns the numbers of pings sent and answered.
fn echoes(outcome: &CommandOutput) -> Result<(u32, u32)> {
    let mut numbers = outcome.stdout.split(", ").filter_map(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let is_count = words.contains(&"received") || words.contains(&"transmitted");
        let number = words.iter().find_map(|word| word.parse().ok());
        number.filter(|_| is_count)
    });
    let pair = numbers.next().zip(numbers.next());
    pair.with_context(|| outcome.to_string())
}

#[test]
fn unicast_goes_by_the_kernel_and_broadcast_through_the_router() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let before = HostObjects::take(bed.host(1))?;
        let [a, b] = pair(bed, &["--no-encryption"])?;
        // The first pings put the addresses into the tables.
        wait_until(AGREE, "an echo goes by the kernel", || {
            let sent = sent_by_vxlan(bed.host(1))?;
            a.exec(&["ping", "-n", "-q", "-c", "1", "-s", "1000", b.address()])?
                .ok()?;
            let sent = sent_by_vxlan(bed.host(1))? - sent;
            ensure!(sent > 1_000, "{sent} bytes were sent by VXLAN");
            Ok(())
        })?;
        let sent = sent_by_vxlan(bed.host(1))?;
        let through_router = frames_in(bed.host(1))?;
        transfer(&a, &b, 20_000_000, Duration::from_secs(60))?;
        let sent = sent_by_vxlan(bed.host(1))? - sent;
        let through_router = frames_in(bed.host(1))? - through_router;
        tell(&format!(
            "20 MB by VXLAN: {sent} bytes, {through_router} frames through the router"
        ));
        ensure!(sent > 20_000_000, "{sent} bytes by VXLAN");
        ensure!(
            through_router < 200,
            "{through_router} frames through the router"
        );

        let text = bed.host(1).mesh(&["status", "connections"])?.ok()?;
        ensure!(
            text.contains("unencrypted kernel") && text.contains("vxlan"),
            "{text}"
        );
        let status = bed.host(1).mesh(&["status"])?.ok()?;
        ensure!(
            status.contains("but not with peers that agree (vxlan to 1 of 1"),
            "{status}"
        );

        // A new address must be resolved by broadcast first.
        let c = bed.host(2).run("10.2.1.3/24")?;
        a.reaches(&c)?;
        bed.host(1).mesh(&["reset"])?.ok()?;
        let left = HostObjects::take(bed.host(1))?.added_since(&before);
        let of_ours = |o: &&String| o.contains("mesh-x") || o.contains("mesh-vxlan");
        ensure!(!left.iter().any(|o| of_ours(&o)), "{left:?}");
        Ok(())
    })
}

#[test]
fn the_underlay_may_be_ipv6() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).ipv6_only(), |bed| {
        let [a, b] = pair(bed, &["--trusted-subnets", "10.0.0.0/8,fd77::/64"])?;
        let sent = sent_by_vxlan(bed.host(1))?;
        transfer(&a, &b, 5_000_000, Duration::from_secs(60))?;
        let sent = sent_by_vxlan(bed.host(1))? - sent;
        ensure!(sent > 2_500_000, "{sent} bytes by VXLAN");
        Ok(())
    })
}

#[test]
fn one_side_that_does_not_consent_keeps_everything_encrypted() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        bed.host(1)
            .launch(&["--trusted-subnets", "192.168.77.0/24,fd77::/64"])?;
        // It consents, but not to addresses like host1's.
        bed.host(2)
            .launch(&["--trusted-subnets", "192.168.99.0/24", "host1"])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        stays(Duration::from_secs(6), "everything encrypted", || {
            for (from, to) in [(1, 2), (2, 1)] {
                let connection = bed.host(from).connection_to(bed.host(to))?;
                ensure!(
                    connection.encrypted && connection.datapath != KERNEL,
                    "{connection:?}"
                );
                ensure!(sent_by_vxlan(bed.host(from)).is_err());
            }
            Ok(())
        })?;
        let text = bed.host(1).mesh(&["status", "connections"])?.ok()?;
        ensure!(
            text.contains("the other side does not offer plain VXLAN"),
            "{text}"
        );
        Ok(())
    })
}

#[test]
fn strangers_are_not_heard_and_the_rules_come_back() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let (one, two) = (bed.host(1).address(), bed.host(2).address());
        bed.host(1).launch(&["--no-encryption", "--host", &one])?;
        bed.host(2)
            .launch(&["--no-encryption", "--host", &two, &one])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        both_fast(bed)?;

        // host3 knows all parameters, but is not a peer.
        let vni = 0x6d_6573;
        bed.host(3)
            .shell(&format!(
                "ip link add v type vxlan id {vni} dstport 6784 remote {two} nolearning && \
             ip link set v mtu 1376 up && ip addr add 10.2.1.9/24 dev v && \
             ip neigh add {} lladdr 02:6d:0a:02:01:02 dev v",
                b.address()
            ))?
            .ok()?;
        let stranger_sends = || -> Result<u64> {
            let heard = || -> Result<u64> {
                let text = b.exec(&["cat", "/proc/net/dev"])?.ok()?;
                let line = text.lines().find(|l| l.trim().starts_with("mesh0:"));
                let packets = line.and_then(|l| l.split_whitespace().nth(2)?.parse().ok());
                packets.context("no mesh0")
            };
            let before = heard()?;
            bed.host(3).exec(&[
                "ping",
                "-n",
                "-c",
                "50",
                "-i",
                "0.002",
                "-W",
                "0.1",
                b.address(),
            ])?;
            Ok(heard()? - before)
        };
        let heard = stranger_sends()?;
        ensure!(
            heard < 10,
            "{heard} of a stranger's 50 frames were delivered"
        );
        // Without the rules the frames would be accepted; the rules are then restored.
        wait_until(2 * REPAIR, "frames come while there is no rule", || {
            bed.host(2).exec(&["iptables", "-F", "INPUT"])?.ok()?;
            let heard = stranger_sends()?;
            ensure!(heard >= 40, "{heard} of 50: is this test blind?");
            Ok(())
        })?;
        wait_until(REPAIR, "the stranger is shut out again", || {
            let heard = stranger_sends()?;
            ensure!(heard < 10, "{heard} of 50 frames were delivered");
            Ok(())
        })
    })
}

#[test]
fn changing_over_to_the_kernel_costs_nothing_and_withdrawn_consent_ends_it() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &["--no-encryption"])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        both_fast(bed)?;
        // host2 restarts without its tables: the fast path is restored under traffic.
        bed.host(2).mesh(&["stop"])?.ok()?;
        delete_devices(bed.host(2))?;
        bed.host(2).launch(&["--no-encryption", "host1"])?;
        a.reaches(&b)?;
        let mut echo = a.spawn(&[
            "ping",
            "-n",
            "-q",
            "-c",
            "500",
            "-i",
            "0.02",
            "-W",
            "1",
            b.address(),
        ])?;
        both_fast(bed)?;
        let outcome = wait_until(Duration::from_secs(30), "all echoes are sent", || {
            echo.finished()
        })?;
        let (sent, back) = echoes(&outcome)?;
        tell(&format!(
            "changing over to the kernel: {back} of {sent} echoes came back"
        ));
        // Two may be lost on a busy machine; a missing entry would cost more.
        ensure!(
            sent == 500 && back >= 498,
            "{back} of {sent} echoes came back"
        );

        let flow = Transfer::start(&a, &b, 5001, 10_000_000, 10)?;
        bed.host(2).mesh(&["stop"])?.ok()?;
        bed.host(2).launch(&["host1"])?;
        wait_until(AGREE, "host1 goes through its router again", || {
            ensure!(datapath(bed.host(1), bed.host(2))? != KERNEL);
            a.ping(b.address())
        })?;
        let device = sent_by_vxlan(bed.host(2));
        ensure!(device.is_err(), "a device without consent");
        flow.finish(Duration::from_secs(60))?;
        Ok(())
    })
}

#[test]
fn a_device_that_was_deleted_and_a_killed_router_come_back_under_a_flow() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let [a, b] = pair(bed, &["--no-encryption"])?;
        let flow = Transfer::start(&a, &b, 5001, 20_000_000, 10)?;
        delete_devices(bed.host(1))?;
        wait_until(REPAIR, "the device is back", || {
            sent_by_vxlan(bed.host(1)).map(drop)
        })?;
        let mut echo = a.spawn(&[
            "ping",
            "-n",
            "-q",
            "-c",
            "400",
            "-i",
            "0.02",
            "-W",
            "1",
            b.address(),
        ])?;
        bed.host(2).kill_router()?;
        bed.host(2).launch(&["--no-encryption", "host1"])?;
        let outcome = wait_until(Duration::from_secs(30), "all echoes are sent", || {
            echo.finished()
        })?;
        let (sent, back) = echoes(&outcome)?;
        tell(&format!(
            "a router killed and started again: {back} of {sent} echoes came back"
        ));
        ensure!(
            sent == 400 && back >= 395,
            "{back} of {sent} echoes came back"
        );
        both_fast(bed)?;
        flow.finish(Duration::from_secs(60))?;
        Ok(())
    })
}
