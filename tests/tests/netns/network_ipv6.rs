//! IPv6 subnets of networks: addresses of one allocator for all hosts, names, and networks apart, as with IPv4.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestContainer, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::network_addresses::{mesh, networks};

const SOON: Duration = Duration::from_secs(15);

/// Returns the addresses of a container of `mesh ps`, without prefix lengths: the IPv4 ones, and the IPv6 ones.
fn both(host: &TestbedHost, name: &str) -> Result<(Vec<String>, Vec<String>)> {
    let all = host.ps()?;
    let row = all
        .iter()
        .find(|row| row.name == name)
        .context(name.to_owned())?;
    let addresses = row
        .interfaces
        .iter()
        .filter_map(|i| i.address.split('/').next());
    Ok(addresses
        .map(str::to_owned)
        .partition(|address| !address.contains(':')))
}

/// Starts a container, and returns it with its only IPv6 address.
fn run(host: &TestbedHost, args: &[&str], name: &str) -> Result<(TestContainer, String)> {
    let container = host.run_free(args, name)?;
    let (_, mut v6) = both(host, name)?;
    ensure!(v6.len() == 1, "{name} has {v6:?}");
    Ok((container, v6.remove(0)))
}

fn reaches(from: &TestContainer, to: &str) -> Result<()> {
    wait_until(SOON, &format!("{to} answers"), || from.ping(to))
}

/// Returns what a name is in the container, as its C library finds it.
fn found(container: &TestContainer, name: &str) -> Result<BTreeSet<String>> {
    let found = container.exec_inside(&["getent", "ahostsv6", name])?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(found.stdout.lines().filter_map(first).collect())
}

#[test]
fn containers_of_all_hosts_get_an_address_of_each_family() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let same = "--subnet 10.40.0.0/24 --subnet fd00:40::/64";
        networks(bed, &[&format!("a {same}"), &format!("b {same}")])?;
        let (mut in_a, mut in_b) = (Vec::new(), Vec::new());
        for (k, host) in bed.hosts().iter().enumerate() {
            for n in 0..2 {
                in_a.push(run(host, &["--net", "a"], &format!("a{k}{n}"))?);
            }
            in_b.push(run(host, &["--net", "b"], &format!("b{k}"))?);
            ensure!(both(host, &format!("b{k}"))?.0.len() == 1);
        }
        for all in [&in_a, &in_b] {
            let different: BTreeSet<&String> = all.iter().map(|(_, v6)| v6).collect();
            ensure!(different.len() == all.len(), "{different:?}");
            for address in different {
                let segments = address.parse::<Ipv6Addr>()?.segments();
                ensure!(segments[..4] == [0xfd00, 0x40, 0, 0], "{address}");
            }
        }
        reaches(&in_a[0].0, &in_a[5].1)?;
        reaches(&in_b[2].0, &in_b[0].1)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let shown = mesh(one, "status ipam")?;
        ensure!(shown.contains("fd00:40::/64"), "{shown}");

        // One of choice, and one that is used.
        let (fixed, address) = run(one, &["--net", "a", "fd00:40::77"], "fixed")?;
        ensure!(address == "fd00:40::77" && both(one, "fixed")?.0.is_empty());
        reaches(&fixed, &in_a[5].1)?;
        let words = [
            "run",
            "--net",
            "a",
            "fd00:40::77",
            "--runtime",
            "process",
            "--",
            "true",
        ];
        let error = two.mesh(&words)?.refused()?;
        ensure!(
            error.contains("fd00:40::77") && error.contains("already used"),
            "{error}"
        );
        fixed.kill()?;
        wait_until(SOON, "its address is free for another host", || {
            two.mesh(&words)?.ok()
        })
        .map(drop)
    })
}

#[test]
fn a_network_of_ipv6_alone_has_names_and_survives_its_founder() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        networks(
            bed,
            &["six --subnet fd00:41::/64 --gateway fd00:41::1", "other"],
        )?;
        let (one, two) = (bed.host(1), bed.host(2));
        let (near, near_address) = run(one, &["--net", "six"], "near")?;
        let (far, far_address) = run(two, &["--net", "six"], "far")?;
        ensure!(both(one, "near")?.0.is_empty(), "it has an IPv4 address");
        ensure!(![&near_address, &far_address].contains(&&"fd00:41::1".to_owned()));
        reaches(&near, &far_address)?;
        wait_until(SOON, "the name leads there", || {
            let found = found(&near, "far")?;
            ensure!(found == BTreeSet::from([far_address.clone()]), "{found:?}");
            Ok(())
        })?;
        let reverse = near.exec_inside(&["getent", "hosts", &far_address])?.ok()?;
        ensure!(reverse.contains("far.mesh.local"), "{reverse}");
        let stranger = two.run_free(&["--net", "other"], "stranger")?;
        ensure!(found(&stranger, "far")?.is_empty());
        ensure!(stranger.ping(&near_address).is_err());

        // The founder is gone, and the other router crashes: what it gave is not given again.
        mesh(one, "stop")?;
        let (_second, second) = run(two, &["--net", "six"], "second")?;
        two.kill_router()?;
        two.launch(&[])?;
        let (_third, third) = run(two, &["--net", "six"], "third")?;
        let all = [&near_address, &far_address, &second, &third];
        ensure!(BTreeSet::from(all).len() == 4, "{all:?}");
        reaches(&far, &third)?;

        // The host as the gateway.
        one.launch(&["host2"])?;
        one.wait_connections(1)?;
        wait_until(SOON, "the founder hears of what it gave", || {
            mesh(two, "expose --net six fd00:41::1")
        })?;
        reaches(&far, "fd00:41::1")
    })
}

#[test]
fn what_cannot_be_is_said_in_one_line() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        networks(
            bed,
            &["six --subnet fd00:41::/64", "four --subnet 10.41.0.0/24"],
        )?;
        let host = bed.host(1);
        for (line, part) in [
            (
                "network create far --subnet fd00:42::/64 --ip-range fd00:42::1:0:0:0/80",
                "fd00:42::/104",
            ),
            (
                "run --net four fd00:41::5/64 --runtime process -- true",
                "10.41.0.0/24",
            ),
            (
                "run --net six net:fd00:43::/64 --runtime process -- true",
                "fd00:41::/64",
            ),
            (
                "run --net six net:fd00:41::1:0:0:0/80 --runtime process -- true",
                "fd00:41::/104",
            ),
            (
                "run --net six net:10.41.0.0/24 --runtime process -- true",
                "fd00:41::/64",
            ),
            ("run --runtime process net:fd00:41::/64 -- true", "IPv4"),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            let error = host.mesh(&words)?.refused()?;
            ensure!(error.contains(part), "{line}: {error}");
            ensure!(error.trim().lines().count() == 1, "{line}: {error}");
        }
        // Beyond what is allocated an address is the operator's.
        let (_far, address) = run(host, &["--net", "six", "fd00:41::dead:beef:1"], "beyond")?;
        ensure!(address == "fd00:41::dead:beef:1", "{address}");
        Ok(())
    })
}
