//! Addresses and names of networks: chosen from one allocator for all hosts, and known in their own network alone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestContainer, Testbed, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::full_mesh;

const SOON: Duration = Duration::from_secs(15);

pub(crate) fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&words)?.ok()
}

/// Starts routers and creates networks on the first; waits until all hosts know them.
pub(crate) fn networks(bed: &Testbed, lines: &[&str]) -> Result<()> {
    full_mesh(bed, &[])?;
    for line in lines {
        mesh(bed.host(1), &format!("network create {line}"))?;
    }
    for host in bed.hosts() {
        wait_until(SOON, "the networks are known", || {
            let listed = mesh(host, "network ls")?;
            let mut names = lines.iter().filter_map(|line| line.split(' ').next());
            let is_known = |name: &str| listed.split_whitespace().any(|word| word == name);
            ensure!(names.all(is_known), "{listed}");
            Ok(())
        })?;
    }
    Ok(())
}

fn run(host: &TestbedHost, network: &str, name: &str) -> Result<TestContainer> {
    host.run_free(&["--net", network], name)
}

/// Returns the addresses of a name as the C library in the container finds them.
fn addresses(container: &TestContainer, name: &str) -> Result<BTreeSet<String>> {
    let found = container.exec_inside(&["getent", "ahostsv4", name])?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(found.stdout.lines().filter_map(first).collect())
}

fn finds(container: &TestContainer, name: &str, address: &str) -> Result<()> {
    wait_until(SOON, &format!("{name} is {address}"), || {
        let found = addresses(container, name)?;
        ensure!(found == BTreeSet::from([address.to_owned()]), "{found:?}");
        Ok(())
    })
}

#[test]
fn containers_of_all_hosts_get_different_addresses_in_each_network() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let same = "--subnet 10.40.0.0/24";
        networks(bed, &[&format!("a {same}"), &format!("b {same}")])?;
        let (mut in_a, mut in_b) = (Vec::new(), Vec::new());
        for (k, host) in bed.hosts().iter().enumerate() {
            for n in 0..3 {
                in_a.push(run(host, "a", &format!("a{k}{n}"))?);
            }
            in_b.push(run(host, "b", &format!("b{k}"))?);
        }
        for all in [&in_a, &in_b] {
            let different: BTreeSet<&str> = all.iter().map(TestContainer::address).collect();
            ensure!(different.len() == all.len(), "{different:?}");
            for address in different {
                let octets = address.parse::<Ipv4Addr>()?.octets();
                ensure!(octets[..3] == [10, 40, 0], "{address}");
            }
        }
        in_a[0].reaches(&in_a[8])?;
        in_b[2].reaches(&in_b[0])?;
        // One that was given by hand is not chosen, and one that is used is refused with its holder.
        let taken = in_a[8].address();
        let words = [
            "run",
            "--net",
            "a",
            taken,
            "--runtime",
            "process",
            "--",
            "true",
        ];
        let error = bed.host(1).mesh(&words)?.refused()?;
        ensure!(error.contains("a22"), "{error}");
        // What a container had is free once it has ended, also for another host.
        let was = in_a[0].address().to_owned();
        in_a[0].kill()?;
        wait_until(SOON, "its address is free", || {
            let words = [
                "run",
                "--net",
                "a",
                &was,
                "--runtime",
                "process",
                "--",
                "true",
            ];
            bed.host(2).mesh(&words)?.ok()
        })?;
        let shown = mesh(bed.host(1), "status ipam")?;
        ensure!(shown.contains("network a"), "{shown}");
        Ok(())
    })
}

#[test]
fn what_is_held_in_a_network_is_held_after_a_crash_and_with_the_founder_gone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        networks(bed, &["a --subnet 10.40.0.0/24 --gateway 10.40.0.1"])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let first = run(two, "a", "first")?;
        ensure!(first.address() != "10.40.0.1", "the gateway was given out");
        // The founder is gone; this host has space of its own by now.
        mesh(one, "stop")?;
        let second = run(two, "a", "second")?;
        ensure!(second.address() != first.address());
        two.kill_router()?;
        two.launch(&[])?;
        let third = run(two, "a", "third")?;
        let all = [&first, &second, &third].map(TestContainer::address);
        let different: BTreeSet<&str> = all.into_iter().collect();
        ensure!(different.len() == 3, "{all:?}");
        one.launch(&["host2"])?;
        one.wait_connections(1)?;
        wait_until(SOON, "the founder hears of what it gave", || {
            mesh(one, "expose --net a 10.40.0.1")
        })?;
        wait_until(SOON, "the host is the gateway", || third.ping("10.40.0.1"))
    })
}

#[test]
fn names_are_known_in_their_network_alone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let same = "--subnet 10.40.0.0/24";
        networks(bed, &[&format!("a {same}"), &format!("b {same}")])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let web_a = run(two, "a", "web")?;
        let web_b = one.run_free(&["--net", "b", "10.40.0.9"], "web")?;
        let (in_a, in_b) = (run(one, "a", "ia")?, run(two, "b", "ib")?);
        let plain = one.run_named("10.2.1.1/24", "plain")?;
        finds(&in_a, "web", web_a.address())?;
        finds(&in_b, "web", web_b.address())?;
        for stranger in ["plain", "ib"] {
            ensure!(addresses(&in_a, stranger)?.is_empty(), "{stranger} in a");
        }
        for stranger in ["web", "ia", "ib"] {
            ensure!(
                addresses(&plain, stranger)?.is_empty(),
                "{stranger} in default"
            );
        }
        // The name of an address is that of the asker's network.
        let reverse = in_a
            .exec_inside(&["getent", "hosts", web_a.address()])?
            .ok()?;
        ensure!(reverse.contains("web.mesh.local"), "{reverse}");
        let reverse = in_a.exec_inside(&["getent", "hosts", "10.2.1.1"])?;
        ensure!(!reverse.stdout.contains("plain"), "{reverse:?}");
        // The operator asks for the network by its name.
        let found = mesh(one, "dns-lookup --net a web")?;
        ensure!(found.trim() == web_a.address(), "{found}");
        let refused = one
            .mesh(&["dns-lookup", "--net", "nope", "web"])?
            .refused()?;
        ensure!(refused.contains("nope"), "{refused}");
        // The host is answered in the networks that it is exposed in.
        mesh(one, "expose --net a -h gw")?;
        wait_until(SOON, "the host has a name in a", || {
            let found = addresses(&in_a, "gw")?;
            ensure!(found.len() == 1, "{found:?}");
            Ok(())
        })?;
        ensure!(addresses(&in_b, "gw")?.is_empty(), "gw in b");
        let shown = mesh(one, "status dns")?;
        ensure!(shown.contains("a ") && shown.contains("default"), "{shown}");
        Ok(())
    })
}
