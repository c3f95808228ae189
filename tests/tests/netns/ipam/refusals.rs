//! Refused and waiting requests: the messages give the reason and the remedy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, here, with_testbed};

use super::distinct;
use crate::full_mesh;

#[test]
fn explicit_addresses_are_claimed_and_conflicts_name_the_holder() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        full_mesh(bed, &[])?;
        one.run_free(&["10.32.9.1/24"], "web")?;
        let refused = |host: &TestbedHost, args: &[&str]| -> Result<String> {
            let before = ["run", "--runtime", "process"];
            host.mesh(&[&before[..], args, &["--", "true"]].concat())?
                .refused()
        };
        let message = refused(one, &["10.32.9.1/24"])?;
        ensure!(
            message.contains("10.32.9.1 is already used by container web on this host"),
            "{message}"
        );
        let message = refused(two, &["10.32.9.1/24"])?;
        ensure!(
            message.contains("10.32.9.1 is already used by container web"),
            "{message}"
        );
        ensure!(message.contains("host1"), "{message}");
        // Allocation skips it, and claiming a free address of another owner works.
        two.run_free(&["net:10.32.9.0/24"], "next")?;
        ensure!(two.address_of("next")? == "10.32.9.2/24");
        two.run_free(
            &["10.32.9.77/24", "net:10.32.10.0/24", "10.2.1.1/24"],
            "mixed",
        )?;
        let mixed = two.ps()?.into_iter().find(|c| c.name == "mixed");
        let mixed: BTreeSet<String> = mixed
            .context("it is not on the mesh")?
            .interfaces
            .into_iter()
            .map(|i| i.address)
            .collect();
        let expected = ["10.2.1.1/24", "10.32.10.1/24", "10.32.9.77/24"];
        ensure!(mixed.iter().eq(expected.iter()), "{mixed:?}");
        distinct(&[one, two]).map(drop)
    })
}

#[test]
fn a_wait_has_a_reason_a_line_and_an_end() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let small = ["--ipalloc-range", "10.40.0.0/28"];
        full_mesh(bed, &small)?;
        let (one, three) = (bed.host(1), bed.host(3));
        for n in 0..14 {
            three.run_free(&[], &format!("c{n}"))?;
        }
        // From space that the router was given, before it had to request single addresses.
        let first = three.address_of("c0")?;
        let full = one
            .mesh(&["run", "--runtime", "process", "--", "true"])?
            .refused()?;
        ensure!(
            full.contains("no address of 10.40.0.0/28 is free on any router"),
            "{full}"
        );
        three.crash()?;
        one.wait_connections(1)?;
        let began = Instant::now();
        let waited = one.mesh(&[
            "run",
            "--runtime",
            "process",
            "--timeout",
            "3",
            "--",
            "true",
        ])?;
        ensure!(waited.code == Some(1), "{waited}");
        let took = began.elapsed();
        ensure!(
            took > Duration::from_secs(2) && took < here(Duration::from_secs(8)),
            "{took:?}"
        );
        ensure!(
            waited
                .stderr
                .contains("waiting for an address of 10.40.0.0/28:"),
            "{waited}"
        );
        ensure!(waited.stderr.contains("mesh rmpeer host3"), "{waited}");
        // The owner of that space might be about to state that it is there.
        let claim = one.mesh(&["run", "--runtime", "process", &first, "--", "true"])?;
        let last = claim.stderr.lines().last().unwrap_or_default();
        ensure!(
            claim.code == Some(1) && last.contains("mesh rmpeer host3"),
            "{claim}"
        );
        one.mesh(&["rmpeer", "--force", "host3"])?.ok()?;
        one.run_free(&[], "after")?;
        Ok(())
    })
}

#[test]
fn mistakes_about_ranges_are_told_with_their_remedies() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        for (flags, words) in [
            (
                &["--ipalloc-range", "192.168.0.0/16"][..],
                "this host has a route to 192.168.77.0/24, which collides; choose another range",
            ),
            (&["--ipalloc-range", "10.0.0.0/30"], "8 to 28 bits"),
            (&["--ipalloc-range", "10.32.0.1/12"], "write 10.32.0.0/12"),
            (
                &["--ipalloc-range", "x"],
                "must be an IPv4 range like 10.32.0.0/12",
            ),
            (
                &["--ipalloc-default-subnet", "10.2.0.0/16"],
                "is not in the range, 10.32.0.0/12",
            ),
            (&["--auto-reclaim", "5m"], "600 s at least"),
        ] {
            let message = host.mesh(&[&["launch"], flags].concat())?.refused()?;
            ensure!(message.contains(words), "{message}");
        }
        // The default range gives way to a route, and explicit addresses work.
        host.exec(&["ip", "route", "add", "10.0.0.0/8", "dev", "lo"])?
            .ok()?;
        host.launch(&[])?;
        host.run("10.2.1.1/24")?;
        let run = |args: &[&str]| -> Result<String> {
            let before = ["run", "--runtime", "process"];
            host.mesh(&[&before[..], args, &["--", "true"]].concat())?
                .refused()
        };
        let message = run(&[])?;
        ensure!(
            message.contains("collides with this host's route to 10.0.0.0/8"),
            "{message}"
        );
        ensure!(host.mesh(&["status"])?.ok()?.contains("Addresses: off"));
        host.mesh(&["stop"])?.ok()?;
        host.exec(&["ip", "route", "del", "10.0.0.0/8"])?.ok()?;
        host.launch(&["--ipalloc-default-subnet", "10.32.0.0/30"])?;
        for (args, words) in [
            (
                &["net:10.2.0.0/16"][..],
                "10.2.0.0/16 is not in the range of addresses, 10.32.0.0/12; take a subnet of it",
            ),
            (
                &["net:10.32.0.0/31"],
                "too small a subnet to allocate from; the smallest is a /30",
            ),
            (
                &["net:10.32.0.1/24"],
                "has host bits set; write net:10.32.0.0/24",
            ),
            (&["net:fd00::/64"], "only IPv4 addresses are allocated"),
            (&["--timeout=-1"], "--timeout -1: must be 0 to 3600 seconds"),
        ] {
            let message = run(args)?;
            ensure!(message.contains(words), "{message}");
        }
        for name in ["a", "b"] {
            host.run_free(&[], name)?;
        }
        let message = run(&[])?;
        ensure!(
            message
                .contains("no address of 10.32.0.0/30 is free on any router; take another subnet"),
            "{message}"
        );
        host.mesh(&["stop"])?.ok()?;
        let message = host
            .mesh(&["launch", "--ipalloc-range", "10.64.0.0/16"])?
            .refused()?;
        ensure!(
            message.contains("launch with --ipalloc-range 10.32.0.0/12"),
            "{message}"
        );
        host.launch(&["--ipalloc-range", ""])?;
        let message = run(&["net:default"])?;
        ensure!(message.contains("--ipalloc-range is \"\""), "{message}");
        Ok(())
    })
}
