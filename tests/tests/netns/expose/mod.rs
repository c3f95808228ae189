//! The host itself on the mesh, and its other networks through it.

mod apart;
mod bridges;
mod firewall;
mod mistakes;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestContainer, TestbedHost, TestbedLayout, HostObjects, wait_until, with_testbed};

use crate::full_mesh;

/// Time limit of first replies, since first frames open sessions.
const SOON: Duration = Duration::from_secs(15);

/// Runs `mesh` on a host and returns its output.
fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&words)?.ok()
}

/// Waits until an address answers pings of the host.
fn answers(host: &TestbedHost, address: &str) -> Result<()> {
    let what = format!("{address} answers {}", host.name());
    wait_until(SOON, &what, || {
        host.exec(&["ping", "-n", "-c", "1", "-W", "1", address])?
            .ok()
            .map(drop)
    })
}

/// Sends three pings, none of which may be answered.
fn is_silent(host: &TestbedHost, address: &str) -> Result<()> {
    let line = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", address];
    let outcome = host.exec(&line)?;
    ensure!(
        outcome.code != Some(0),
        "{address} should be out of reach: {outcome}"
    );
    Ok(())
}

/// Makes the container record the sources of ICMP echoes from now on.
fn remember_callers(place: &TestContainer) -> Result<()> {
    let table = "table ip callers {
        set from { type ipv4_addr; size 64; flags dynamic; }
        chain input {
            type filter hook input priority 0;
            icmp type echo-request add @from { ip saddr }
        }
    }";
    let script = format!("nft '{table}'");
    place.exec(&["sh", "-c", &script])?.ok().map(drop)
}

/// Returns the sources of ICMP echoes since the last call.
fn callers(place: &TestContainer) -> Result<String> {
    let list = "nft list set ip callers from; nft flush set ip callers from";
    let text = place.exec(&["sh", "-c", list])?.ok()?;
    let from = text.split_once("elements = {");
    Ok(from
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(found, _)| found.trim().to_owned())
        .unwrap_or_default())
}

/// Returns the host's line of `mesh ps`, split into words.
fn line_of_host(host: &TestbedHost) -> Result<Vec<String>> {
    let all = mesh(host, "ps")?;
    let line = all.lines().find(|line| line.starts_with("mesh:expose"));
    let words = line.unwrap_or_default().split_whitespace();
    Ok(words.map(ToOwned::to_owned).collect())
}

#[test]
fn hosts_and_containers_of_all_hosts_reach_one_another() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let (near, far) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        near.reaches(&far)?;
        let before = HostObjects::take(one)?;
        for _ in 0..2 {
            ensure!(mesh(one, "expose 10.2.1.254/24")? == "10.2.1.254");
        }
        ensure!(mesh(two, "expose --without-masquerade ip:10.2.1.253/24")? == "10.2.1.253");
        for address in ["10.2.1.1", "10.2.1.2", "10.2.1.253"] {
            answers(one, address)?;
        }
        for container in [&near, &far] {
            container.ping("10.2.1.254")?;
            container.ping("10.2.1.253")?;
        }
        let mac = one.exec(&["cat", "/sys/class/net/mesh/address"])?.ok()?;
        let line = line_of_host(one)?;
        ensure!(line == ["mesh:expose", &mac, "10.2.1.254/24"], "{line:?}");
        let json = one.ps()?;
        ensure!(json.iter().any(|c| c.name == "mesh:expose"), "{json:?}");
        let status = mesh(one, "status")?;
        ensure!(
            status.contains("Exposed: 10.2.1.254/24 (masqueraded by nft)"),
            "{status}"
        );
        let six = two.run("fd00::2/64")?;
        mesh(one, "expose fd00::254/64")?;
        answers(one, "fd00::2")?;
        six.ping("fd00::254")?;
        // The host answers on its mesh address, not on its others.
        let route = ["ip", "route", "add", "192.168.77.1", "dev", "mesh0"];
        near.exec(&route)?.ok()?;
        near.does_not_reach(&one.underlay()?)?;

        for _ in 0..2 {
            one.mesh(&["hide"])?.ok()?;
            ensure!(line_of_host(one)?.is_empty());
            HostObjects::take(one)?.same_as(&before)?;
        }
        let silent = near.exec(&["ping", "-c", "2", "-W", "1", "10.2.1.254"])?;
        ensure!(silent.code != Some(0), "{silent}");
        is_silent(one, "10.2.1.1")
    })
}

