//! Docker's Swarm on the mesh, through the managed plugin: three managers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{Testbed, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::full_mesh;
use crate::names::inside;

/// Time for Swarm to start tasks, to notice that one has failed, and to elect a leader.
const TASKS: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(25);
const BUILD_PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/plugin/build.sh");
/// A stack with a service that is called by its short name, in a network that the mesh chooses the subnet of.
const STACK: &str = r#"
version: "3.8"
services:
  db:
    image: nginx
    networks: [back]
    deploy: {replicas: 3}
  app:
    image: ubuntu
    command: sleep 1000
    networks: [back]
    deploy: {mode: global}
networks:
  back:
    driver: mesh:swarm
    ipam: {driver: mesh:swarm}
"#;

/// Makes a Swarm of the hosts, all of which are managers; the first is the leader.
pub(crate) fn swarm(bed: &Testbed) -> Result<()> {
    full_mesh(bed)?;
    for host in bed.hosts() {
        let dir = format!(
            "{} $(dirname $(command -v mesh)) /run/testbed/plugin",
            BUILD_PLUGIN
        );
        host.shell(&dir)?.ok()?;
        for line in [
            &["plugin", "create", "mesh:swarm", "/run/testbed/plugin"][..],
            &["plugin", "enable", "mesh:swarm"],
        ] {
            host.docker(line)?.ok()?;
        }
    }
    let first = bed.host(1);
    let at = |host: &TestbedHost| format!("--advertise-addr={}", host.address());
    first.docker(&["swarm", "init", &at(first)])?.ok()?;
    let token = first
        .docker(&["swarm", "join-token", "-q", "manager"])?
        .ok()?;
    for host in bed.hosts().iter().skip(1) {
        let (token, leader) = (format!("--token={}", token.trim()), first.address());
        host.docker(&["swarm", "join", &token, &at(host), &leader])?
            .ok()?;
    }
    Ok(())
}

/// Creates a network of Swarm.
pub(crate) fn network(host: &TestbedHost, args: &[&str], name: &str) -> Result<String> {
    let front = ["network", "create", "-d", "mesh:swarm", "--attachable"];
    host.docker(&[&front[..], args, &[name]].concat())?.ok()
}

/// Creates a service of `ubuntu` containers that sleep.
pub(crate) fn service(host: &TestbedHost, args: &[&str], name: &str) -> Result<()> {
    let front = ["service", "create", "-d", "-q", "--no-resolve-image"];
    let named = ["--name", name, "ubuntu", "sleep", "1000"];
    host.docker(&[&front[..], args, &named].concat())?.ok()?;
    Ok(())
}

/// Runs a container `hand` that is no task on the network `web`, to ask from.
pub(crate) fn hand(host: &TestbedHost) -> Result<()> {
    let line = [
        "run",
        "-d",
        "--network=web",
        "--name=hand",
        "ubuntu",
        "sleep",
        "1000",
    ];
    host.docker(&line)?.ok()?;
    Ok(())
}

/// Returns the addresses of the containers of a service that run on these hosts, with their hosts' names.
pub(crate) fn running(
    hosts: &[TestbedHost],
    network: &str,
    service: &str,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for host in hosts {
        let line = format!(
            "docker ps -q --filter label=com.docker.swarm.service.name={service} | xargs -r docker inspect -f \
             '{{{{.State.Running}}}} {{{{with index .NetworkSettings.Networks \"{network}\"}}}}{{{{.IPAddress}}}}{{{{end}}}}'"
        );
        // One that has just ended cannot be inspected.
        let shown = host.shell(&line)?.stdout;
        for address in shown.lines().filter_map(|line| line.strip_prefix("true ")) {
            let before = found.insert(address.to_owned(), host.name().to_owned());
            ensure!(before.is_none(), "{address} is on two hosts: {shown}");
        }
    }
    Ok(found)
}

/// Waits until so many containers of a service run.
fn wait_running(bed: &Testbed, network: &str, name: &str, count: usize) -> Result<Vec<String>> {
    wait_until(TASKS, &format!("{count} tasks of {name} run"), || {
        let found = running(bed.hosts(), network, name)?;
        ensure!(found.len() == count, "{found:?}");
        Ok(found.into_keys().collect())
    })
}

/// Returns the addresses that a container is told for a name.
pub(crate) fn resolved(
    host: &TestbedHost,
    container: &str,
    name: &str,
) -> Result<BTreeSet<String>> {
    let shown = host.docker(&["exec", container, "nslookup", name])?;
    let answers = shown.stdout.split("\nName:").skip(1);
    let addresses = answers.filter_map(|answer| answer.split("Address:").nth(1));
    Ok(addresses
        .filter_map(|text| text.split_whitespace().next().map(ToOwned::to_owned))
        .collect())
}

