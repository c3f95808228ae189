//! `mesh run` with Docker.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Setup, Snapshot, all_reach_all, transfer, wait_until, with_testbed};

use crate::{full_mesh, is_id, run, run_with};

#[test]
fn the_scenario_of_the_readme() -> Result<()> {
    with_testbed(&Setup::hosts(3).engines(), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        one.launch(&[])?;
        is_id(
            &one.mesh(&[
                "run",
                "10.2.1.1/24",
                "--name",
                "first",
                "ubuntu",
                "sleep",
                "1d",
            ])?
            .ok()?,
        )?;
        two.launch(&[])?;
        two.mesh(&["connect", "host1"])?.ok()?;
        is_id(
            &two.mesh(&["run", "10.2.1.2/24", "--name", "web", "nginx"])?
                .ok()?,
        )?;
        wait_until(Duration::from_secs(15), "web reaches 10.2.1.1", || {
            two.docker(&["exec", "web", "ping", "-c", "1", "-W", "1", "10.2.1.1"])?
                .ok()
        })?;
        // A third host that connects to either sees both.
        three.launch(&["host2"])?;
        let third = run(three, "10.2.1.3/24", "third")?;
        let (first, web) = (
            one.container("first", "10.2.1.1")?,
            two.container("web", "10.2.1.2")?,
        );
        all_reach_all(&[first.clone(), web.clone(), third.clone()])?;
        let request =
            "exec 3<>/dev/tcp/10.2.1.2/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let page = third.exec(&["timeout", "5", "bash", "-c", request])?.ok()?;
        ensure!(page.contains("Welcome to the mesh"), "{page}");
        transfer(&first, &third, 50_000_000, Duration::from_secs(60))?;
        Ok(())
    })
}

#[test]
fn the_address_is_there_before_the_first_process_twenty_times_of_twenty() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        for round in 1..=20 {
            let id = host
                .mesh(&[
                    "run",
                    "10.2.1.9/24",
                    "ubuntu",
                    "ip",
                    "-o",
                    "-4",
                    "addr",
                    "show",
                    "up",
                ])?
                .ok()?;
            host.docker(&["wait", &id])?.ok()?;
            let seen = host.docker(&["logs", &id])?.ok()?;
            ensure!(seen.contains("inet 10.2.1.9/24"), "round {round}: {seen}");
            host.docker(&["rm", &id])?.ok()?;
        }
        ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
        Ok(())
    })
}

#[test]
fn flags_go_to_the_engine_as_they_are() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let flags = [
            "-e",
            "COLOUR=deep blue",
            "--hostname=box",
            "-l",
            "tier=web",
            "-w",
            "/tmp",
            "-m",
            "64m",
        ];
        run_with(host, "10.2.1.1/24", "flagged", &flags)?;
        let seen = host
            .docker(&[
                "exec",
                "flagged",
                "sh",
                "-c",
                "echo $COLOUR; hostname; pwd; ip -4 addr",
            ])?
            .ok()?;
        for part in ["deep blue", "box", "/tmp", "inet 10.2.1.1/24"] {
            ensure!(seen.contains(part), "no {part} in {seen}");
        }
        Ok(())
    })
}

#[test]
fn several_addresses_are_several_interfaces() -> Result<()> {
    with_testbed(&Setup::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (a, b) = (
            run(bed.host(1), "10.2.1.1/24", "one")?,
            run(bed.host(1), "10.3.1.1/24", "two")?,
        );
        bed.host(2)
            .mesh(&[
                "run",
                "10.2.1.2/24",
                "10.3.1.2/24",
                "--name",
                "both",
                "ubuntu",
                "sleep",
                "1000",
            ])?
            .ok()?;
        a.reaches(&bed.host(2).container("both", "10.2.1.2")?)?;
        b.reaches(&bed.host(2).container("both", "10.3.1.2")?)
    })
}

#[test]
fn containers_of_one_host_talk_in_spite_of_the_engines_firewall() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let (a, b) = (
            run(host, "10.2.1.1/24", "one")?,
            run(host, "10.2.1.2/24", "two")?,
        );
        a.reaches(&b)?;
        ensure!(
            a.count_answers(&b, 50)? == 50,
            "lost between two containers of one host"
        );
        Ok(())
    })
}

#[test]
fn a_run_that_fails_leaves_nothing() -> Result<()> {
    with_testbed(&Setup::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        run(host, "10.2.1.1/24", "taken")?;
        let before = Snapshot::take(host)?;
        let containers = host.docker(&["ps", "-aq"])?.ok()?;
        for args in [
            vec!["run", "10.2.1.5/24", "no-such-image:none", "true"],
            vec!["run", "10.2.1.5/24", "--no-such-flag", "ubuntu", "true"],
            vec!["run", "10.2.1.5/24", "--name", "taken", "ubuntu", "true"],
            vec!["run", "10.2.1.1/24", "ubuntu", "true"],
            vec!["run", "10.2.1.5/24", "ubuntu", "/no/such/program"],
        ] {
            let outcome = host.mesh(&args)?;
            ensure!(
                outcome.code != Some(0) && !outcome.stderr.is_empty(),
                "{outcome}"
            );
            Snapshot::take(host)?
                .same_as(&before)
                .map_err(|e| e.context(outcome.to_string()))?;
        }
        // What the engine itself leaves of a command that is not in the image is the engine's.
        let left = host.docker(&["ps", "-aq"])?.ok()?;
        ensure!(
            left.lines().count() <= containers.lines().count() + 1,
            "{left}"
        );
        ensure!(host.ps()?.len() == 1, "{:?}", host.ps()?);
        Ok(())
    })
}
