//! What is left of the tasks of a Swarm's services that are replaced: nothing that answers, anywhere, a second later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{Testbed, TestbedHost, TestbedLayout, tell, wait_until, with_testbed};

use crate::names::inside;
use crate::swarm::{hand, network, resolved, running, service, swarm};

const SERVICES: [&str; 5] = ["red", "green", "blue", "white", "black"];
/// Tasks of each service.
const REPLICAS: usize = 2;
/// Updates of each service: 50 in all.
const ROUNDS: u32 = 10;
const TASKS: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(25);
/// Time after which nothing says what is not so any more.
const STALE_AFTER: Duration = Duration::from_secs(1);

#[test]
fn nothing_answers_for_a_task_that_ended() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        swarm(bed)?;
        let one = bed.host(1);
        let ours = ["--ipam-driver", "mesh:swarm", "--subnet", "10.50.0.0/16"];
        network(one, &ours, "web")?;
        let replicas = REPLICAS.to_string();
        for name in SERVICES {
            let quick = ["--stop-grace-period=0s", "--restart-delay=0s"];
            let args = ["--network", "web", "--replicas", &replicas];
            service(one, &[&args[..], &quick].concat(), name)?;
        }
        for host in bed.hosts() {
            hand(host)?;
        }
        let mut before = wait_until(TASKS, "all services run", || now(bed))?;
        let began = Instant::now();
        let mut ended = 0;
        for round in 0..ROUNDS {
            for name in SERVICES {
                let quick = "--update-parallelism=0 --update-monitor=1ms --no-resolve-image";
                let line = format!("docker service update -d -q --force {quick} {name}");
                one.shell(&line)?.ok()?;
            }
            let after = wait_until(TASKS, "all tasks are replaced", || {
                let after = now(bed)?;
                let mut pairs = after.iter().zip(&before);
                ensure!(pairs.all(|(new, old)| new.is_disjoint(old)), "{after:?}");
                Ok(after)
            })?;
            std::thread::sleep(STALE_AFTER);
            let gone: Vec<&String> = before.iter().flatten().collect();
            ended += gone.len();
            let alive = after.iter().flatten().next().map_or("", String::as_str);
            for host in bed.hosts() {
                check_names(host, &after, round)?;
                check_neighbours(host, (&gone, alive), round)?;
            }
            before = after;
        }
        leaks_nothing(bed)?;
        let updates = SERVICES.len() * ROUNDS as usize;
        tell(&format!(
            "{updates} forced updates in {:.0?}, {ended} tasks ended: 0 stale answers on 3 nodes after {STALE_AFTER:?}\n",
            began.elapsed()
        ));
        Ok(())
    })
}

/// Returns the addresses of each service, once all its tasks run.
fn now(bed: &Testbed) -> Result<Vec<BTreeSet<String>>> {
    let each = SERVICES.iter().map(|name| {
        let found = running(bed.hosts(), "web", name)?;
        ensure!(found.len() == REPLICAS, "{name}: {found:?}");
        Ok(found.into_keys().collect())
    });
    each.collect()
}

/// Checks that names lead to no task that ended, and soon to all that run.
fn check_names(host: &TestbedHost, want: &[BTreeSet<String>], round: u32) -> Result<()> {
    let place = host.name();
    let mut late = Vec::new();
    for (name, want) in SERVICES.iter().zip(want) {
        for name in [(*name).to_owned(), format!("tasks.{name}")] {
            let found = resolved(host, "hand", &name)?;
            ensure!(
                found.is_subset(want),
                "round {round}, {place}: {name} is {found:?}, not {want:?}"
            );
            if found != *want {
                late.push((name, want));
            }
        }
    }
    for (name, want) in late {
        wait_until(SOON, &format!("{place} finds all of {name}"), || {
            let found = resolved(host, "hand", &name)?;
            let shown = || host.mesh(&["status", "dns"]);
            ensure!(found == *want, "{found:?}, not {want:?}: {}", shown()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// Checks that nobody answers ARP for addresses of tasks that ended, and that no node knows their containers.
fn check_neighbours(
    host: &TestbedHost,
    (gone, alive): (&[&String], &str),
    round: u32,
) -> Result<()> {
    // One that is alive shows that the question is asked.
    let all = gone.iter().map(|ip| ip.as_str()).chain([alive]);
    let asked: Vec<String> = all
        .map(|ip| format!("{{ busybox arping -q -c1 -w1 -I mesh0 {ip} && echo {ip}; }} &"))
        .collect();
    let answered = inside(host, "hand", &format!("{} wait", asked.join(" ")))?.stdout;
    let place = host.name();
    ensure!(
        answered.trim() == alive,
        "round {round}, {place}: {answered} answer, not {alive} alone"
    );
    let shown = host.mesh(&["ps"])?.ok()?;
    let listed = gone.iter().find(|ip| shown.contains(&format!(" {ip}/")));
    ensure!(
        listed.is_none(),
        "round {round}, {place}: {listed:?} is listed"
    );
    Ok(())
}

/// Checks that all addresses are free again: a subnet with no more addresses than tasks has room for all.
fn leaks_nothing(bed: &Testbed) -> Result<()> {
    let one = bed.host(1);
    let ours = ["--ipam-driver", "mesh:swarm", "--subnet", "10.51.0.0/28"];
    network(one, &ours, "small")?;
    // The half of Swarm has seven addresses: .1 to .7.
    let args = ["--network=small", "--replicas=7", "--endpoint-mode=dnsrr"];
    service(
        one,
        &[&args[..], &["--stop-grace-period=0s", "--restart-delay=0s"]].concat(),
        "full",
    )?;
    for round in 0..3 {
        wait_until(TASKS, "all seven addresses are used", || {
            let found = running(bed.hosts(), "small", "full")?;
            ensure!(found.len() == 7, "{found:?}");
            Ok(())
        })?;
        if round < 2 {
            one.docker(&["service", "scale", "-d", "full=0"])?.ok()?;
            wait_until(TASKS, "none is used", || {
                let found = running(bed.hosts(), "small", "full")?;
                ensure!(found.is_empty(), "{found:?}");
                Ok(())
            })?;
            one.docker(&["service", "scale", "-d", "full=7"])?.ok()?;
        }
    }
    Ok(())
}
