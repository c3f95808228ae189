//! Names as resolved inside a container that is on the mesh only: with its own `resolv.conf`, by a server in its
//! network namespace.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{
    TestContainer, TestbedHost, TestbedLayout, here, stays, wait_until, with_testbed,
};

use crate::full_mesh;

/// Time limit for learning a name of another host.
const SOON: Duration = Duration::from_secs(4);
/// Time limit for state that the router checks every 3 s.
const LOOKED: Duration = Duration::from_secs(8);
/// Time limit after a restart of the router.
const RESTART: Duration = Duration::from_secs(20);

/// Waits until the C library in the container resolves a name to this address.
fn finds(container: &TestContainer, within: Duration, name: &str, address: &str) -> Result<()> {
    wait_until(within, &format!("{name} is found within"), || {
        let found = container.exec_inside(&["getent", "ahostsv4", name])?.ok()?;
        ensure!(found.starts_with(address), "{found}");
        Ok(())
    })
}

/// Returns the response code that dig prints in the container.
fn code(container: &TestContainer, words: &[&str]) -> Result<String> {
    let dig = ["dig", "+tries=1", "+time=3"];
    let text = container.exec_inside(&[&dig, words].concat())?.ok()?;
    let status = text.split("status: ").nth(1);
    let status = status.and_then(|s| s.split(',').next());
    Ok(status.unwrap_or_default().to_owned())
}

/// Returns the report of `mesh status dns`.
fn status(host: &TestbedHost) -> Result<serde_json::Value> {
    let text = host.mesh(&["status", "dns", "--json"])?.ok()?;
    Ok(serde_json::from_str(&text)?)
}

/// Waits until the router reports that it answers in this many containers.
fn serves(host: &TestbedHost, containers: u64) -> Result<()> {
    let what = format!("it answers within {containers} containers");
    wait_until(LOOKED, &what, || {
        let status = status(host)?;
        ensure!(status["Inside"] == containers, "{status}");
        Ok(())
    })
}

/// Returns the number of sockets of the router, in any namespace.
fn sockets(host: &TestbedHost) -> Result<usize> {
    let pid = host.router_pid()?;
    let line = format!("ls -l /proc/{pid}/fd | grep -c 'socket:'");
    Ok(host.shell(&line)?.ok()?.parse()?)
}

#[test]
fn a_process_finds_names_of_other_hosts_before_and_after_the_router_is_killed() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        two.run_named("10.2.1.2/24", "web")?;
        let client = one.run_named("10.2.1.1/24", "client")?;
        finds(&client, SOON, "web", "10.2.1.2")?;
        finds(&client, SOON, "web.mesh.local", "10.2.1.2")?;
        finds(&client, SOON, "client", "10.2.1.1")?;
        wait_until(SOON, "who is not there is denied", || {
            let code = code(&client, &["nobody.mesh.local"])?;
            ensure!(code == "NXDOMAIN", "{code}");
            Ok(())
        })?;
        ensure!(code(&client, &["+tcp", "web.mesh.local"])? == "NOERROR");
        // The upstream servers are unreachable here: the client gets an error in time.
        let began = Instant::now();
        ensure!(code(&client, &["www.example.org"])? == "SERVFAIL");
        ensure!(began.elapsed() < here(Duration::from_millis(2_500)));
        client
            .exec_inside(&["ping", "-n", "-c", "1", "-W", "5", "web"])?
            .ok()?;

        one.kill_router()?;
        let asked = client.exec_inside(&["getent", "ahostsv4", "web"])?;
        ensure!(asked.code != Some(0), "nobody is there to answer: {asked}");
        one.launch(&[])?;
        finds(&client, RESTART, "web", "10.2.1.2")
    })
}

