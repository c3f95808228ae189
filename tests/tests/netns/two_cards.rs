//! Hosts with two networks between them: one fails and comes back, one is slow under load; and conflicting settings.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, Testbed, tell, wait_until, with_testbed};

/// Adds a second card to each of the first two hosts, with a cable of 1 Mbit/s, which even a busy machine can fill.
fn second_cards(bed: &Testbed) -> Result<()> {
    let space = |n: u8| format!("tb-{}-host{n}", bed.name());
    let cable = Command::new("ip")
        .args(["-n", &space(1), "link", "add", "eth1", "type", "veth"])
        .args(["peer", "name", "eth1", "netns", &space(2)])
        .status()?;
    ensure!(cable.success(), "no second cable");
    for n in 1..=2 {
        let line = format!(
            "set -e; ip addr add 192.168.78.{n}/24 dev eth1; ip link set eth1 up; \
             tc qdisc add dev eth1 root tbf rate 1mbit burst 32kbit latency 300ms"
        );
        bed.host(n).shell(&line)?.ok()?;
    }
    Ok(())
}

/// Makes the first card's switch drop everything, or pass it again. The hosts are not notified.
fn first_card_drops(host: &TestbedHost, drops: bool) -> Result<()> {
    let how = if drops { "-I" } else { "-D" };
    host.shell(&format!(
        "set -e; iptables {how} INPUT -i eth0 -j DROP; iptables {how} OUTPUT -o eth0 -j DROP"
    ))?
    .ok()?;
    Ok(())
}

fn path(from: &TestbedHost, to: &TestbedHost) -> Result<String> {
    let peers = from.report()?.router.peers;
    let peer = peers.into_iter().find(|p| p.nick_name == to.name());
    Ok(peer.map(|p| p.path).unwrap_or_default())
}

#[test]
fn data_moves_once_when_a_card_fails_and_back_when_it_is_well() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).ipv4_only(), |bed| {
        let [one, two] = [bed.host(1), bed.host(2)];
        second_cards(bed)?;
        one.launch(&["--mtu", "1300"])?;
        two.launch(&["host1", "--dns-domain", "elsewhere.local"])?;
        one.wait_connections(1)?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        for (here, there) in [(one, two), (two, one)] {
            wait_until(Duration::from_secs(15), "settings are compared", || {
                let warnings = here.report()?.router.warnings.join("\n");
                for name in ["--mtu is ", "--dns-domain is ", there.name()] {
                    ensure!(warnings.contains(name), "no {name} in {warnings}");
                }
                Ok(())
            })?;
        }
        // Frames that are too long for the other side are counted there.
        let long = b.exec(&[
            "ping",
            "-n",
            "-c",
            "2",
            "-W",
            "1",
            "-s",
            "1340",
            a.address(),
        ])?;
        ensure!(!long.stdout.contains(" 2 received"), "{long}");
        let over = one.report()?.router.drops.get("frame_over_mtu").copied();
        ensure!(over.is_some_and(|n| n > 0), "{over:?}");
        for host in [one, two] {
            first_card_drops(host, true)?;
        }
        let cut = Instant::now();
        wait_until(
            Duration::from_secs(12),
            "data goes by the second card",
            || (0..3).try_for_each(|_| a.ping(b.address())),
        )?;
        tell(&format!("data by the second card: {:.1?}", cut.elapsed()));
        // During that time the link over the first card is given up and redialled, without an effect on data.
        let (mut lost, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_secs(14) {
            lost += 25 - a.count_answers(&b, 25)?;
        }
        ensure!(lost <= 3, "{lost} echoes were lost after data had moved");
        one.wait_connections(1)?;
        ensure!(
            path(one, two)?.contains("192.168.78."),
            "{}",
            path(one, two)?
        );

        for host in [one, two] {
            first_card_drops(host, false)?;
        }
        let healed = Instant::now();
        // More than the slow card can carry.
        let _load = a.spawn(&["ping", "-n", "-q", "-i", "0.001", "-s", "1200", b.address()])?;
        wait_until(
            Duration::from_secs(120),
            "data goes by the first card again, both ways",
            || {
                for (here, there) in [(one, two), (two, one)] {
                    let path = path(here, there)?;
                    ensure!(path.contains("192.168.77."), "{} by {path}", here.name());
                }
                Ok(())
            },
        )?;
        tell(&format!("back by the first card: {:.1?}", healed.elapsed()));
        a.reaches(&b)
    })
}
