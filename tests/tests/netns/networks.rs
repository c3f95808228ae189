//! Networks of the mesh: processes, the host and other bridges in them, with equal subnets, apart from each other.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestContainer, Testbed, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::full_mesh;

const SOON: Duration = Duration::from_secs(15);
/// Time in which the members of a new network agree on its key.
const KEY: Duration = Duration::from_secs(30);

fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&words)?.ok()
}

fn refused(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&words)?.refused()
}

/// Starts routers, and creates the networks `a` and `b` with the same subnet on the first; waits until all know them.
fn two_networks(bed: &Testbed) -> Result<()> {
    full_mesh(bed, &[])?;
    for name in ["a", "b"] {
        mesh(
            bed.host(1),
            &format!("network create {name} --subnet 10.40.0.0/16"),
        )?;
    }
    for host in bed.hosts() {
        wait_until(SOON, "the networks are known", || {
            let listed = mesh(host, "network ls")?;
            let is_known = |name: &str| listed.split_whitespace().any(|word| word == name);
            ensure!(is_known("a") && is_known("b"), "{listed}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Runs a process in a network.
fn run_in(host: &TestbedHost, network: &str, address: &str, name: &str) -> Result<TestContainer> {
    host.run_free(&["--net", network, address], name)
}

/// `address@network`, each, sorted.
fn listed(host: &TestbedHost) -> Result<Vec<String>> {
    let rows = host.ps()?;
    let all = rows.iter().flat_map(|row| &row.interfaces);
    let mut listed: Vec<String> = all
        .map(|i| format!("{}@{}", i.address, i.network))
        .collect();
    listed.sort();
    Ok(listed)
}

/// Returns whether a container hears another one that sends to everybody.
fn hears(container: &TestContainer, sender: &TestContainer, broadcast: &str) -> Result<bool> {
    let line = [
        "timeout",
        "4",
        "tcpdump",
        "-c",
        "1",
        "-lni",
        "mesh0",
        "udp and broadcast",
    ];
    let mut capture = container.spawn(&line)?;
    wait_until(SOON, "tcpdump listens", || {
        ensure!(capture.errors()?.contains("listening on"), "not yet");
        Ok(())
    })?;
    let mut storm = sender.storm(broadcast, Duration::from_secs(2))?;
    wait_until(SOON, "the sender is done", || storm.finished()?.ok())?;
    let ended = wait_until(SOON, "tcpdump has ended", || capture.finished())?;
    Ok(ended.stdout.contains("UDP"))
}

#[test]
fn equal_subnets_are_apart_and_each_network_is_one() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        two_networks(bed)?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        let a1 = run_in(one, "a", "10.40.0.1", "a1")?;
        let a2 = run_in(two, "a", "10.40.0.2/16", "a2")?;
        // The same addresses, on the same hosts the other way round.
        let b1 = run_in(two, "b", "10.40.0.1", "b1")?;
        let b2 = run_in(three, "b", "10.40.0.2", "b2")?;
        a1.reaches(&a2)?;
        b1.reaches(&b2)?;
        a2.reaches(&a1)?;
        // An address of one network alone.
        let only_b = run_in(one, "b", "10.40.0.3", "only-b")?;
        only_b.reaches(&b1)?;
        for other in [&a1, &a2] {
            other.does_not_reach(&only_b)?;
        }
        // The one in default does not reach them either, nor they it.
        let plain = one.run("10.40.0.4/16")?;
        plain.does_not_reach(&a2)?;
        a1.does_not_reach(&plain)?;
        ensure!(
            listed(one)? == ["10.40.0.1/16@a", "10.40.0.3/16@b", "10.40.0.4/16@"],
            "{:?}",
            listed(one)?
        );
        let text = mesh(one, "ps")?;
        ensure!(
            text.contains("10.40.0.1/16@a")
                && text.lines().any(|line| line.ends_with(" 10.40.0.4/16")),
            "{text}"
        );
        // Broadcasts of one network are not heard in the other.
        // Broadcasts of a new network begin once its members have agreed on a key.
        wait_until(KEY, "a hears a", || {
            ensure!(hears(&a1, &a2, "10.40.255.255:4000")?, "nothing");
            Ok(())
        })?;
        ensure!(!hears(&only_b, &a2, "10.40.255.255:4000")?, "b hears a");
        ensure!(
            !hears(&plain, &a2, "10.40.255.255:4000")?,
            "default hears a"
        );
        Ok(())
    })
}

#[test]
fn a_process_is_in_two_networks_and_leaves_one() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        two_networks(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let both = run_in(one, "a", "10.40.0.1", "both")?;
        let id = one.ps()?.remove(0).container;
        mesh(one, &format!("attach --net b 10.40.1.1 {id}"))?;
        let links = both.exec(&["ip", "-o", "link", "show"])?.ok()?;
        ensure!(
            links.contains("mesh0") && links.contains("mesh1"),
            "{links}"
        );
        let far = run_in(two, "a", "10.40.0.2", "far")?;
        both.reaches(&far)?;
        let error = refused(one, &format!("detach 10.40.1.1/16 {id}"))?;
        ensure!(error.contains("add --net b"), "{error}");
        mesh(one, &format!("detach --net b {id}"))?;
        ensure!(listed(one)? == ["10.40.0.1/16@a"], "{:?}", listed(one)?);
        both.reaches(&far)?;
        // A router that is started again has it as it was.
        mesh(one, "stop")?;
        one.launch(&["host2"])?;
        both.reaches_within(Duration::from_secs(30), &far)?;
        // The bridge of a network that nobody uses goes after a while.
        both.kill()?;
        wait_until(Duration::from_secs(60), "the bridge is gone", || {
            let links = one
                .exec(&["ip", "-o", "link", "show", "type", "bridge"])?
                .ok()?;
            ensure!(!links.contains(" mn"), "{links}");
            Ok(())
        })
    })
}

