//! `mesh run --runtime process`, `ps`, and the interface as seen in a container.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, HostObjects, wait_until, with_testbed};
use std::time::Duration;

use crate::full_mesh;

#[test]
fn the_address_is_there_before_the_first_process() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        for round in 1..=20 {
            let seen = host
                .mesh(&[
                    "run",
                    "--runtime",
                    "process",
                    "10.2.1.1/24",
                    "--",
                    "ip",
                    "-o",
                    "-4",
                    "addr",
                    "show",
                    "up",
                ])?
                .ok()?;
            ensure!(seen.contains("inet 10.2.1.1/24"), "round {round}: {seen}");
        }
        ensure!(
            host.ps()?.is_empty(),
            "what ended is still listed: {:?}",
            host.ps()?
        );
        Ok(())
    })
}

#[test]
fn output_and_exit_status_of_the_command_pass_through() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let outcome = host.mesh(&[
            "run",
            "--runtime",
            "process",
            "10.2.1.1/24",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])?;
        ensure!(
            outcome.code == Some(7) && outcome.stdout == "out\n" && outcome.stderr == "err\n",
            "{outcome}"
        );
        Ok(())
    })
}

#[test]
fn several_addresses_in_several_subnets() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let a = bed.host(1).run("10.2.1.1/24")?;
        let other = bed.host(1).run("10.3.1.1/24")?;
        bed.host(2)
            .mesh(&[
                "run",
                "--runtime",
                "process",
                "10.2.1.2/24",
                "10.3.1.2/24",
                "-d",
                "--name",
                "both",
                "--",
                "sleep",
                "1000",
            ])?
            .ok()?;
        for (from, to) in [(&a, "10.2.1.2"), (&other, "10.3.1.2")] {
            wait_until(Duration::from_secs(10), to, || from.ping(to))?;
        }
        ensure!(a.ping("10.3.1.1").is_err(), "subnets are apart");
        let listed = bed.host(2).ps()?;
        let addresses: Vec<&str> = listed
            .iter()
            .flat_map(|c| &c.interfaces)
            .map(|i| i.address.as_str())
            .collect();
        ensure!(addresses == ["10.2.1.2/24", "10.3.1.2/24"], "{listed:?}");
        let text = bed.host(2).mesh(&["ps"])?.ok()?;
        ensure!(
            text.lines()
                .any(|line| line.contains("10.2.1.2/24") && line.contains("10.3.1.2/24")),
            "{text}"
        );
        Ok(())
    })
}

#[test]
fn a_container_that_ends_is_forgotten_everywhere() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        b.kill()?;
        wait_until(Duration::from_secs(10), "host2 lists no container", || {
            let listed = bed.host(2).ps()?;
            ensure!(listed.is_empty(), "{listed:?}");
            Ok(())
        })?;
        // The address is free at once for a container on another host.
        let moved = bed.host(1).run_named("10.2.1.2/24", "moved")?;
        a.reaches(&moved)
    })
}

#[test]
fn the_example_without_an_engine_runs_and_cleans_up() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        let before = HostObjects::take(host)?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/no-engine.sh");
        let output = host.shell(script)?.ok()?;
        ensure!(output.contains("hello from the mesh"), "{output}");
        HostObjects::take(host)?.same_as(&before)
    })
}
