//! Other bridges of a host attached to the mesh.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{HostObjects, TestbedHost, TestbedLayout, wait_until, with_testbed};

use super::{SOON, mesh};
use crate::full_mesh;

/// Creates a bridge with one machine: a network namespace with this address.
pub(super) fn bridge_with_machine(host: &TestbedHost, bridge: &str, address: &str) -> Result<()> {
    let line = format!(
        "set -e
        ip link add {bridge} type bridge
        ip link set {bridge} up
        ip netns add {bridge}-vm
        ip link add name eth0 netns {bridge}-vm type veth peer name {bridge}-port
        ip link set {bridge}-port master {bridge} up
        ip -n {bridge}-vm addr add {address} dev eth0
        ip -n {bridge}-vm link set eth0 up"
    );
    host.shell(&line)?.ok()?;
    // The kernel gives the port an address of its own a moment later.
    let port = format!("{bridge}-port");
    wait_until(SOON, "the port has its link-local address", || {
        let line = ["ip", "-6", "addr", "show", "dev", &port, "scope", "link"];
        let shown = host.exec(&line)?.ok()?;
        ensure!(
            shown.contains("fe80:") && !shown.contains("tentative"),
            "{shown}"
        );
        Ok(())
    })
}

pub(super) fn pings(host: &TestbedHost, bridge: &str, address: &str) -> Result<()> {
    let space = format!("{bridge}-vm");
    let line = [
        "ip", "netns", "exec", &space, "ping", "-n", "-c", "1", "-W", "1", address,
    ];
    host.exec(&line)?.ok().map(drop)
}

#[test]
fn what_is_on_an_attached_bridge_is_on_the_mesh_until_it_is_detached() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let (near, far) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        bridge_with_machine(one, "br1", "10.2.1.9/24")?;
        let before = HostObjects::take(one)?;
        ensure!(pings(one, "br1", "10.2.1.1").is_err(), "it is not attached");
        for _ in 0..2 {
            ensure!(mesh(one, "attach-bridge br1")?.is_empty());
        }
        let whole = HostObjects::take(one)?;
        let works = || -> Result<()> {
            pings(one, "br1", "10.2.1.1")?;
            pings(one, "br1", "10.2.1.2")?;
            near.ping("10.2.1.9")?;
            far.ping("10.2.1.9")
        };
        wait_until(SOON, "the machine on the bridge is on the mesh", works)?;
        ensure!(mesh(one, "status")?.contains("Bridges: br1"));
        for damage in [
            "ip link del $(ip -o link show master br1 | awk -F'[:@]' '$2 ~ / mv/ { print $2 }')",
            "ip link del mesh",
        ] {
            one.shell(damage)?.ok()?;
            wait_until(Duration::from_secs(6), &format!("mended: {damage}"), || {
                let missing = whole.added_since(&HostObjects::take(one)?);
                ensure!(missing.is_empty(), "{missing:?}");
                works()
            })?;
        }
        one.kill_router()?;
        one.launch(&[])?;
        wait_until(SOON, "it is there after a restart", works)?;
        for _ in 0..2 {
            let outcome = one.mesh(&["detach-bridge", "br1"])?;
            if let Err(error) = HostObjects::take(one)?.same_as(&before) {
                return Err(error.context(format!("after {outcome}")));
            }
        }
        let message = one.mesh(&["detach-bridge", "br1"])?.refused()?;
        ensure!(message.contains("br1 is not attached"), "{message}");
        ensure!(pings(one, "br1", "10.2.1.1").is_err());
        Ok(())
    })
}

#[test]
fn loops_and_what_is_no_bridge_are_refused() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let (near, far) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        near.reaches(&far)?;
        for host in [one, two] {
            bridge_with_machine(host, "br1", "10.2.1.9/24")?;
        }
        let second = "set -e
            ip link add br2 type bridge
            ip link set br2 up
            ip link add name patch1 type veth peer name patch2
            ip link set patch1 master br1 up
            ip link set patch2 master br2 up";
        one.shell(second)?.ok()?;
        // A direct cable between the two hosts' bridges, invisible to both routers.
        for (host, far) in [(one, two.address()), (two, one.address())] {
            let cable = format!(
                "set -e
                ip link add cable type vxlan id 9 dev eth0 dstport 4799 remote {far}
                ip link set cable master br1 up"
            );
            host.shell(&cable)?.ok()?;
        }
        mesh(one, "attach-bridge br1")?;
        let refused = |host: &TestbedHost, bridge: &str, words: &str| -> Result<()> {
            let before = HostObjects::take(host)?;
            let message = host.mesh(&["attach-bridge", bridge])?.refused()?;
            ensure!(message.contains(words), "{bridge}: {message}");
            HostObjects::take(host)?.same_as(&before)
        };
        refused(one, "br2", "leads to the mesh already, by its port patch2")?;
        refused(two, "br1", "comes out there already")?;
        refused(one, "mesh", "the mesh's own bridge")?;
        refused(one, "eth0", "is no bridge")?;
        refused(one, "br9", "no such interface")?;
        refused(one, "a/b", "interface name")?;
        near.reaches(&far)
    })
}
