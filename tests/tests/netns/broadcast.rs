//! Broadcast and multicast: each container gets each datagram exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{
    TestContainer, Heard, TestbedLayout, Testbed, all_reach_all, cast, stays, wait_until, with_testbed,
};

use crate::full_mesh;

const COUNT: u32 = 10;

#[test]
fn in_a_mesh_of_five_everyone_hears_everything_exactly_once() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(5), |bed| {
        full_mesh(bed, &[])?;
        everyone_hears_everything_once(&containers(bed)?)
    })
}

#[test]
fn in_a_ring_without_discovery_too() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(5), |bed| {
        for host in bed.hosts() {
            host.launch(&["--no-discovery"])?;
        }
        for (from, to) in [(1, 2), (2, 3), (3, 4), (4, 5), (5, 1)] {
            bed.host(from)
                .mesh(&["connect", bed.host(to).name()])?
                .ok()?;
        }
        for host in bed.hosts() {
            host.wait_peers(5)?;
            host.wait_connections(2)?;
        }
        everyone_hears_everything_once(&containers(bed)?)
    })
}

/// Starts one container on each host, and a second one on the first, so that local copies are checked as well.
fn containers(bed: &Testbed) -> Result<Vec<TestContainer>> {
    let mut containers = vec![bed.host(1).run("10.2.1.100/24")?];
    for (index, host) in bed.hosts().iter().enumerate() {
        containers.push(host.run(&format!("10.2.1.{}/24", index + 1))?);
    }
    all_reach_all(&containers)?;
    Ok(containers)
}

fn everyone_hears_everything_once(containers: &[TestContainer]) -> Result<()> {
    for (target, group, port) in [
        ("10.2.1.255", None, 4000),
        ("239.1.2.3", Some("239.1.2.3"), 4001),
    ] {
        let mut listeners = Vec::new();
        for container in containers {
            listeners.push(Heard::start(container, port, group)?);
        }
        for container in containers {
            cast(container, target, port, container.address(), COUNT)?;
        }
        for (container, heard) in containers.iter().zip(&mut listeners) {
            let expected = expected_at(container, containers, group);
            let complete = |heard: &mut Heard| -> Result<()> {
                let counts = heard.counts()?;
                ensure!(
                    counts == expected,
                    "{} heard of {target}: {counts:?}",
                    container.address()
                );
                Ok(())
            };
            wait_until(Duration::from_secs(5), "all datagrams have arrived", || {
                complete(heard)
            })?;
            stays(Duration::from_millis(500), "no second copy", || {
                complete(heard)
            })?;
        }
    }
    Ok(())
}

/// Returns the expected datagrams: each of each other container, once. The sender's own kernel loops a broadcast back,
/// but not a multicast.
fn expected_at(at: &TestContainer, all: &[TestContainer], group: Option<&str>) -> BTreeMap<String, u32> {
    all.iter()
        .filter(|from| group.is_none() || from.address() != at.address())
        .flat_map(|from| (0..COUNT).map(|i| (format!("{}-{i}", from.address()), 1)))
        .collect()
}
