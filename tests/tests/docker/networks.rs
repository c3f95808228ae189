//! Containers of Docker in networks other than `default`.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestContainer, TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::{full_mesh, is_id, run};

const SOON: Duration = Duration::from_secs(25);

/// Runs `mesh run --net NETWORK ADDRESS --name NAME ubuntu sleep`.
fn run_in(host: &TestbedHost, network: &str, address: &str, name: &str) -> Result<TestContainer> {
    let front = ["run", "--net", network, address, "--name", name];
    let args = [&front[..], &["ubuntu", "sleep", "1000"]].concat();
    is_id(&host.mesh(&args)?.ok()?)?;
    host.container(name, address)
}

#[test]
fn equal_addresses_in_two_networks_and_a_restart_by_docker() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        for name in ["web", "db"] {
            let line = ["network", "create", name, "--subnet", "10.40.0.0/16"];
            one.mesh(&line)?.ok()?;
            wait_until(SOON, "the other host knows it", || {
                two.mesh(&["network", "inspect", name])?.ok()
            })?;
        }
        let front = run_in(one, "web", "10.40.0.1", "front")?;
        let back = run_in(two, "web", "10.40.0.2", "back")?;
        let db = run_in(two, "db", "10.40.0.1", "db")?;
        let client = run_in(one, "db", "10.40.0.3", "client")?;
        let plain = run(one, "10.40.0.4/16", "plain")?;
        front.reaches(&back)?;
        client.reaches(&db)?;
        back.does_not_reach(&client)?;
        plain.does_not_reach(&back)?;

        // Docker alone starts it again: it is where it was, and has its address before its first process.
        one.docker(&["restart", "-t", "0", "front"])?.ok()?;
        let front = one.container("front", "10.40.0.1")?;
        front.reaches(&back)?;

        let told = one.mesh(&["network", "rm", "web"])?.refused()?;
        ensure!(told.contains("host2"), "{told}");
        one.mesh(&["network", "rm", "--force", "web"])?.ok()?;
        for (host, left) in [(one, 2), (two, 1)] {
            wait_until(
                SOON,
                "containers of the removed network are detached",
                || {
                    let rows = host.ps()?;
                    let attached = rows.iter().filter(|row| !row.interfaces.is_empty());
                    ensure!(attached.count() == left, "{rows:?}");
                    Ok(())
                },
            )?;
        }
        client.reaches(&db)
    })
}
