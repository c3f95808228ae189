//! `docker network create -d mesh --ipv6`: addresses of both families in one endpoint, on two hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::full_mesh;
use crate::names::inside;
use crate::network_commands::{create, docker, inspect, known, reaches, refused};

const SOON: Duration = Duration::from_secs(25);

/// Returns the IPv4 and the IPv6 address that Docker shows for a container in a network.
fn both(host: &TestbedHost, network: &str, name: &str) -> Result<[String; 2]> {
    let of = |field: &str| {
        let field = format!("(index .NetworkSettings.Networks \"{network}\").{field}");
        inspect(host, name, &field)
    };
    Ok([of("IPAddress")?, of("GlobalIPv6Address")?])
}

fn start(host: &TestbedHost, network: &str, args: &str, name: &str) -> Result<[String; 2]> {
    let line = format!("run -d --network {network} {args} --name {name} ubuntu sleep 1000");
    docker(host, &line)?;
    both(host, network, name)
}

/// Returns the IPv6 addresses of a name, as the C library in a container finds them.
fn found(host: &TestbedHost, from: &str, name: &str) -> Result<BTreeSet<String>> {
    let found = inside(host, from, &format!("getent ahostsv6 {name}"))?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(found.stdout.lines().filter_map(first).collect())
}

#[test]
fn a_docker_network_has_both_families_on_two_hosts() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        // Docker takes an IPv6 gateway only beside one of IPv4.
        let options = "--ipv6 --subnet 10.40.0.0/16 --subnet fd00:40::/64 --gateway 10.40.0.1 \
                       --gateway fd00:40::1 --aux-address printer=fd00:40::2";
        create(one, &format!("{options} dual"))?;
        let shown = known(two, "dual")?;
        ensure!(
            shown.contains("fd00:40::/64") && shown.contains("fd00:40::1"),
            "{shown}"
        );
        // Docker takes --ip6 where there is --subnet; else the name is enough.
        create(
            two,
            "--ipv6 --subnet 10.40.0.0/16 --subnet fd00:40::/64 dual",
        )?;
        create(two, "--ipv6 -o mesh.network=dual by-name")?;
        let [v4, v6] = start(two, "by-name", "", "named")?;
        ensure!(
            v4.starts_with("10.40.") && v6.starts_with("fd00:40::"),
            "{v4} {v6}"
        );
        addresses(one, two)?;
        again_without_the_router(one, two)?;
        of_the_mesh(one, two)?;
        refusals(one, two)
    })
}

#[test]
fn containers_of_the_default_network_have_both_families() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        let range6 = "--ipalloc-range6=fd00:32::/64";
        one.launch(&[range6])?;
        two.launch(&[range6, &one.address()])?;
        two.wait_connections(1)?;
        let [v4, v6] = start(one, "mesh", "", "plain")?;
        ensure!(
            v4.starts_with("10.") && v6.starts_with("fd00:32::a2"),
            "{v4} {v6}"
        );
        two.mesh(&["run", "-d", "--name", "run", "ubuntu", "sleep", "1000"])?
            .ok()?;
        let [run4, run6] = both(two, "mesh", "run")?;
        ensure!(
            run4 != v4 && run6.starts_with("fd00:32::a2"),
            "{run4} {run6}"
        );
        let links = inside(two, "run", "ip -o link")?.ok()?;
        ensure!(!links.contains("mesh1"), "one interface for both: {links}");
        reaches(one, "plain", &run6)?;
        reaches(two, "run", &v6)?;
        docker(two, "restart -t 0 run")?;
        ensure!(both(two, "mesh", "run")? == [run4.clone(), run6.clone()]);
        reaches(one, "plain", &run6)?;
        // Both are given up with the container, and not before.
        let line = format!("run --runtime process {run6}/64 -- true");
        let words: Vec<&str> = line.split(' ').collect();
        let error = one.mesh(&words)?.refused()?;
        ensure!(
            error.contains(&run6) && error.contains("already used"),
            "{error}"
        );
        docker(two, "rm -f run")?;
        wait_until(SOON, "they are free", || one.mesh(&words)?.ok()).map(drop)
    })
}