#[test]
fn an_address_is_allocated_kept_and_given_back() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let first = mesh(one, "expose")?;
        ensure!(mesh(one, "expose net:default")? == first, "{first}");
        ensure!(mesh(two, "expose")? != first, "{first}");
        ensure!(mesh(one, "expose net:10.32.5.0/24")? == "10.32.5.1");
        let container = two.run_free(&["net:10.32.5.0/24"], "next")?;
        ensure!(two.address_of("next")? == "10.32.5.2/24");
        answers(one, container.address())?;
        let held = one.ipam()?.allocations;
        let of_host = held.iter().filter(|a| a.container == "mesh:expose");
        ensure!(of_host.count() == 2, "{held:?}");
        mesh(one, "hide net:10.32.5.0/24")?;
        // The owner of the address's space must learn first that it is free.
        wait_until(SOON, "a container gets what the host gave back", || {
            two.run_free(&["10.32.5.1/24"], "heir").map(drop)
        })?;
        mesh(one, "hide")?;
        ensure!(one.ipam()?.allocations.is_empty());
        ensure!(mesh(one, "expose")? == first, "{first}");
        Ok(())
    })
}

#[test]
fn machines_outside_and_containers_reach_one_another_through_the_host() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let (one, two, outside) = (bed.host(1), bed.host(2), bed.host(3));
        one.launch(&[])?;
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        let container = two.run("10.2.1.2/24")?;
        let machine = outside.underlay()?;
        for place in [&container, &machine] {
            remember_callers(place)?;
        }
        let route = ["ip", "route", "add", "10.2.1.0/24", "via", "192.168.77.1"];
        outside.exec(&route)?.ok()?;
        let said = one.mesh(&["expose", "10.2.1.254/24"])?;
        ensure!(said.stderr.contains("net.ipv4.ip_forward"), "{said}");
        said.ok()?;
        answers(outside, "10.2.1.2")?;
        ensure!(callers(&container)? == "10.2.1.254");
        // The way out needs only a route.
        let route = ["ip", "route", "add", "default", "via", "10.2.1.254"];
        container.exec(&route)?.ok()?;
        container.ping("192.168.77.3")?;
        ensure!(callers(&machine)? == "192.168.77.1");
        // Within the mesh, source addresses are kept.
        let near = one.run("10.2.1.1/24")?;
        near.reaches(&container)?;
        ensure!(callers(&container)? == "10.2.1.1");

        mesh(one, "expose 10.2.1.254/24 --without-masquerade")?;
        answers(outside, "10.2.1.2")?;
        ensure!(callers(&container)? == "192.168.77.3");
        container.ping("192.168.77.3")?;
        ensure!(callers(&machine)? == "10.2.1.2");

        mesh(one, "hide")?;
        is_silent(outside, "10.2.1.2")?;
        container.does_not_reach(&machine)
    })
}

#[test]
fn an_exposed_host_is_exposed_after_a_restart_a_crash_and_a_boot() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let address = mesh(one, "expose -h gateway")?;
        let far = two.run_free(&[], "far")?;
        far.reaches(&one.underlay_as(&address)?)?;
        let whole = HostObjects::take(one)?;
        mesh(one, "stop")?;
        let missing = whole.added_since(&HostObjects::take(one)?);
        ensure!(missing.iter().all(|l| !l.contains("expose")), "{missing:?}");
        one.launch(&[])?;
        far.reaches(&one.underlay_as(&address)?)?;
        one.kill_router()?;
        one.launch(&[])?;
        far.reaches(&one.underlay_as(&address)?)?;
        ensure!(mesh(one, "expose")? == address);
        one.crash()?;
        one.boot(false)?;
        // Dialling, it announces the new address of its network card to the other host.
        one.launch(&["host2"])?;
        far.reaches(&one.underlay_as(&address)?)?;
        answers(one, far.address())?;
        let names = mesh(two, "dns-lookup gateway")?;
        ensure!(names == address, "{names}");
        Ok(())
    })
}

#[test]
fn a_name_of_the_host_leads_to_it_on_all_hosts_until_it_is_hidden() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let leads = |to: Option<&str>| -> Result<()> {
            wait_until(Duration::from_secs(3), "the name is known", || {
                let found = two.mesh(&["dns-lookup", "gateway"])?;
                match to {
                    Some(to) => ensure!(found.stdout.trim() == to, "{found}"),
                    None => ensure!(found.code == Some(1), "{found}"),
                }
                Ok(())
            })
        };
        mesh(one, "expose 10.2.1.254/24 -h gateway.mesh.local")?;
        leads(Some("10.2.1.254"))?;
        ensure!(mesh(two, "dns-lookup 10.2.1.254")? == "gateway.mesh.local");
        mesh(one, "expose 10.2.1.254/24")?;
        leads(Some("10.2.1.254"))?;
        mesh(one, "hide 10.2.1.254/24")?;
        leads(None)?;
        let wrong = ["expose", "10.2.1.254/24", "-h", "a.example.org"];
        let message = one.mesh(&wrong)?.refused()?;
        ensure!(message.contains("mesh.local"), "{message}");
        line_of_host(one)?
            .is_empty()
            .then_some(())
            .context("a refusal exposed the host")
    })
}
