//! Changes by others to ports of the bridge, and to bridges that the mesh must use.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, wait_until, with_testbed};

#[test]
fn ports_are_set_back_and_foreign_bridges_left_alone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.shell("ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0")?
            .ok()?;
        for (bridge, told) in [("docker0", "Docker's"), ("br0", "10.9.0.1/24")] {
            let refused = host.mesh(&["launch", "--bridge", bridge])?.refused()?;
            ensure!(refused.contains(told), "{refused}");
            let instead = format!("mesh attach-bridge {bridge}");
            ensure!(refused.contains(&instead), "{refused}");
        }
        ensure!(host.shell("ip link show docker0")?.code != Some(0));
        host.shell("ip link set dev br0 alias mesh; ip link del br0")?
            .ok()?;

        host.launch(&[])?;
        let first = host.run_free(&[], "first")?;
        let second = host.run_free(&[], "second")?;
        ensure!(first.address().ends_with(".1"), "{}", first.address());
        ensure!(second.address().ends_with(".2"), "{}", second.address());

        let ports = "bridge link | sed -n 's/^[0-9]*: \\([^@:]*\\).* master mesh .*/\\1/p'";
        let on = format!(
            "for port in $({ports}); do bridge link set dev $port hairpin on isolated on; done"
        );
        host.shell(&on)?.ok()?;
        wait_until(Duration::from_secs(20), "all is set back", || {
            let seen = host.shell("bridge -d link")?.ok()?;
            ensure!(
                seen.contains("hairpin off") && !seen.contains("hairpin on"),
                "{seen}"
            );
            ensure!(!seen.contains("isolated on"), "{seen}");
            let status = host.mesh(&["status"])?.stdout;
            ensure!(
                status.contains("hairpin on, isolated at mesh-t"),
                "{status}"
            );
            Ok(())
        })?;
        first.reaches(&second)
    })
}
