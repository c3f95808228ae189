//! `mesh run` with Docker.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, HostObjects, all_reach_all, transfer, wait_until, with_testbed};

use crate::{again, full_mesh, is_id, run, run_with};

#[test]
fn the_scenario_of_the_readme() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
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
        // A third host that connects to one of them reaches both.
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
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        for round in 1..=20 {
            let seen = first_process_sees(host, &["10.2.1.9/24"])?;
            for part in [
                "eth0 ",
                "inet 10.2.1.9/24",
                "default via",
                "224.0.0.0/4 dev mesh0",
            ] {
                ensure!(seen.contains(part), "round {round}: no {part} in {seen}");
            }
        }
        ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
        Ok(())
    })
}

#[test]
fn several_addresses_of_one_subnet_are_there_before_the_first_process_too() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        for round in 1..=10 {
            let seen = first_process_sees(host, &["10.2.1.8/24", "10.2.1.9/24", "10.3.1.9/24"])?;
            // The first process may see the second address before its subnet is set.
            for part in ["inet 10.2.1.8/24", "inet 10.2.1.9/", "inet 10.3.1.9/24"] {
                ensure!(seen.contains(part), "round {round}: no {part} in {seen}");
            }
        }
        let near = run(host, "10.2.1.1/24", "near")?;
        let both = [
            "run",
            "10.2.1.8/24",
            "10.2.1.9/24",
            "--name",
            "both",
            "ubuntu",
            "sleep",
            "1d",
        ];
        host.mesh(&both)?.ok()?;
        again(host, "both", "10.2.1.8/24")?;
        for address in ["10.2.1.8", "10.2.1.9"] {
            near.reaches(&host.container("both", address)?)?;
        }
        Ok(())
    })
}

/// Returns addresses and routes as seen by the first process of a container with these addresses.
fn first_process_sees(host: &TestbedHost, addresses: &[&str]) -> Result<String> {
    let look = ["ubuntu", "sh", "-c", "ip -o -4 addr show up; ip route"];
    let id = host.mesh(&[&["run"], addresses, &look].concat())?.ok()?;
    host.docker(&["wait", &id])?.ok()?;
    let seen = host.docker(&["logs", &id])?.ok()?;
    host.docker(&["rm", &id])?.ok()?;
    Ok(seen)
}

#[test]
fn the_engines_own_network_stays() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (host, outside) = (bed.host(1), bed.host(2));
        let far = run(outside, "10.2.1.2/24", "far")?;
        let flags = [
            "run",
            "10.2.1.1/24",
            "--name",
            "web",
            "-p",
            "8080:80",
            "--restart",
            "always",
            "nginx",
        ];
        host.mesh(&flags)?.ok()?;
        let published = || {
            let request = format!(
                "exec 3<>/dev/tcp/{}/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
                host.address()
            );
            let fetch = ["timeout", "5", "bash", "-c", &request];
            let page = outside.exec(&fetch)?.ok()?;
            ensure!(page.contains("Welcome to the mesh"), "{page}");
            Ok(())
        };
        let check = || {
            let web = again(host, "web", "10.2.1.1/24")?;
            let routes = host.docker(&["exec", "web", "ip", "route"])?.ok()?;
            ensure!(
                routes.contains("default via") && routes.contains("dev eth0"),
                "{routes}"
            );
            wait_until(Duration::from_secs(5), "the port is published", published)?;
            far.reaches(&web)
        };
        check()?;
        host.docker(&["restart", "-t", "0", "web"])?.ok()?;
        check()
    })
}

#[test]
fn the_user_chooses_the_network_beside_the_mesh() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.docker(&["network", "create", "back"])?.ok()?;
        let near = run_with(host, "10.2.1.1/24", "near", &["--network", "back"])?;
        let other = run_with(host, "10.2.1.2/24", "other", &["--net=back"])?;
        near.reaches(&other)?;
        // Docker resolves names on user-defined networks.
        host.docker(&["exec", "near", "ping", "-c", "1", "-W", "2", "other"])?
            .ok()?;

        let alone = run_with(host, "10.2.1.3/24", "alone", &["--network", "none"])?;
        near.reaches(&alone)?;
        let links = host.docker(&["exec", "alone", "ip", "-o", "link"])?.ok()?;
        ensure!(
            links.contains("mesh0") && !links.contains("eth0"),
            "{links}"
        );

        for network in ["host", "container:near"] {
            let args = ["run", "10.2.1.4/24", "--network", network, "ubuntu", "true"];
            let message = host.mesh(&args)?.refused()?;
            ensure!(message.contains(network), "{message}");
        }
        Ok(())
    })
}

#[test]
fn flags_go_to_the_engine_as_they_are() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
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
            "-dit",
            "--rm",
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
        let settings = "{{.Config.Tty}} {{.Config.OpenStdin}} {{.HostConfig.AutoRemove}}";
        let seen = host.docker(&["inspect", "-f", settings, "flagged"])?.ok()?;
        ensure!(seen == "true true true", "-it --rm: {seen}");

        let command = [
            "--entrypoint",
            "/bin/sleep",
            "--name",
            "entry",
            "ubuntu",
            "1000",
        ];
        let id = host
            .mesh(&[&["run", "10.2.1.2/24"][..], &command].concat())?
            .ok()?;
        is_id(&id)?;
        again(host, "entry", "10.2.1.2/24")?;
        Ok(())
    })
}

#[test]
fn several_addresses_are_several_interfaces() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
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
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
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
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        run(host, "10.2.1.1/24", "taken")?;
        let before = HostObjects::take(host)?;
        let containers = host.docker(&["ps", "-aq"])?.ok()?;
        for args in [
            vec!["run", "10.2.1.5/24", "no-such-image:none", "true"],
            vec!["run", "10.2.1.5/24", "--no-such-flag", "ubuntu", "true"],
            vec!["run", "10.2.1.5/24", "--name", "taken", "ubuntu", "true"],
            vec!["run", "10.2.1.1/24", "ubuntu", "true"],
            vec!["run", "10.2.1.5/24", "ubuntu", "/no/such/program"],
            vec!["run", "10.2.1.5/24", "--rm", "ubuntu", "/no/such/program"],
            vec![
                "run",
                "10.2.1.5/24",
                "--network",
                "no-such",
                "ubuntu",
                "true",
            ],
            // Docker's own network has this subnet.
            vec!["run", "172.17.0.9/16", "ubuntu", "true"],
        ] {
            let outcome = host.mesh(&args)?;
            ensure!(
                outcome.code != Some(0) && !outcome.stderr.is_empty(),
                "{outcome}"
            );
            HostObjects::take(host)?
                .same_as(&before)
                .map_err(|e| e.context(outcome.to_string()))?;
        }
        let left = host.docker(&["ps", "-aq"])?.ok()?;
        ensure!(left == containers, "{left}");
        ensure!(host.ps()?.len() == 1, "{:?}", host.ps()?);
        Ok(())
    })
}
