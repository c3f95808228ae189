//! Names as resolved inside containers of real engines, with the files that the engine created.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, CommandOutput, TestbedLayout, Times, here, wait_until, with_testbed};

use crate::{full_mesh, run, run_with};

/// Time limit for all hosts to learn of a container's start, renaming or end.
const SOON: Duration = Duration::from_secs(4);
/// Usual time for that.
const USUALLY: Duration = Duration::from_secs(1);
/// Time limit after a restart, which Docker slows down.
const RESTART: Duration = Duration::from_secs(20);

/// Runs a command line of the host in a container's network namespace and with its `resolv.conf`, since the images have
/// no C library.
pub(crate) fn inside(host: &TestbedHost, container: &str, line: &str) -> Result<CommandOutput> {
    let pid = host
        .docker(&["inspect", "-f", "{{.State.Pid}}", container])?
        .ok()?;
    // Files of another mount namespace cannot be bind-mounted, so mount a copy.
    let conf = format!("/run/resolv-{container}.conf");
    host.shell(&format!(
        "cat /proc/{pid}/root/etc/resolv.conf >{conf}; nsenter -t {pid} -n unshare -m sh -c 'mount --bind {conf} /etc/resolv.conf && {line}'"
    ))
}

/// Waits until this host resolves a name to these addresses; empty means that the name is gone.
fn known(host: &TestbedHost, within: Duration, name: &str, addresses: &str) -> Result<()> {
    let what = format!("{name} is '{addresses}' on {}", host.name());
    wait_until(within, &what, || {
        let outcome = host.mesh(&["dns-lookup", name])?;
        ensure!(outcome.stdout.trim() == addresses, "{outcome}");
        Ok(())
    })
}

/// Checks that each container reaches each other by name, with and without the domain.
fn all_reach_all_by_name(hosts: &[TestbedHost], names: &[&str]) -> Result<()> {
    for (host, from) in hosts.iter().zip(names) {
        for to in names {
            for name in [(*to).to_owned(), format!("{to}.mesh.local")] {
                wait_until(
                    Duration::from_secs(10),
                    &format!("{from} reaches {name}"),
                    || inside(host, from, &format!("ping -n -c 1 -W 1 {name}"))?.ok(),
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn containers_reach_one_another_by_name_from_every_host() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        full_mesh(bed)?;
        let names = ["web1", "web2", "web3"];
        for (n, (host, name)) in bed.hosts().iter().zip(names).enumerate() {
            let address = format!("10.2.1.{}", n + 1);
            run_with(
                host,
                &format!("{address}/24"),
                name,
                &["-h", &format!("www{n}.mesh.local"), "--expose", "80"],
            )?;
            for other in bed.hosts() {
                known(other, SOON, name, &address)?;
                known(other, SOON, &format!("www{n}"), &address)?;
            }
        }
        all_reach_all_by_name(bed.hosts(), &names)?;
        // The image's own resolver finds a name that only the mesh knows: a service on another host.
        let host = bed.host(1);
        let said = host
            .docker(&["exec", "web1", "nslookup", "web3.mesh.local"])?
            .ok()?;
        ensure!(said.contains("10.2.1.3"), "{said}");
        let ask = "dig +short +tries=1 SRV _80._tcp.web3.mesh.local";
        let said = inside(host, "web1", ask)?.ok()?;
        ensure!(said == "0 0 80 10-2-1-3.web3.mesh.local.", "{said}");
        let said = inside(host, "web1", "getent hosts web2")?.ok()?;
        ensure!(said.starts_with("10.2.1.2"), "{said}");
        let said = inside(host, "web1", "dig +short -x 10.2.1.2")?.ok()?;
        ensure!(said.contains("web2.mesh.local."), "{said}");
        // The host can query the same address as its containers.
        let said = host
            .exec(&["dig", "+short", "@172.17.0.1", "web2.mesh.local"])?
            .ok()?;
        ensure!(said == "10.2.1.2", "{said}");
        Ok(())
    })
}

#[test]
fn names_follow_what_engines_do() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let all_know = |within, name: &str, addresses: &str| -> Result<()> {
            let mut hosts = bed.hosts().iter();
            hosts.try_for_each(|host| known(host, within, name, addresses))
        };
        let times = Times::default();
        let soon = |name: &str, addresses: &str| times.of(|| all_know(SOON, name, addresses));
        run(one, "10.2.1.1/24", "web")?;
        soon("web", "10.2.1.1")?;
        one.docker(&["rename", "web", "front"])?.ok()?;
        soon("front", "10.2.1.1")?;
        soon("web", "")?;
        let listed = one.ps()?;
        ensure!(listed[0].name == "front", "{listed:?}");

        let pid = one
            .docker(&["inspect", "-f", "{{.State.Pid}}", "front"])?
            .ok()?;
        one.exec(&["kill", "-KILL", &pid])?.ok()?;
        soon("front", "")?;
        one.docker(&["start", "front"])?.ok()?;
        soon("front", "10.2.1.1")?;

        // Renamed while the router is down.
        one.kill_router()?;
        known(two, SOON, "front", "")?;
        one.docker(&["rename", "front", "back"])?.ok()?;
        one.launch(&[])?;
        all_know(RESTART, "back", "10.2.1.1")?;
        soon("front", "")?;
        one.docker(&["rm", "-f", "back"])?.ok()?;
        soon("back", "")?;

        // Attached while it runs.
        two.docker(&["run", "-d", "--name", "late", "ubuntu", "sleep", "1000"])?
            .ok()?;
        two.mesh(&["attach", "10.2.1.9/24", "late"])?.ok()?;
        soon("late", "10.2.1.9")?;
        two.docker(&["rename", "late", "later"])?.ok()?;
        soon("later", "10.2.1.9")?;
        two.docker(&["kill", "later"])?.ok()?;
        soon("later", "")?;
        times.usually_within(here(USUALLY))
    })
}

