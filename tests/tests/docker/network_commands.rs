//! Docker's network commands, one by one, with their results.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, stays, wait_until, with_testbed};

use crate::full_mesh;
use crate::names::inside;

const SOON: Duration = Duration::from_secs(25);
/// Front of `docker network create`, with both drivers.
const CREATE: [&str; 6] = ["network", "create", "-d", "mesh", "--ipam-driver", "mesh"];

pub(crate) fn docker(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(host.docker(&words)?.ok()?.trim().to_owned())
}

pub(crate) fn create(host: &TestbedHost, args: &str) -> Result<String> {
    docker(host, &format!("{} {args}", CREATE.join(" ")))
}

/// Runs a command of Docker that has to fail, and returns its error.
pub(crate) fn refused(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = host.docker(&words)?;
    ensure!(output.code.is_some_and(|code| code != 0), "{output}");
    Ok(output.stderr)
}

/// Starts a container that sleeps, and returns the address that Docker shows for it in a network.
fn start(host: &TestbedHost, network: &str, args: &str, name: &str) -> Result<String> {
    let line = format!("run -d --network {network} {args} --name {name} ubuntu sleep 1000");
    docker(host, &line)?;
    address(host, network, name)
}

fn address(host: &TestbedHost, network: &str, name: &str) -> Result<String> {
    let field = format!("(index .NetworkSettings.Networks \"{network}\").IPAddress");
    inspect(host, name, &field)
}

/// Creates a container by Docker's API: new clients do not ask old engines for a MAC address.
fn create_with_mac(host: &TestbedHost, mac: &str, name: &str, ip: &str) -> Result<()> {
    let body = format!(
        r#"{{"Image": "ubuntu", "Cmd": ["sleep", "1000"], "MacAddress": "{mac}", "HostConfig": {{"NetworkMode": "all"}},
            "NetworkingConfig": {{"EndpointsConfig": {{"all":
                {{"IPAMConfig": {{"IPv4Address": "{ip}"}}, "Aliases": ["shop"]}}}}}}}}"#
    );
    let line = format!(
        "curl -sf --unix-socket /run/docker.sock -H 'Content-Type: application/json' -d '{body}' \
         'http://docker/v1.41/containers/create?name={name}'"
    );
    host.shell(&line)?.ok().map(drop)
}

pub(crate) fn inspect(host: &TestbedHost, name: &str, field: &str) -> Result<String> {
    let shown = host.docker(&["inspect", "-f", &format!("{{{{{field}}}}}"), name])?;
    Ok(shown.ok()?.trim().to_owned())
}

/// Waits until a container of Docker reaches an address.
pub(crate) fn reaches(host: &TestbedHost, from: &str, to: &str) -> Result<()> {
    wait_until(SOON, &format!("{from} reaches {to}"), || {
        inside(host, from, &format!("ping -n -c 1 -W 1 {to}"))?.ok()
    })
    .map(drop)
}

fn does_not_reach(host: &TestbedHost, from: &str, to: &str) -> Result<()> {
    stays(
        Duration::from_secs(2),
        &format!("{from} does not reach {to}"),
        || {
            let ping = inside(host, from, &format!("ping -n -c 1 -W 1 {to}"))?;
            ensure!(ping.code != Some(0), "{ping}");
            Ok(())
        },
    )
}

pub(crate) fn known(host: &TestbedHost, network: &str) -> Result<String> {
    wait_until(SOON, &format!("{} knows {network}", host.name()), || {
        host.mesh(&["network", "inspect", network])?.ok()
    })
}

#[test]
fn docker_network_commands_do_what_they_say() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        create_with_all_options(one, two)?;
        names_and_macs(one, two)?;
        connect_and_disconnect(one, two)?;
        ways_out(one)?;
        refusals(one)?;
        remove_and_prune(one, two)
    })
}