#[test]
fn services_run_on_the_mesh_and_are_found_by_name() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        swarm(bed)?;
        let one = bed.host(1);
        let ours = ["--ipam-driver", "mesh:swarm", "--subnet", "10.50.0.0/16"];
        network(one, &ours, "web")?;
        let net = ["--network", "web", "--replicas", "3"];
        let dnsrr = [&net[..], &["--endpoint-mode", "dnsrr"]].concat();
        service(one, &dnsrr, "front")?;
        let aliased = ["--network", "name=web,alias=api", "--replicas", "3"];
        service(one, &aliased, "back")?;
        let front: BTreeSet<String> = wait_running(bed, "web", "front", 3)?.into_iter().collect();
        let back: BTreeSet<String> = wait_running(bed, "web", "back", 3)?.into_iter().collect();
        ensure!(front.is_disjoint(&back), "{front:?} {back:?}");
        let all = front.iter().chain(&back);
        ensure!(all.clone().all(|ip| ip.starts_with("10.50.")), "{front:?}");

        // A container by hand on each host, two with addresses of Swarm and one of the mesh.
        for host in bed.hosts().iter().take(2) {
            hand(host)?;
        }
        let three = bed.host(3);
        three
            .mesh(&[
                "run", "--net", "web", "--name", "hand", "ubuntu", "sleep", "1000",
            ])?
            .ok()?;
        let theirs = three.address_of("hand")?;
        ensure!(
            theirs.starts_with("10.50.1"),
            "not of the mesh's half: {theirs}"
        );
        for host in bed.hosts() {
            for (name, want) in [
                ("front", &front),
                ("tasks.front", &front),
                ("back", &back),
                // A name that Docker's resolver alone knows, for a virtual address that leads nowhere.
                ("api", &back),
            ] {
                // The mesh knows services; aliases are known to the engine of a container that Docker connected.
                if name.contains(['.', 'i']) && host.name() == "host3" {
                    continue;
                }
                wait_until(SOON, &format!("{} finds {name}", host.name()), || {
                    let found = resolved(host, "hand", name)?;
                    ensure!(found == *want, "{found:?}, not {want:?}");
                    Ok(())
                })?;
            }
            for address in front.iter().chain(&back) {
                inside(host, "hand", &format!("ping -c1 -w10 {address}"))?.ok()?;
            }
        }
        what_is_refused(bed)
    })
}

fn what_is_refused(bed: &Testbed) -> Result<()> {
    let (one, three) = (bed.host(1), bed.host(3));
    let taken = ["run", "--net", "web", "10.50.0.99/16", "ubuntu", "true"];
    let told = three.mesh(&taken)?.refused()?;
    ensure!(told.contains("Swarm gives addresses"), "{told}");
    let told = one.mesh(&["network", "rm", "web"])?.refused()?;
    ensure!(told.contains("docker network rm"), "{told}");
    // Docker's own IPAM gives all addresses then.
    network(one, &["--subnet", "10.60.0.0/24"], "theirs")?;
    wait_until(SOON, "the mesh knows it", || {
        three.mesh(&["network", "inspect", "theirs"])?.ok()
    })?;
    let told = three
        .mesh(&["run", "--net", "theirs", "ubuntu", "true"])?
        .refused()?;
    ensure!(told.contains("Swarm gives all addresses"), "{told}");
    one.docker(&["network", "rm", "theirs"])?.ok()?;
    wait_until(SOON, "it is gone from the mesh", || {
        three.mesh(&["network", "inspect", "theirs"])?.refused()
    })?;
    Ok(())
}

#[test]
fn a_stack_is_deployed_and_removed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        swarm(bed)?;
        let one = bed.host(1);
        let file = format!("cat >/run/testbed/stack.yml <<'EOF'\n{STACK}\nEOF");
        one.shell(&file)?.ok()?;
        let deploy =
            "docker stack deploy --detach --resolve-image never -c /run/testbed/stack.yml shop";
        one.shell(deploy)?.ok()?;
        let db = wait_running(bed, "shop_back", "shop_db", 3)?;
        wait_running(bed, "shop_back", "shop_app", 2)?;
        let want: BTreeSet<String> = db.into_iter().collect();
        for host in bed.hosts() {
            let app = "docker ps -q --filter label=com.docker.swarm.service.name=shop_app";
            let app = host.shell(app)?.ok()?.trim().to_owned();
            for name in ["db", "shop_db"] {
                wait_until(SOON, &format!("{} finds {name}", host.name()), || {
                    let found = resolved(host, &app, name)?;
                    ensure!(found == want, "{found:?}, not {want:?}");
                    Ok(())
                })?;
            }
            inside(host, &app, "wget -qO- -T10 http://db/")?.ok()?;
        }
        one.docker(&["stack", "rm", "shop"])?.ok()?;
        wait_until(TASKS, "nothing is left in the mesh", || {
            bed.host(2)
                .mesh(&["network", "inspect", "shop_back"])?
                .refused()
        })?;
        Ok(())
    })
}

