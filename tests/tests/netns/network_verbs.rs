//! `mesh network` on real routers: what one host creates or removes all others know, also after restarts and cuts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::api::NetworkReport;
use mesh_tests::{TestbedHost, TestbedLayout, Times, here, wait_until, with_testbed};

use crate::full_mesh;

/// Time limit for all hosts to learn of a change.
const SOON: Duration = Duration::from_secs(4);
/// Usual time for that.
const USUALLY: Duration = Duration::from_secs(1);
/// Time limit for two parts of the mesh to agree after a cut.
const AGREED: Duration = Duration::from_secs(40);

fn networks(host: &TestbedHost) -> Result<Vec<NetworkReport>> {
    let text = host.mesh(&["network", "ls", "--json"])?.ok()?;
    serde_json::from_str(&text).with_context(|| format!("the networks of {}", host.name()))
}

/// Returns the names of all networks, in the order of the list.
fn names(host: &TestbedHost) -> Result<Vec<String>> {
    Ok(networks(host)?.into_iter().map(|n| n.name).collect())
}

fn create(host: &TestbedHost, args: &[&str]) -> Result<String> {
    let args = [&["network", "create"], args].concat();
    Ok(host.mesh(&args)?.ok()?.trim().to_owned())
}

/// Waits until the host lists these networks besides `default`.
fn lists(host: &TestbedHost, within: Duration, expected: &[&str]) -> Result<()> {
    let expected = [&["default"], expected].concat();
    let what = format!("{} lists {expected:?}", host.name());
    wait_until(within, &what, || {
        let names = names(host)?;
        ensure!(names == expected, "{names:?}");
        Ok(())
    })
}

#[test]
fn a_network_is_known_on_all_hosts_within_a_second_until_it_is_removed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        ensure!(names(one)? == ["default"]);
        ensure!(one.report()?.networks.is_none());
        let (come, gone) = (Times::default(), Times::default());
        for n in 1..=4 {
            let name = format!("net{n}");
            // Subnets may overlap.
            create(one, &["--subnet", "10.40.0.0/16", &name])?;
            come.of(|| {
                let mut hosts = bed.hosts().iter();
                hosts.try_for_each(|host| lists(host, SOON, &[&name]))
            })?;
            two.mesh(&["network", "rm", &name])?.ok()?;
            gone.of(|| {
                let mut hosts = bed.hosts().iter();
                hosts.try_for_each(|host| lists(host, SOON, &[]))
            })?;
        }
        come.usually_within(here(USUALLY))?;
        gone.usually_within(here(USUALLY))
    })
}

#[test]
fn a_second_host_finds_the_network_and_is_refused_where_it_contradicts() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let subnet = ["--subnet", "10.40.0.0/16", "--gateway", "10.40.0.1", "web"];
        let id = create(one, &subnet)?;
        lists(two, SOON, &["web"])?;
        let again = two.mesh(&["network", "create", "web"])?;
        ensure!(
            again.code == Some(0) && again.stdout.trim() == id,
            "{again:?}"
        );
        ensure!(again.stderr.contains("exists already"), "{again:?}");
        let refused = two
            .mesh(&["network", "create", "--subnet", "10.41.0.0/16", "web"])?
            .refused()?;
        ensure!(
            refused.contains("10.40.0.0/16") && refused.contains("10.41.0.0/16"),
            "{refused}"
        );
        for typed in ["web", &id, &id[..4]] {
            let shown = two.mesh(&["network", "inspect", typed])?.ok()?;
            ensure!(shown.contains("10.40.0.0/16, gateway 10.40.0.1"), "{shown}");
            ensure!(shown.contains("by host1"), "{shown}");
        }
        let status = two.mesh(&["status"])?.ok()?;
        let line = "Networks: 1 besides default, 0 with containers here\n";
        ensure!(status.contains(line), "{status}");
        let log = two.shell("cat /var/lib/mesh/router.log")?.ok()?;
        let line = "host1 created the network web (10.40.0.0/16)";
        ensure!(log.contains(line), "{log}");
        Ok(())
    })
}

#[test]
fn restarts_keep_networks_and_what_is_removed_does_not_come_back() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let id = create(one, &["web"])?;
        create(one, &["db"])?;
        lists(two, SOON, &["db", "web"])?;
        let before = networks(one)?;
        ensure!(
            before.iter().skip(1).all(|n| n.subnets.len() == 1),
            "{before:?}"
        );
        // It is alone: nobody tells it.
        two.mesh(&["stop"])?.ok()?;
        one.kill_router()?;
        one.launch(&[])?;
        lists(one, SOON, &["db", "web"])?;
        ensure!(networks(one)?[1..] == before[1..]);
        one.mesh(&["network", "rm", &id[..6]])?.ok()?;
        one.kill_router()?;
        one.launch(&[])?;
        lists(one, SOON, &["db"])?;
        // The other was away during the removal, and has the network on its disk.
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        lists(two, AGREED, &["db"])?;
        lists(one, SOON, &["db"])
    })
}

#[test]
fn two_created_at_once_under_one_name_are_told_apart_and_the_loser_is_told() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        one.cut()?;
        let ids = [
            create(one, &["--subnet", "10.40.0.0/16", "web"])?,
            create(two, &["--subnet", "10.41.0.0/16", "web"])?,
        ];
        one.heal()?;
        for host in bed.hosts() {
            lists(host, AGREED, &["web", "web"])?;
        }
        let (a, b) = (networks(one)?, networks(two)?);
        ensure!(a[1].id == b[1].id && a[2].id == b[2].id, "{a:?} {b:?}");
        ensure!(
            a[1].shadowed_by.is_empty() && a[2].shadowed_by == a[1].id,
            "{a:?}"
        );
        let loser = ids.iter().position(|id| *id == a[2].id);
        let loser = loser.context("one of the two")?;
        for (n, host) in bed.hosts().iter().enumerate() {
            let warnings = host.report()?.router.warnings.concat();
            let is_told = warnings.contains("the network web with the id");
            ensure!(is_told == (n == loser), "{}: {warnings}", host.name());
        }
        let host = bed.host(loser + 1);
        host.mesh(&["network", "rm", &ids[loser]])?.ok()?;
        for host in bed.hosts() {
            lists(host, SOON, &["web"])?;
        }
        Ok(())
    })
}

#[test]
fn networks_that_cannot_be_stored_are_not_announced() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        create(one, &["old"])?;
        lists(two, SOON, &["old"])?;
        // A directory in the place of the file that is written first.
        one.shell("mkdir /var/lib/mesh/.networks.tmp")?.ok()?;
        let message = one.mesh(&["network", "create", "web"])?.refused()?;
        ensure!(message.contains("cannot be stored"), "{message}");
        let message = one.mesh(&["network", "create", "db"])?.refused()?;
        ensure!(message.contains("make room, then try again"), "{message}");
        let warnings = one.report()?.router.warnings.concat();
        ensure!(warnings.contains("cannot store the networks"), "{warnings}");
        ensure!(names(two)? == ["default", "old"]);
        one.shell("rmdir /var/lib/mesh/.networks.tmp")?.ok()?;
        lists(two, here(Duration::from_secs(10)), &["old", "web"])?;
        create(one, &["db"])?;
        lists(two, SOON, &["db", "old", "web"])
    })
}