/// The second host needs the name only; addresses are those of the range on both.
fn create_with_all_options(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let options = "--subnet 10.40.0.0/16 --gateway 10.40.0.1 --ip-range 10.40.5.0/24 \
                   --aux-address printer=10.40.5.1 --label tier=front";
    create(one, &format!("{options} all"))?;
    let shown = known(two, "all")?;
    for part in ["10.40.0.0/16", "10.40.0.1", "10.40.5.0/24"] {
        ensure!(shown.contains(part), "{part}: {shown}");
    }
    let ipam = inspect(one, "all", "json .IPAM")?;
    ensure!(
        ipam.contains("10.40.0.0/16") && ipam.contains("\"Driver\":\"mesh\""),
        "{ipam}"
    );
    create(two, "all")?;
    let mut seen = Vec::new();
    for (host, name) in [(one, "a1"), (one, "a2"), (two, "b1"), (two, "b2")] {
        let has = start(host, "all", "", name)?;
        ensure!(has.starts_with("10.40.5."), "{has}");
        ensure!(
            has != "10.40.5.1" && !seen.contains(&has),
            "{has}: {seen:?}"
        );
        seen.push(has);
    }
    reaches(one, "a1", &seen[2])?;
    reaches(two, "b2", &seen[0])?;
    let routes = inside(two, "b1", "ip -4 route show default")?.ok()?;
    ensure!(routes.contains("10.40.0.1"), "{routes}");
    let network = inspect(one, "all", "json .Containers")?;
    for name in ["a1", "a2"] {
        let has = address(one, "all", name)?;
        ensure!(network.contains(&has), "{has}: {network}");
    }
    Ok(())
}

fn names_and_macs(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let mac = "02:42:00:00:00:77";
    create_with_mac(one, mac, "mac", "10.40.5.70")?;
    docker(one, "start mac")?;
    let has = address(one, "all", "mac")?;
    ensure!(has == "10.40.5.70", "{has}");
    let link = inside(one, "mac", "ip -o link")?.ok()?;
    ensure!(link.contains(mac), "{link}");
    let rows = one.ps()?;
    let row = rows.iter().find(|row| row.name == "mac");
    let interface = row.and_then(|row| row.interfaces.first());
    ensure!(interface.is_some_and(|i| i.mac == mac), "{rows:?}");
    reaches(two, "b1", &has)?;
    reaches(two, "b1", "shop")?;
    reaches(two, "b1", "mac")?;
    for (other, part) in [(mac, "container mac"), ("01:00:5e:00:00:01", "not the MAC")] {
        create_with_mac(one, other, "twice", "10.40.5.71")?;
        let told = refused(one, "start twice")?;
        ensure!(told.contains(other) && told.contains(part), "{told}");
        docker(one, "rm twice")?;
    }
    docker(one, "restart -t 0 mac")?;
    let link = inside(one, "mac", "ip -o link")?.ok()?;
    ensure!(link.contains(mac), "after a restart: {link}");
    reaches(two, "b1", "shop")
}

/// A second network with the same subnet on the same hosts; a container may be in both with different addresses.
fn connect_and_disconnect(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    create(one, "--subnet 10.40.0.0/16 twin")?;
    known(two, "twin")?;
    create(two, "--subnet 10.40.0.0/16 twin")?;
    let same = address(two, "all", "b1")?;
    let there = start(two, "twin", &format!("--ip {same}"), "t2")?;
    ensure!(there == same, "{there}");
    docker(one, "run -d --name bare ubuntu sleep 1000")?;
    docker(one, "network connect --ip 10.40.9.9 --alias also twin bare")?;
    ensure!(address(one, "twin", "bare")? == "10.40.9.9");
    reaches(two, "t2", "also")?;
    reaches(two, "t2", "10.40.9.9")?;
    does_not_reach(two, "b1", "10.40.9.9")?;
    let found = inside(two, "b1", "getent ahostsv4 also")?;
    ensure!(found.stdout.is_empty(), "{found}");
    docker(one, "network disconnect twin bare")?;
    let gone = address(one, "twin", "bare");
    ensure!(gone.is_err() || gone?.is_empty(), "it has an address");
    // Its address is free again.
    docker(one, "network connect --ip 10.40.9.9 twin bare")?;
    reaches(two, "t2", "10.40.9.9")
}

