//! The harness itself, without mesh: a test that passes on a broken harness proves nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    Capture, Heard, HostObjects, Testbed, TestbedLayout, Transfer, cast, run, transfer, wait_until,
};

#[test]
fn hosts_reach_one_another_by_name_and_not_over_a_cut_cable() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(3))?;
    let (a, b, c) = (
        bed.host(1).underlay()?,
        bed.host(2).underlay()?,
        bed.host(3).underlay()?,
    );
    a.exec(&["ping", "-c", "1", "-W", "1", "host2"])?.ok()?;
    a.exec(&["ping", "-6", "-c", "1", "-W", "1", "host3"])?
        .ok()?;

    bed.cut_pair(1, 2)?;
    a.does_not_reach(&b)?;
    a.reaches(&c)?;
    bed.heal_pair(1, 2)?;
    a.reaches(&b)?;

    bed.host(2).cut()?;
    c.does_not_reach(&b)?;
    bed.host(2).heal()?;
    c.reaches(&b)
}

#[test]
fn a_partial_mesh_has_the_named_cables_only() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(3).links("1-2,2-3").ipv6_only())?;
    let ping = |to: &str| bed.host(1).exec(&["ping", "-c", "1", "-W", "1", to]);
    ping("host2")?.ok()?;
    ensure!(
        ping("host3")?.code != Some(0),
        "host1 and host3 have no cable"
    );
    ensure!(
        bed.host(1)
            .shell("ip -4 -o addr show eth0")?
            .ok()?
            .is_empty(),
        "no IPv4 was asked for"
    );
    Ok(())
}

#[test]
fn a_power_cut_ends_everything_and_disks_stay() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(2))?;
    let host = bed.host(2);
    host.shell("echo kept >/var/lib/mesh/file; echo lost >/run/file")?
        .ok()?;
    let mut job = host.spawn(&["sleep", "100"])?;
    host.crash()?;
    wait_until(Duration::from_secs(5), "the job ends", || job.finished())?;
    host.boot(false)?;
    ensure!(host.shell("cat /var/lib/mesh/file")?.ok()? == "kept");
    ensure!(
        host.shell("cat /run/file")?.code != Some(0),
        "/run survived"
    );
    bed.host(1).underlay()?.reaches(&host.underlay()?)
}

#[test]
fn a_snapshot_shows_links_rules_namespaces_and_files() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(1))?;
    let host = bed.host(1);
    let before = HostObjects::take(host)?;
    HostObjects::take(host)?.same_as(&before)?;
    for (make, undo) in [
        ("ip link add x type bridge", "ip link del x"),
        (
            "iptables -I FORWARD -i x -j ACCEPT",
            "iptables -D FORWARD -i x -j ACCEPT",
        ),
        (
            "ip netns add x",
            "ip netns del x; umount /run/netns; rmdir /run/netns",
        ),
        (
            "mkdir -p /run/mesh; touch /run/mesh/file",
            "rm -r /run/mesh",
        ),
        ("touch /var/lib/mesh/file", "rm /var/lib/mesh/file"),
    ] {
        host.shell(make)?.ok()?;
        ensure!(
            HostObjects::take(host)?.same_as(&before).is_err(),
            "not seen: {make}"
        );
        host.shell(undo)?.ok()?;
        HostObjects::take(host)?.same_as(&before)?;
    }
    Ok(())
}

#[test]
fn an_eavesdropper_sees_plain_traffic() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(2))?;
    let (a, b) = (bed.host(1).underlay()?, bed.host(2).underlay()?);
    let capture = Capture::start(&bed)?;
    cast(&a, b.address(), 4000, "needle-in-the-hay", 3)?;
    let bytes = capture.stop()?;
    ensure!(
        bytes
            .windows(17)
            .any(|window| window == b"needle-in-the-hay"),
        "{} bytes without it",
        bytes.len()
    );
    Ok(())
}

#[test]
fn transfers_are_checked_and_datagrams_counted() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(2))?;
    let (a, b) = (bed.host(1).underlay()?, bed.host(2).underlay()?);
    transfer(&a, &b, 10_000_000, Duration::from_secs(20))?;

    let mut slow = Transfer::start(&a, &b, 5002, 10_000_000, 1)?;
    wait_until(Duration::from_secs(5), "first bytes", || {
        let bytes = slow.received()?;
        ensure!(bytes > 0);
        Ok(())
    })?;
    ensure!(
        slow.finish(Duration::ZERO).is_err(),
        "80 Mbit at 1 Mbit/s cannot be done yet"
    );

    let (mut here, mut group) = (
        Heard::start(&b, 4000, None)?,
        Heard::start(&b, 4001, Some("239.1.2.3"))?,
    );
    cast(&a, "192.168.77.255", 4000, "all", 2)?;
    bed.host(1)
        .shell("ip route add 224.0.0.0/4 dev eth0")?
        .ok()?;
    cast(&a, "239.1.2.3", 4001, "some", 1)?;
    wait_until(Duration::from_secs(5), "datagrams", || {
        ensure!(here.counts()?.len() == 2 && here.counts()?.get("all-1") == Some(&1));
        ensure!(group.counts()?.get("some-0") == Some(&1));
        Ok(())
    })
}

/// A start hands the testbed to its user and ends. A sweep that has read the old owner must not take it for a leftover.
#[test]
fn a_sweep_spares_a_testbed_that_is_handed_over() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = dir.path().to_str().context("a path of text")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/testbed.sh");
    // The first look at the owner is followed by the handing over.
    let cat = "#!/bin/sh\n/bin/cat \"$@\"; status=$?\n\
               case $1 in */owner) mv \"${1%/*}/next\" \"$1\" 2>/dev/null ;; esac\nexit $status\n";
    std::fs::create_dir_all(dir.path().join("bin"))?;
    std::fs::write(dir.path().join("bin/cat"), cat)?;
    let mine = format!(
        "chmod +x {root}/bin/cat; mkdir {root}/beds {root}/beds/a; echo '999999999 1' >{root}/beds/a/owner
         read -r stat </proc/self/stat; set -- ${{stat##*) }}; shift 19; echo \"$$ $1\" >{root}/beds/a/next
         PATH={root}/bin:$PATH TESTBED_ROOT={root}/beds {script} sweep; ls {root}/beds
         rm {root}/beds/a/owner; echo '999999999 1' >{root}/beds/a/owner
         TESTBED_ROOT={root}/beds {script} sweep; ls {root}/beds 2>/dev/null; true"
    );
    let left = run("bash", &["-c", &mine])?.ok()?;
    ensure!(
        left == "a",
        "once, and gone when its owner has ended: {left}"
    );
    Ok(())
}

#[test]
fn nothing_is_left_of_a_testbed() -> Result<()> {
    let bed = Testbed::start(&TestbedLayout::hosts(2))?;
    let mut job = bed.host(1).spawn(&["sleep", "4242"])?;
    let name = bed.name().to_owned();
    let namespaces = || run("ip", &["netns"])?.ok();
    ensure!(namespaces()?.contains(&format!("tb-{name}-")));
    drop(bed);
    wait_until(Duration::from_secs(5), "the host's process ends", || {
        job.finished()
    })?;
    ensure!(
        !namespaces()?.contains(&format!("tb-{name}-")),
        "{}",
        namespaces()?
    );
    ensure!(
        run("ls", &["/tmp/mesh-testbed"])?
            .stdout
            .lines()
            .all(|other| other != name)
    );
    Ok(())
}