#[test]
fn a_network_that_is_removed_loses_its_containers_everywhere() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        two_networks(bed)?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        let a1 = run_in(one, "a", "10.40.0.1", "a1")?;
        let a2 = run_in(two, "a", "10.40.0.2", "a2")?;
        let b1 = run_in(one, "b", "10.40.0.1", "b1")?;
        let b2 = run_in(two, "b", "10.40.0.2", "b2")?;
        a1.reaches(&a2)?;
        b1.reaches(&b2)?;
        wait_until(SOON, "removal is refused while it is used", || {
            let error = refused(three, "network rm a")?;
            ensure!(error.contains("has containers on"), "{error}");
            Ok(())
        })?;
        mesh(three, "network rm --force a")?;
        for host in [one, two] {
            wait_until(SOON, "its containers are detached", || {
                let left = listed(host)?;
                ensure!(left.iter().all(|line| line.ends_with("@b")), "{left:?}");
                let text = mesh(host, "ps")?;
                ensure!(text.contains("(the network a was removed"), "{text}");
                Ok(())
            })?;
        }
        ensure!(a1.ping("10.40.0.2").is_err(), "it answers still");
        b1.reaches(&b2)?;
        let error = refused(one, "run --net a --runtime process 10.40.0.9 -- true")?;
        ensure!(error.contains("there is no network 'a'"), "{error}");
        Ok(())
    })
}

#[test]
fn the_host_and_other_bridges_are_in_the_network_they_are_told() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        two_networks(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let a = run_in(two, "a", "10.40.0.1", "a")?;
        let b = run_in(two, "b", "10.40.0.2", "b")?;
        mesh(one, "expose --net a 10.40.0.254")?;
        wait_until(SOON, "the host reaches a", || {
            one.exec(&["ping", "-n", "-c", "1", "-W", "1", a.address()])?
                .ok()
        })?;
        let ping = ["ping", "-n", "-c", "2", "-W", "1", b.address()];
        ensure!(one.exec(&ping)?.code != Some(0), "the host reaches b");
        ensure!(b.ping("10.40.0.254").is_err(), "b reaches the host");
        let error = refused(one, "expose --net b 10.40.0.253")?;
        ensure!(!error.trim().contains('\n'), "{error}");
        mesh(one, "hide --net a")?;
        one.shell("ip link add br-x type bridge && ip link set br-x up")?
            .ok()?;
        mesh(one, "attach-bridge --net b br-x")?;
        let error = refused(one, "attach-bridge --net a br-x")?;
        ensure!(error.contains("networks stay apart"), "{error}");
        mesh(one, "detach-bridge br-x")?;
        mesh(
            two,
            "network create closed --subnet 10.41.0.0/16 --internal",
        )?;
        wait_until(
            SOON,
            "an internal network is exposed without a way out",
            || {
                let error = refused(one, "expose --net closed 10.41.0.1")?;
                ensure!(error.contains("--without-masquerade"), "{error}");
                Ok(())
            },
        )?;
        mesh(one, "expose --net closed --without-masquerade 10.41.0.1")?;
        mesh(one, "hide").map(drop)
    })
}

#[test]
fn mistakes_are_told_in_one_line() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        two_networks(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let _here = run_in(one, "a", "10.40.0.1", "here")?;
        let _there = run_in(two, "a", "10.40.0.2", "there")?;
        let run = |net: &str, address: &str| {
            refused(
                one,
                &format!("run --runtime process --net {net} {address} -- true"),
            )
        };
        wait_until(SOON, "an address in use names its holder", || {
            let error = run("a", "10.40.0.2")?;
            ensure!(
                error.contains("is already used by container there"),
                "{error}"
            );
            Ok(())
        })?;
        for (net, address, words) in [
            ("nope", "10.40.0.9", "`mesh network ls` lists all"),
            ("a", "10.41.0.9", "is outside the network a"),
            ("a", "10.40.0.9/24", "write 10.40.0.9/16"),
            ("a", "10.40.0.0", "first or last address"),
            (
                "a",
                "10.40.0.1",
                "is already used by container here on this host",
            ),
            ("a", "net:default", "leave out either it or --net a"),
            ("a", "net:10.32.0.0/16", "leave out either it or --net a"),
            ("default", "10.40.0.9", "no prefix length"),
        ] {
            let error = run(net, address)?;
            let lines = error.trim().lines().count();
            ensure!(
                error.contains(words) && lines == 1,
                "{net} {address}: {error}"
            );
        }
        let links = one
            .exec(&["ip", "-o", "link", "show", "type", "bridge"])?
            .ok()?;
        ensure!(
            links.matches(" mn").count() == 1,
            "one network is used: {links}"
        );
        Ok(())
    })
}