/// Published ports and a way to the host by Docker's own bridge beside, unless the network is internal.
fn ways_out(host: &TestbedHost) -> Result<()> {
    create(host, "--subnet 10.70.0.0/24 open")?;
    create(host, "--subnet 10.71.0.0/24 --internal shut")?;
    docker(host, "run -d --network open -p 8070:80 --name served nginx")?;
    wait_until(SOON, "the published port answers", || {
        host.shell("curl -s -m 2 http://127.0.0.1:8070/ >/dev/null")?
            .ok()
    })?;
    start(host, "shut", "", "inner")?;
    let routes = inside(host, "inner", "ip -4 route")?.ok()?;
    ensure!(
        !routes.contains("default") && routes.contains("10.71.0.0/24"),
        "{routes}"
    );
    let shown = host.mesh(&["network", "inspect", "shut"])?.ok()?;
    ensure!(shown.contains("nternal"), "{shown}");
    // The network `default`, by its Docker network.
    let name = docker(host, "run -d --network mesh --name plain ubuntu sleep 1000")?;
    let has = address(host, "mesh", &name)?;
    let range: ipnet::Ipv4Net = "10.32.0.0/12".parse()?;
    ensure!(range.contains(&has.parse::<std::net::Ipv4Addr>()?), "{has}");
    Ok(())
}

fn refusals(host: &TestbedHost) -> Result<()> {
    let front = CREATE.join(" ");
    for (line, parts) in [
        (
            format!("{front} --ipv6 --subnet fd00:7::/64 --subnet fd00:8::/64 six"),
            &["one of IPv6"][..],
        ),
        (
            format!("{front} --subnet 10.80.0.0/24 --ip-range 10.81.0.0/25 out"),
            &["10.81.0.0/25"],
        ),
        (
            format!("{front} --subnet 10.80.0.0/24 --gateway 10.81.0.1 out"),
            &["10.81.0.1"],
        ),
        (
            "run --rm --network all --ip 10.40.5.70 ubuntu true".to_owned(),
            &["10.40.5.70", "mac"],
        ),
        (
            "run --rm --network all --ip 10.40.5.1 ubuntu true".to_owned(),
            &["10.40.5.1"],
        ),
        ("network rm all".to_owned(), &["active endpoints"]),
        ("network rm nothing".to_owned(), &["nothing"]),
    ] {
        let told = refused(host, &line)?;
        for part in parts {
            ensure!(told.contains(part), "{line}: {told}");
        }
    }
    let left = docker(host, "network ls --format {{.Name}}")?;
    for name in ["six", "out"] {
        ensure!(!left.lines().any(|line| line == name), "{name}: {left}");
        ensure!(host.mesh(&["network", "inspect", name])?.code != Some(0));
    }
    Ok(())
}

/// What Docker made goes with its last Docker network.
fn remove_and_prune(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    docker(one, "rm -f a1 a2 mac bare served inner plain")?;
    docker(one, "network rm all")?;
    known(one, "all")?;
    docker(one, "network prune -f")?;
    let left = docker(one, "network ls --format {{.Name}}")?;
    for name in ["all", "twin", "open", "shut"] {
        ensure!(!left.lines().any(|line| line == name), "{name}: {left}");
    }
    docker(two, "rm -f b1 b2 t2")?;
    docker(two, "network prune -f")?;
    wait_until(
        SOON + SOON,
        "the networks of one host alone are gone",
        || {
            let listed = two.mesh(&["network", "ls"])?.ok()?;
            for name in ["open", "shut"] {
                ensure!(!listed.contains(name), "{listed}");
            }
            Ok(())
        },
    )?;
    wait_until(SOON, "nothing is attached", || {
        for host in [one, two] {
            ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
        }
        Ok(())
    })
}
