//! Names of containers, resolved through real routers by dig and by the C library.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, Times, here, tell, wait_until, with_testbed};

use crate::full_mesh;

/// Time limit for all hosts to learn of a container's start or end.
const SOON: Duration = Duration::from_secs(4);
/// Usual time for that.
const USUALLY: Duration = Duration::from_secs(1);
/// Usual time if the previous changes were as fast; a hold-down of a second would take longer.
const IN_A_ROW: Duration = Duration::from_millis(600);
/// Time limit for giving up an isolated router, which takes about 3.5 s.
const CUT_OFF: Duration = Duration::from_secs(8);
/// Address on which these routers answer: without Docker there is no default bridge to listen on.
const LISTEN: [&str; 2] = ["--dns-listen", "127.0.0.1"];

/// Returns the lines of `dig +short`, in order.
fn dig(host: &TestbedHost, words: &[&str]) -> Result<Vec<String>> {
    let words = [
        &["dig", "@127.0.0.1", "+short", "+tries=1", "+time=2"],
        words,
    ]
    .concat();
    let text = host.exec(&words)?.ok()?;
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// Waits until the name resolves to these addresses.
fn leads(host: &TestbedHost, within: Duration, name: &str, addresses: &[&str]) -> Result<()> {
    finds(host, within, &[name], addresses)
}

/// Waits until dig with these arguments prints this.
fn finds(host: &TestbedHost, within: Duration, words: &[&str], expected: &[&str]) -> Result<()> {
    let what = format!("{words:?} on {} finds {expected:?}", host.name());
    wait_until(within, &what, || {
        let found = dig(host, words)?;
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
}

/// Returns the response code that dig prints.
fn code(host: &TestbedHost, words: &[&str]) -> Result<String> {
    let all = [&["dig", "@127.0.0.1", "+tries=1", "+time=3"], words].concat();
    let text = host.exec(&all)?.ok()?;
    let status = text
        .split("status: ")
        .nth(1)
        .and_then(|s| s.split(',').next());
    Ok(status.unwrap_or_default().to_owned())
}

/// Waits for NXDOMAIN: during its first two seconds the router does not know all names.
fn is_denied(host: &TestbedHost, name: &str) -> Result<()> {
    wait_until(Duration::from_secs(3), &format!("{name} is denied"), || {
        let code = code(host, &[name])?;
        ensure!(code == "NXDOMAIN", "{code}");
        Ok(())
    })
}

#[test]
fn a_container_is_known_everywhere_within_a_second_and_as_soon_forgotten() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &LISTEN)?;
        let (come, gone) = (Times::default(), Times::default());
        for (n, host) in bed.hosts().iter().enumerate() {
            let address = format!("10.2.1.{}", n + 1);
            let web = host.run_named(&format!("{address}/24"), "web")?;
            let began = Instant::now();
            come.of(|| {
                let mut hosts = bed.hosts().iter();
                hosts.try_for_each(|other| leads(other, SOON, "web.mesh.local", &[&address]))
            })?;
            tell(&format!(
                "a name of {} known on all hosts after {:?}",
                host.name(),
                began.elapsed()
            ));
            web.kill()?;
            gone.of(|| {
                let mut hosts = bed.hosts().iter();
                hosts.try_for_each(|other| leads(other, SOON, "web.mesh.local", &[]))
            })?;
            for other in bed.hosts() {
                is_denied(other, "web.mesh.local")?;
            }
        }
        come.usually_within(here(USUALLY))?;
        gone.usually_within(here(USUALLY))
    })
}

#[test]
fn several_that_start_one_after_another_are_as_fast() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &LISTEN)?;
        let times = Times::default();
        for n in 1..=8 {
            let name = format!("c{n}");
            let address = format!("10.2.1.{n}");
            bed.host(1).run_named(&format!("{address}/24"), &name)?;
            times.of(|| leads(bed.host(2), SOON, &name, &[&address]))?;
        }
        times.usually_within(here(IN_A_ROW))
    })
}

#[test]
fn answers_are_as_the_rules_of_dns_have_them() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &LISTEN)?;
        let (one, two) = (bed.host(1), bed.host(2));
        one.run_named("10.2.1.1/24", "web")?;
        two.run_named("10.2.1.2/24", "web")?;
        two.run_named("fd00::2/64", "Six")?;
        for host in bed.hosts() {
            leads(host, SOON, "WEB.Mesh.Local", &["10.2.1.1", "10.2.1.2"])?;
            leads(host, SOON, "web", &["10.2.1.1", "10.2.1.2"])?;
            finds(host, SOON, &["AAAA", "six.mesh.local"], &["fd00::2"])?;
            ensure!(dig(host, &["-x", "10.2.1.2"])? == ["web.mesh.local."]);
            ensure!(dig(host, &["+tcp", "six.mesh.local", "AAAA"])? == ["fd00::2"]);
            ensure!(code(host, &["AAAA", "web.mesh.local"])? == "NOERROR");
            is_denied(host, "nobody.mesh.local")?;
            // The upstream servers are unreachable here: the client gets an error in time.
            let began = Instant::now();
            ensure!(code(host, &["www.example.org"])? == "SERVFAIL");
            ensure!(began.elapsed() < here(Duration::from_millis(2_500)));
        }
        Ok(())
    })
}