#[test]
fn containers_get_dns_settings_unless_told_otherwise() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let args = host.mesh(&["dns-args"])?.ok()?;
        ensure!(args == "--dns=172.17.0.1 --dns-search=mesh.local", "{args}");
        let settings = |name: &str| {
            let format = "{{.HostConfig.Dns}} {{.HostConfig.DnsSearch}}";
            host.docker(&["inspect", "-f", format, name])?.ok()
        };
        run(host, "10.2.1.1/24", "told")?;
        ensure!(settings("told")? == "[172.17.0.1] [mesh.local]");
        host.mesh(&[
            "run",
            "--without-dns",
            "10.2.1.2/24",
            "--name",
            "not",
            "ubuntu",
            "sleep",
            "9",
        ])?
        .ok()?;
        ensure!(settings("not")? == "[] []", "{}", settings("not")?);
        run_with(host, "10.2.1.3/24", "own", &["--dns", "192.0.2.1"])?;
        ensure!(settings("own")? == "[192.0.2.1] []", "{}", settings("own")?);
        // A plain Docker container can use the server if configured to; it resolves mesh names, and no others.
        let line = format!("docker run -d --name plain {args} ubuntu sleep 1000");
        host.shell(&line)?.ok()?;
        let said = inside(host, "plain", "dig +short told.mesh.local")?.ok()?;
        ensure!(said == "10.2.1.1", "{said}");
        Ok(())
    })
}

#[test]
fn strangers_are_not_answered() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two) = (bed.host(1), bed.host(2));
        run(one, "10.2.1.1/24", "web")?;
        let ask = [
            "dig",
            "@172.17.0.1",
            "+short",
            "+tries=1",
            "+time=1",
            "web.mesh.local",
        ];
        ensure!(one.exec(&ask)?.ok()? == "10.2.1.1");
        // Routes the other host's queries for that address to this one.
        two.exec(&["ip", "link", "del", "docker0"])?.ok()?;
        two.exec(&["ip", "route", "add", "172.17.0.1/32", "via", &one.address()])?
            .ok()?;
        two.exec(&["ping", "-n", "-c", "1", "-W", "1", "172.17.0.1"])?
            .ok()?;
        let said = two.exec(&ask)?;
        ensure!(said.code != Some(0), "{said}");
        let status = one.mesh(&["status", "dns", "--json"])?.ok()?;
        ensure!(
            status.contains("\"dropped, from a stranger\": 1"),
            "{status}"
        );
        Ok(())
    })
}

/// The resolver of musl, as in Alpine images, queries all servers at once and ignores options of glibc.
#[test]
fn the_c_library_musl_finds_names_inside_containers() -> Result<()> {
    if !musl_is_there()? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        run(host, "10.2.1.1/24", "web")?;
        run(bed.host(2), "10.2.1.2/24", "far")?;
        known(host, SOON, "far", "10.2.1.2")?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/getent.c");
        host.shell(&format!(
            "musl-gcc -static -o /run/getent {source} && docker cp /run/getent web:/bin/getent"
        ))?
        .ok()?;
        for (asked, found) in [
            ("far", "10.2.1.2 far"),
            ("FAR.mesh.local", "10.2.1.2 FAR.mesh.local"),
            ("10.2.1.2", "10.2.1.2 far.mesh.local"),
        ] {
            let said = host.docker(&["exec", "web", "getent", "hosts", asked])?;
            ensure!(said.ok()? == found, "{asked}");
        }
        let unknown = host.docker(&["exec", "web", "getent", "hosts", "nobody.mesh.local"])?;
        ensure!(unknown.code == Some(2), "{unknown}");
        Ok(())
    })
}

/// Returns true if there is a compiler for musl; prints a message if not.
#[allow(clippy::print_stdout)]
fn musl_is_there() -> Result<bool> {
    let found = mesh_tests::run("sh", &["-c", "command -v musl-gcc"])?.code == Some(0);
    if !found {
        println!("skipped: musl-gcc is not installed");
    }
    Ok(found)
}
