//! Objects that the router creates on a host: restored while needed, and removed without a trace by `reset`.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, HostObjects, wait_until, with_testbed};

use crate::full_mesh;

#[test]
fn reset_leaves_nothing() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let host = bed.host(1);
        let before = HostObjects::take(host)?;
        full_mesh(bed, &[])?;
        host.run("10.2.1.1/24")?;
        host.run("10.3.1.1/24")?;
        ensure!(
            HostObjects::take(host)?.same_as(&before).is_err(),
            "a running router leaves traces; is this snapshot blind?"
        );
        host.mesh(&["reset"])?.ok()?;
        HostObjects::take(host)?.same_as(&before)?;
        // A second reset has nothing to do.
        host.mesh(&["reset"])?.ok()?;
        HostObjects::take(host)?.same_as(&before)
    })
}

#[test]
fn reset_leaves_nothing_of_a_router_that_was_killed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        let before = HostObjects::take(host)?;
        host.launch(&[])?;
        let container = host.run("10.2.1.1/24")?;
        host.kill_router()?;
        container.kill()?;
        host.mesh(&["reset"])?.ok()?;
        HostObjects::take(host)?.same_as(&before)
    })
}

#[test]
fn after_reset_a_router_is_a_new_one() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let first = host.report()?.router.id;
        host.mesh(&["stop"])?.ok()?;
        host.launch(&[])?;
        ensure!(
            host.report()?.router.id == first,
            "stop and launch changed the identity"
        );
        host.mesh(&["reset"])?.ok()?;
        host.launch(&[])?;
        ensure!(host.report()?.router.id != first, "reset kept the identity");
        Ok(())
    })
}

#[test]
fn stop_leaves_local_containers_talking_and_launch_takes_them_up_again() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let host = bed.host(1);
        let (a, b) = (host.run("10.2.1.1/24")?, host.run("10.2.1.2/24")?);
        let far = bed.host(2).run("10.2.1.3/24")?;
        a.reaches(&far)?;
        host.mesh(&["stop"])?.ok()?;
        ensure!(
            a.count_answers(&b, 50)? == 50,
            "local containers lost frames"
        );
        a.does_not_reach(&far)?;
        host.launch(&[])?;
        a.reaches(&far)?;
        let listed = host.ps()?;
        ensure!(listed.len() == 2, "{listed:?}");
        Ok(())
    })
}

#[test]
fn what_someone_deletes_is_back_within_five_seconds() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let host = bed.host(1);
        let (a, far) = (host.run("10.2.1.1/24")?, bed.host(2).run("10.2.1.2/24")?);
        a.reaches(&far)?;
        let whole = HostObjects::take(host)?;
        for damage in [
            "ip link del mesh",
            "ip link set mesh down",
            "ip link del mesh-t",
            "ip link del $(ip -o link show master mesh | awk -F'[:@]' '$2 ~ / mv/ { print $2; exit }')",
            "while iptables -D FORWARD 1 2>/dev/null; do :; done",
        ] {
            host.shell(damage)?.ok()?;
            wait_until(Duration::from_secs(5), &format!("mended: {damage}"), || {
                let missing = whole.added_since(&HostObjects::take(host)?);
                ensure!(missing.is_empty(), "{missing:?}");
                a.ping(far.address())
            })?;
        }
        Ok(())
    })
}

#[test]
fn two_routers_on_one_host_keep_apart() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let second = [
            "--socket",
            "/run/mesh2.sock",
            "--state-dir",
            "/var/lib/mesh/second",
            "--bridge",
            "mesh2",
        ];
        host.mesh(
            &[
                &["launch", "--port", "7783", "--nickname", "second"],
                second.as_slice(),
            ]
            .concat(),
        )?
        .ok()?;
        host.mesh(&["connect", "127.0.0.1:7783"])?.ok()?;
        host.wait_connections(1)
    })
}