#[test]
fn what_is_within_a_container_ends_with_it_and_changes_nothing_on_the_host() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let conf = host.exec(&["cat", "/etc/resolv.conf"])?.ok()?;
        let files = host.exec(&["ls", "/run/mesh"])?.ok()?;
        // Others come and go with the requests of `mesh`.
        let before = wait_until(SOON, "the sockets stay the same", || {
            let now = sockets(host)?;
            stays(Duration::from_secs(1), "the sockets stay the same", || {
                ensure!(sockets(host)? == now, "other sockets");
                Ok(())
            })?;
            Ok(now)
        })?;
        let (one, two) = (
            host.run_named("10.2.1.1/24", "one")?,
            host.run_named("10.2.1.2/24", "two")?,
        );
        serves(host, 2)?;
        for container in [&one, &two] {
            let given = container.exec_inside(&["cat", "/etc/resolv.conf"])?.ok()?;
            ensure!(
                given == "nameserver 127.0.0.12\nsearch mesh.local",
                "{given}"
            );
            finds(container, SOON, "one", "10.2.1.1")?;
        }
        ensure!(host.exec(&["cat", "/etc/resolv.conf"])?.ok()? == conf);
        ensure!(host.exec(&["ls", "/run/mesh"])?.ok()? == files);
        let on_host = [
            "dig",
            "@127.0.0.12",
            "+tries=1",
            "+time=1",
            "one.mesh.local",
        ];
        ensure!(
            host.exec(&on_host)?.code != Some(0),
            "the host's own network"
        );
        wait_until(SOON, "UDP and TCP for each", || {
            let now = sockets(host)?;
            ensure!(now >= before + 4, "{now}, before {before}");
            Ok(())
        })?;

        one.kill()?;
        serves(host, 1)?;
        // Detached from all addresses it is not on the mesh; attached again it is.
        host.mesh(&["detach", "--runtime", "process", "two"])?
            .ok()?;
        serves(host, 0)?;
        let attach = ["attach", "--runtime", "process", "10.2.1.3/24", "two"];
        host.mesh(&attach)?.ok()?;
        finds(&two, SOON, "two", "10.2.1.3")?;
        two.kill()?;
        serves(host, 0)?;
        wait_until(LOOKED, "no socket is left", || {
            let now = sockets(host)?;
            ensure!(now <= before, "{now}, before {before}");
            Ok(())
        })
    })
}

#[test]
fn a_container_with_a_dns_server_of_its_own_runs_all_the_same() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let conf = host.exec(&["cat", "/etc/resolv.conf"])?.ok()?;
        // With --without-dns, the port stays free and names are resolved by the host's servers.
        let own = host.run_free(&["--without-dns", "10.2.1.1/24"], "own")?;
        serves(host, 0)?;
        let given = own.exec_inside(&["cat", "/etc/resolv.conf"])?.ok()?;
        ensure!(given == conf, "{given}");
        let _server = own.spawn(&["busybox", "nc", "-l", "-p", "53"])?;

        // Without the option, a server of the container's own takes precedence: that is reported, and nothing fails.
        let late = host.run_named("10.2.1.2/24", "late")?;
        serves(host, 1)?;
        host.kill_router()?;
        let server = late.spawn(&["busybox", "nc", "-l", "-p", "53"])?;
        wait_until(SOON, "the server has the port", || {
            let listening = late.exec(&["ss", "-Hltn", "sport = :53"])?.ok()?;
            ensure!(!listening.is_empty());
            Ok(())
        })?;
        host.launch(&[])?;
        wait_until(LOOKED, "the router says so", || {
            let problems = status(host)?["Problems"].to_string();
            ensure!(problems.contains("within container late"), "{problems}");
            ensure!(!problems.contains("within container own"), "{problems}");
            Ok(())
        })?;
        let log = host.exec(&["cat", "/var/lib/mesh/router.log"])?.ok()?;
        let warned = log.matches("within container late").count();
        ensure!(warned == 1, "warned {warned} times");
        ensure!(host.ps()?.len() == 2);
        drop(server);
        serves(host, 1)?;
        finds(&late, SOON, "late", "10.2.1.2")
    })
}

#[test]
fn a_router_that_answers_no_names_leaves_containers_as_they_are() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&["--no-dns"])?;
        let conf = host.exec(&["cat", "/etc/resolv.conf"])?.ok()?;
        let client = host.run_named("10.2.1.1/24", "client")?;
        ensure!(client.exec_inside(&["cat", "/etc/resolv.conf"])?.ok()? == conf);
        let nothing = host.mesh(&["dns-args", "--runtime", "podman"])?.ok()?;
        ensure!(nothing.is_empty(), "{nothing}");
        Ok(())
    })
}
