//! Topologies of links, and their effect on traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_proto::api::ConnectionState;
use mesh_tests::{TestbedLayout, all_reach_all, stays, transfer, wait_until, with_testbed};

use crate::full_mesh;

#[test]
fn two_hosts_connect_and_their_containers_talk() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let containers = [
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        ];
        all_reach_all(&containers)?;
        transfer(
            &containers[0],
            &containers[1],
            20_000_000,
            Duration::from_secs(60),
        )?;
        let connection = bed.host(1).connection_to(bed.host(2))?;
        ensure!(connection.encrypted, "{connection:?}");
        Ok(())
    })
}

#[test]
fn without_discovery_a_line_stays_a_line_and_the_middle_relays() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        two.launch(&["--no-discovery"])?;
        one.launch(&["--no-discovery", "host2"])?;
        three.launch(&["--no-discovery", "host2"])?;
        for host in bed.hosts() {
            host.wait_peers(3)?;
        }
        let (a, b, c) = (
            one.run("10.2.1.1/24")?,
            two.run("10.2.1.2/24")?,
            three.run("10.2.1.3/24")?,
        );
        all_reach_all(&[a.clone(), b, c.clone()])?;
        transfer(&a, &c, 5_000_000, Duration::from_secs(60))?;
        ensure!(
            one.established()?.len() == 1 && three.established()?.len() == 1,
            "a line has two ends"
        );

        two.mesh(&["stop"])?.ok()?;
        wait_until(Duration::from_secs(15), "the ends are cut off", || {
            a.does_not_reach(&c)
        })?;
        stays(Duration::from_secs(3), "cut off", || a.does_not_reach(&c))?;
        two.launch(&["--no-discovery"])?;
        a.reaches(&c)
    })
}

#[test]
fn with_discovery_the_ends_find_each_other_and_do_without_the_middle() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        bed.host(2).launch(&[])?;
        bed.host(1).launch(&["host2"])?;
        bed.host(3).launch(&["host2"])?;
        for host in bed.hosts() {
            host.wait_connections(2)?;
        }
        let (a, c) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(3).run("10.2.1.3/24")?,
        );
        a.reaches(&c)?;
        bed.host(2).mesh(&["stop"])?.ok()?;
        bed.host(1).wait_connections(1)?;
        ensure!(
            a.count_answers(&c, 50)? == 50,
            "the ends lost frames when the middle stopped"
        );
        Ok(())
    })
}

#[test]
fn where_there_is_no_cable_traffic_goes_through_the_neighbour() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(4).links("1-2,2-3,3-4"), |bed| {
        bed.host(1).launch(&["host2"])?;
        bed.host(2).launch(&["host3"])?;
        bed.host(3).launch(&["host4"])?;
        bed.host(4).launch(&[])?;
        let (a, d) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(4).run("10.2.1.4/24")?,
        );
        a.reaches(&d)?;
        transfer(&a, &d, 2_000_000, Duration::from_secs(60))?;
        Ok(())
    })
}

#[test]
fn connect_forget_and_replace_change_the_targets() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let one = bed.host(1);
        for host in bed.hosts() {
            host.launch(&["--no-discovery"])?;
        }
        let targets = || -> Result<Vec<String>> {
            let text = one.mesh(&["status", "targets"])?.ok()?;
            Ok(text.lines().map(ToOwned::to_owned).collect())
        };
        ensure!(targets()?.is_empty());
        one.mesh(&["connect", "host2"])?.ok()?;
        ensure!(targets()? == ["host2"], "{:?}", targets()?);
        one.wait_connections(1)?;

        // A live connection stays when its target is forgotten, and is not restored after it ends.
        one.mesh(&["forget", "host2"])?.ok()?;
        ensure!(targets()?.is_empty());
        stays(Duration::from_secs(2), "the connection", || {
            ensure!(one.established()?.len() == 1);
            Ok(())
        })?;

        one.mesh(&["connect", "--replace", "host3"])?.ok()?;
        ensure!(targets()? == ["host3"], "{:?}", targets()?);
        wait_until(
            Duration::from_secs(15),
            "host1 is connected to host3",
            || {
                let connection = one.connection_to(bed.host(3))?;
                ensure!(
                    connection.state == ConnectionState::Established,
                    "{connection:?}"
                );
                Ok(())
            },
        )?;

        // Targets survive a restart.
        one.mesh(&["stop"])?.ok()?;
        one.launch(&["--no-discovery"])?;
        ensure!(targets()? == ["host3"], "{:?}", targets()?);
        one.wait_connections(1)
    })
}

#[test]
fn a_target_that_is_not_there_yet_is_dialled_until_it_is() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        bed.host(1).launch(&["host2"])?;
        wait_until(Duration::from_secs(5), "status says why", || {
            let connection = bed.host(1).connection_to(bed.host(2))?;
            ensure!(!connection.error.is_empty(), "{connection:?}");
            Ok(())
        })?;
        bed.host(2).launch(&[])?;
        bed.host(1).wait_connections(1)
    })
}

#[test]
fn an_underlay_without_ipv4_does() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).ipv6_only(), |bed| {
        bed.host(1).launch(&[])?;
        bed.host(2).launch(&["host1"])?;
        bed.host(3).launch(&["[fd77::1]:6783"])?;
        for host in bed.hosts() {
            host.wait_connections(2)?;
        }
        let containers = [
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
            bed.host(3).run("10.2.1.3/24")?,
        ];
        all_reach_all(&containers)
    })
}