/// The addresses that a leader gave are known to the next one, also when the first ends without a word.
#[test]
fn another_leader_gives_no_address_twice() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        swarm(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let ours = ["--ipam-driver", "mesh:swarm", "--subnet", "10.50.0.0/24"];
        network(one, &ours, "web")?;
        let everywhere = ["--network", "web", "--mode", "global"];
        service(one, &everywhere, "steady")?;
        let before = wait_running(bed, "web", "steady", 3)?;
        one.crash()?;
        let survivors = &bed.hosts()[1..];
        wait_until(TASKS, "another manager leads", || {
            two.docker(&["node", "ls"])?.ok()
        })?;
        service(two, &["--network", "web", "--replicas", "20"], "many")?;
        let many = wait_until(TASKS, "20 tasks run on two hosts", || {
            let found = running(survivors, "web", "many")?;
            ensure!(found.len() == 20, "{found:?}");
            Ok(found)
        })?;
        let twice: Vec<&String> = before.iter().filter(|ip| many.contains_key(*ip)).collect();
        ensure!(twice.is_empty(), "given twice: {twice:?}");
        let still = running(survivors, "web", "steady")?;
        ensure!(still.len() == 2, "{still:?}");
        ensure!(
            still.keys().all(|ip| before.contains(ip)),
            "{still:?} {before:?}"
        );

        one.boot(true)?;
        one.launch(&["host2"])?;
        wait_until(TASKS, "the node that crashed is a part again", || {
            let shown = two.docker(&["node", "inspect", "-f", "{{.Status.State}}", "host1"])?;
            ensure!(shown.stdout.trim() == "ready", "{shown}");
            Ok(())
        })?;
        let steady = wait_running(bed, "web", "steady", 3)?;
        let all = running(bed.hosts(), "web", "many")?;
        let twice = steady.iter().find(|ip| all.contains_key(*ip));
        ensure!(twice.is_none(), "given twice: {twice:?}");
        let first = steady.first().context("no task")?;
        hand(two)?;
        inside(two, "hand", &format!("ping -c1 -w10 {first}"))?.ok()?;
        Ok(())
    })
}

/// A node that is cut off gives addresses of the mesh, and Swarm gives its own to others; afterwards none is there twice.
#[test]
fn both_halves_give_addresses_and_none_twice() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        swarm(bed)?;
        let (one, three) = (bed.host(1), bed.host(3));
        let ours = ["--ipam-driver", "mesh:swarm", "--subnet", "10.50.0.0/24"];
        network(one, &ours, "web")?;
        service(one, &["--network", "web", "--replicas", "6"], "steady")?;
        wait_running(bed, "web", "steady", 6)?;
        // From now on each host has space of its own.
        for host in bed.hosts() {
            by_hand(host, "first")?;
        }
        three.cut()?;
        wait_until(TASKS, "Swarm misses the node", || {
            let shown = one.docker(&["node", "inspect", "-f", "{{.Status.State}}", "host3"])?;
            ensure!(shown.stdout.trim() == "down", "{shown}");
            Ok(())
        })?;
        one.docker(&["service", "scale", "-d", "steady=20"])?.ok()?;
        wait_until(TASKS, "20 tasks run on two hosts", || {
            let found = running(&bed.hosts()[..2], "web", "steady")?;
            ensure!(found.len() == 20, "{found:?}");
            Ok(())
        })?;
        by_hand(one, "second")?;
        // A manager without a quorum takes 20 s to list its networks, so this one is not of Docker.
        let line = [
            "run",
            "--runtime",
            "process",
            "--net",
            "web",
            "--name",
            "second",
        ];
        three
            .mesh(&[&line[..], &["-d", "--", "sleep", "1000"]].concat())?
            .ok()?;
        three.heal()?;
        wait_until(TASKS, "the node is a part again", || {
            let shown = one.docker(&["node", "inspect", "-f", "{{.Status.State}}", "host3"])?;
            ensure!(shown.stdout.trim() == "ready", "{shown}");
            Ok(())
        })?;
        wait_until(TASKS, "20 tasks run", || {
            let found = running(bed.hosts(), "web", "steady")?;
            ensure!(found.len() == 20, "{found:?}");
            Ok(())
        })?;
        let mut seen = BTreeMap::new();
        for host in bed.hosts() {
            for container in host.ps()? {
                let addresses = container.interfaces.into_iter().map(|i| i.address);
                for address in addresses {
                    let place = format!("{} on {}", container.name, host.name());
                    let before = seen.insert(address.clone(), place.clone());
                    ensure!(before.is_none(), "{address}: {before:?} and {place}");
                }
            }
        }
        ensure!(seen.len() >= 25, "{seen:?}");
        let address = three.address_of("second")?;
        let ip = address.split('/').next().unwrap_or_default();
        inside(one, "second", &format!("ping -c1 -w10 {ip}"))?.ok()?;
        Ok(())
    })
}

/// Runs a container of the mesh, which takes an address of the mesh's half.
fn by_hand(host: &TestbedHost, name: &str) -> Result<()> {
    let line = [
        "run", "--net", "web", "--name", name, "ubuntu", "sleep", "1000",
    ];
    host.mesh(&line)?.ok()?;
    Ok(())
}