#[test]
fn the_c_library_finds_names() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&LISTEN)?;
        host.run_named("10.2.1.1/24", "web")?;
        leads(host, SOON, "web", &["10.2.1.1"])?;
        let conf = "nameserver 127.0.0.1\\nsearch mesh.local\\n";
        for (database, asked) in [
            ("ahostsv4", "web.mesh.local"),
            ("ahostsv4", "web"),
            ("hosts", "10.2.1.1"),
        ] {
            let line = format!(
                "printf '{conf}' >/run/resolv.conf; unshare -m sh -c \
                 'mount --bind /run/resolv.conf /etc/resolv.conf && getent {database} {asked}'"
            );
            let found = host.shell(&line)?.ok()?;
            let sound = found.starts_with("10.2.1.1") && found.contains("web");
            ensure!(sound, "{database} {asked}: {found}");
        }
        Ok(())
    })
}

#[test]
fn names_of_a_killed_router_are_not_answered_and_come_back_as_they_are_then() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &LISTEN)?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        let stays = two.run_named("10.2.1.2/24", "stays")?;
        let ends = two.run_named("10.2.1.3/24", "ends")?;
        for host in [one, three] {
            leads(host, SOON, "stays", &["10.2.1.2"])?;
            leads(host, SOON, "ends", &["10.2.1.3"])?;
        }
        two.kill_router()?;
        for host in [one, three] {
            leads(host, SOON, "stays", &[])?;
        }
        ends.kill()?;
        two.launch(&LISTEN)?;
        for host in bed.hosts() {
            leads(host, Duration::from_secs(20), "stays", &[stays.address()])?;
            leads(host, SOON, "ends", &[])?;
        }
        Ok(())
    })
}

#[test]
fn a_router_that_was_cut_off_brings_nothing_back() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &LISTEN)?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        let ends = one.run_named("10.2.1.1/24", "ends")?;
        three.run_named("10.2.1.3/24", "far")?;
        leads(two, SOON, "far", &["10.2.1.3"])?;
        leads(three, SOON, "ends", &["10.2.1.1"])?;
        three.cut()?;
        leads(two, CUT_OFF, "far", &[])?;
        leads(three, CUT_OFF, "ends", &[])?;
        // Its own names resolve throughout.
        leads(three, SOON, "far", &["10.2.1.3"])?;
        ends.kill()?;
        leads(two, SOON, "ends", &[])?;
        one.run_named("10.2.1.9/24", "new")?;
        three.heal()?;
        leads(two, Duration::from_secs(20), "far", &["10.2.1.3"])?;
        leads(three, Duration::from_secs(20), "new", &["10.2.1.9"])?;
        for host in bed.hosts() {
            leads(host, SOON, "ends", &[])?;
        }
        Ok(())
    })
}

#[test]
fn names_are_added_and_removed_by_hand_and_outlive_the_router() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &LISTEN)?;
        let (one, two) = (bed.host(1), bed.host(2));
        let web = one.run_named("10.2.1.1/24", "web")?;
        let mesh = |words: &[&str]| one.mesh(words)?.ok();
        mesh(&["dns-add", "web", "-h", "shop.mesh.local"])?;
        mesh(&["dns-add", "10.9.0.1", "-h", "printer"])?;
        leads(two, SOON, "shop", &["10.2.1.1"])?;
        leads(two, SOON, "printer", &["10.9.0.1"])?;
        ensure!(mesh(&["dns-lookup", "printer"])? == "10.9.0.1");
        ensure!(mesh(&["dns-lookup", "10.9.0.1"])? == "printer.mesh.local");
        mesh(&["dns-remove", "web", "-h", "web"])?;
        leads(two, SOON, "web", &[])?;

        one.kill_router()?;
        one.launch(&LISTEN)?;
        leads(two, Duration::from_secs(20), "shop", &["10.2.1.1"])?;
        leads(two, SOON, "printer", &["10.9.0.1"])?;
        leads(two, SOON, "web", &[])?;
        let status = mesh(&["status", "dns"])?;
        let lines: Vec<Vec<&str>> = status
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        ensure!(lines.len() == 2, "{status}");
        ensure!(lines[0][..2] == ["printer", "10.9.0.1"], "{status}");
        ensure!(lines[1][..2] == ["shop", "10.2.1.1"], "{status}");

        mesh(&["dns-add", "web"])?;
        leads(two, SOON, "web", &["10.2.1.1"])?;
        web.kill()?;
        leads(two, SOON, "shop", &[])?;
        mesh(&["dns-remove", "10.9.0.1", "-h", "printer"])?;
        leads(two, SOON, "printer", &[])
    })
}

#[test]
fn the_domain_is_the_operators() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(
            bed,
            &[
                &LISTEN[..],
                &["--dns-domain", "Corp.Example.", "--dns-ttl", "7"],
            ]
            .concat(),
        )?;
        bed.host(1).run_named("10.2.1.1/24", "web")?;
        let two = bed.host(2);
        leads(two, SOON, "web.corp.example", &["10.2.1.1"])?;
        let text = two
            .exec(&["dig", "@127.0.0.1", "+noall", "+answer", "web.corp.example"])?
            .ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        ensure!(words[1] == "7", "{text}");
        Ok(())
    })
}

#[test]
fn without_a_server_names_are_told_to_others_all_the_same() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.launch(&["--no-dns"])?;
        two.launch(&[&LISTEN[..], &["host1"]].concat())?;
        two.wait_connections(1)?;
        one.run_named("10.2.1.1/24", "web")?;
        leads(two, SOON, "web", &["10.2.1.1"])?;
        ensure!(one.mesh(&["dns-args"])?.ok()?.is_empty());
        let message = one.mesh(&["dns-lookup", "web"])?.refused()?;
        ensure!(message.contains("--no-dns"), "{message}");
        let asked = one.exec(&["dig", "@127.0.0.1", "+tries=1", "+time=1", "web"])?;
        ensure!(asked.code != Some(0), "{asked}");
        Ok(())
    })
}