fn addresses(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let mut all = BTreeSet::new();
    for (host, name) in [(one, "a1"), (one, "a2"), (two, "b1"), (two, "b2")] {
        let [v4, v6] = start(host, "dual", "", name)?;
        ensure!(
            v4.starts_with("10.40.") && v6.starts_with("fd00:40::"),
            "{v4} {v6}"
        );
        ensure!(!["fd00:40::1", "fd00:40::2"].contains(&v6.as_str()), "{v6}");
        ensure!(all.insert(v4) && all.insert(v6), "twice: {all:?}");
    }
    let [v4, v6] = both(two, "dual", "b1")?;
    reaches(one, "a1", &v4)?;
    reaches(one, "a1", &v6)?;
    let routes = inside(one, "a1", "ip -6 route show default")?.ok()?;
    ensure!(routes.contains("fd00:40::1"), "{routes}");
    wait_until(SOON, "the name has both addresses", || {
        let found = found(one, "a1", "b1")?;
        ensure!(found == BTreeSet::from([v6.clone()]), "{found:?}");
        Ok(())
    })?;
    let rows = two.ps()?;
    let row = rows.iter().find(|row| row.name == "b1");
    let shown: Vec<&str> = row
        .iter()
        .flat_map(|row| &row.interfaces)
        .filter_map(|i| i.address.split('/').next())
        .collect();
    ensure!(
        shown.contains(&v4.as_str()) && shown.contains(&v6.as_str()),
        "{rows:?}"
    );

    let [_, fixed] = start(one, "dual", "--ip 10.40.7.7 --ip6 fd00:40::77", "fixed")?;
    ensure!(fixed == "fd00:40::77", "{fixed}");
    let line = "run -d --network dual --ip6 fd00:40::77 ubuntu sleep 1000";
    for host in [one, two] {
        let told = refused(host, line)?;
        ensure!(
            told.contains("fd00:40::77") && told.contains("used by"),
            "{told}"
        );
    }
    docker(two, "run -d --name bare ubuntu sleep 1000")?;
    docker(two, "network connect --ip6 fd00:40::99 dual bare")?;
    reaches(one, "fixed", "fd00:40::99")?;
    docker(one, "rm -f fixed")?;
    wait_until(SOON, "its address is free for the other host", || {
        let words = "run --rm --network dual --ip6 fd00:40::77 ubuntu true";
        two.docker(&words.split(' ').collect::<Vec<_>>())?.ok()
    })
    .map(drop)
}

/// A container keeps its way when its host's router is away, and when it is back.
fn again_without_the_router(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let [v4, v6] = both(two, "dual", "b1")?;
    docker(two, "restart -t 0 b1")?;
    two.kill_router()?;
    let before = both(two, "dual", "b1")?;
    docker(two, "restart -t 0 b1")?;
    let after = both(two, "dual", "b1")?;
    ensure!(
        before == after && !after[1].is_empty(),
        "{before:?} {after:?}"
    );
    two.launch(&["host1"])?;
    two.wait_connections(1)?;
    reaches(one, "a1", &after[0])?;
    reaches(one, "a1", &after[1])?;
    wait_until(SOON, "nobody else gets what it has", || {
        let shown = two.mesh(&["status", "ipam"])?.ok()?;
        ensure!(
            after.iter().all(|address| shown.contains(address)),
            "{shown}"
        );
        Ok(())
    })?;
    ensure!(!v4.is_empty() && !v6.is_empty());
    Ok(())
}

/// A network of the mesh with an IPv6 subnet is there for Docker, with both.
fn of_the_mesh(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let line = "network create mixed --subnet 10.50.0.0/16 --subnet fd00:50::/64";
    one.mesh(&line.split(' ').collect::<Vec<_>>())?.ok()?;
    for host in [one, two] {
        wait_until(SOON, "Docker has the network", || {
            ensure!(inspect(host, "mixed", ".EnableIPv6")? == "true");
            Ok(())
        })?;
    }
    let [_, near] = start(one, "mixed", "", "near")?;
    let [_, far] = start(two, "mixed", "", "far")?;
    ensure!(near.starts_with("fd00:50::") && far.starts_with("fd00:50::") && near != far);
    reaches(one, "near", &far)?;
    // By mesh's own command, too.
    let container = one.run_free(&["--net", "mixed"], "own")?;
    wait_until(SOON, "they are in one network", || container.ping(&far))
}

fn refusals(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    // Docker gives addresses itself, and does not know what the other host has.
    let line = "network create -d mesh --ipv6 --subnet 10.60.0.0/16 --subnet fd00:60::/64 own6";
    docker(one, line)?;
    known(two, "own6")?;
    docker(two, line)?;
    let [_, first] = start(one, "own6", "--ip 10.60.0.50", "first")?;
    let words = format!("run -d --network own6 --ip 10.60.0.51 --ip6 {first} ubuntu sleep 1000");
    let told = refused(two, &words)?;
    ensure!(
        told.contains(&first) && told.contains("--ipam-driver mesh"),
        "{told}"
    );
    // Another subnet than that of the network.
    create(
        two,
        "--ipv6 --subnet 10.50.0.0/16 --subnet fd00:99::/64 -o mesh.network=mixed other6",
    )?;
    let told = refused(two, "run -d --network other6 ubuntu sleep 1000")?;
    ensure!(
        told.contains("fd00:50::/64") && told.contains("fd00:99::/64"),
        "{told}"
    );
    let line = "network create -d mesh --ipam-driver mesh --ipv6 --subnet 10.61.0.0/16 --subnet fd00:61::/64 \
                --ip-range fd00:61::1:0:0:0/80 far";
    let told = refused(one, line)?;
    ensure!(told.contains("fd00:61::/104"), "{told}");
    Ok(())
}
