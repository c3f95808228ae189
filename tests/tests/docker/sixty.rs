//! Sixty containers without given addresses on three engines: all addresses are distinct, and each container reaches
//! each by name.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, tell, wait_until, with_testbed};

use crate::names::inside;
use crate::{full_mesh, is_id};

/// Containers on each of the three hosts.
const EACH: usize = 20;

#[test]
fn sixty_containers_on_three_engines_reach_one_another_by_name() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        full_mesh(bed)?;
        let began = Instant::now();
        on_each(bed.hosts(), |host| {
            names_of(host).iter().try_for_each(|name| run(host, name))
        })?;
        tell(&format!(
            "{} containers run after {:?}",
            3 * EACH,
            began.elapsed()
        ));
        let mut addresses = BTreeSet::new();
        for host in bed.hosts() {
            let listed = host.ps()?;
            for name in names_of(host) {
                let found = listed.iter().find(|c| c.name == name);
                let container = found.with_context(|| format!("{name} is not listed"))?;
                ensure!(container.interfaces.len() == 1, "{container:?}");
                addresses.insert(container.interfaces[0].address.clone());
            }
        }
        ensure!(addresses.len() == 3 * EACH, "{addresses:?}");
        let all: Vec<String> = bed.hosts().iter().flat_map(names_of).collect();
        let began = Instant::now();
        on_each(bed.hosts(), |host| {
            names_of(host)
                .iter()
                .try_for_each(|name| reaches_all(host, name, &all))
        })?;
        tell(&format!("each reached each after {:?}", began.elapsed()));
        Ok(())
    })
}

fn names_of(host: &TestbedHost) -> Vec<String> {
    (0..EACH).map(|n| format!("{}-{n}", host.name())).collect()
}

/// Runs `work` on all hosts in parallel.
fn on_each(hosts: &[TestbedHost], work: impl Fn(&TestbedHost) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = hosts
            .iter()
            .map(|host| scope.spawn(|| work(host)))
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread of the test ended"))
    })
}

fn run(host: &TestbedHost, name: &str) -> Result<()> {
    let words = ["run", "--name", name, "ubuntu", "sleep", "1000"];
    is_id(&host.mesh(&words)?.ok()?).with_context(|| name.to_owned())
}

/// Pings each of `all` by name from the container `name`; the error lists those that do not answer.
fn reaches_all(host: &TestbedHost, name: &str, all: &[String]) -> Result<()> {
    let line = format!(
        "for to in {}; do ping -n -q -c 1 -W 2 $to >/dev/null 2>&1 || echo $to; done",
        all.join(" ")
    );
    wait_until(
        Duration::from_secs(20),
        &format!("{name} reaches all"),
        || {
            let lost = inside(host, name, &line)?.ok()?;
            ensure!(lost.is_empty(), "not reached: {lost}");
            Ok(())
        },
    )
}
