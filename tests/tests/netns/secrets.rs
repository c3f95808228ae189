//! Admission, identity, and secrecy on the wire.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Capture, TestbedHost, TestbedLayout, cast, stays, wait_until, with_testbed};

use crate::full_mesh;

/// Writes a password file on a host, and launches the router with it.
fn launch_with_password(host: &TestbedHost, password: &str, peers: &[&str]) -> Result<()> {
    host.shell(&format!("umask 077; echo '{password}' >/etc/mesh/password"))?
        .ok()?;
    host.launch(&[&["--password-file", "/etc/mesh/password"], peers].concat())
}

/// Waits until the status of `host` shows an error with one of `words` for its connection to `peer`.
fn complains(host: &TestbedHost, peer: &TestbedHost, words: &[&str]) -> Result<()> {
    wait_until(
        Duration::from_secs(20),
        &format!("{} says what is wrong with {}", host.name(), peer.name()),
        || {
            let text = host.mesh(&["status", "connections"])?.ok()?;
            let of_peer = [peer.address(), peer.address6(), peer.name().to_owned()];
            let told = text
                .lines()
                .filter(|line| of_peer.iter().any(|name| line.contains(name)))
                .any(|line| words.iter().any(|word| line.to_lowercase().contains(word)));
            ensure!(told, "{text}");
            Ok(())
        },
    )
}

#[test]
fn the_same_password_joins() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        launch_with_password(bed.host(1), "correct horse battery", &[])?;
        launch_with_password(bed.host(2), "correct horse battery", &["host1"])?;
        bed.host(1).wait_connections(1)?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        ensure!(bed.host(1).report()?.router.secret == "password");
        let log = bed.host(1).shell("cat /var/lib/mesh/router.log; mesh_state=$(cat /proc/$(pgrep -x mesh-router)/cmdline); echo $mesh_state")?;
        ensure!(
            !log.stdout.contains("correct horse"),
            "the password is in the log or on the command line"
        );
        Ok(())
    })
}

#[test]
fn the_same_key_file_joins() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        bed.host(1).mesh(&["keygen", "/etc/mesh/key"])?.ok()?;
        let key = bed.host(1).shell("cat /etc/mesh/key")?.ok()?;
        bed.host(2)
            .shell(&format!("umask 077; echo {key} >/etc/mesh/key"))?
            .ok()?;
        bed.host(1).launch(&["--key-file", "/etc/mesh/key"])?;
        bed.host(2)
            .launch(&["--key-file", "/etc/mesh/key", "host1"])?;
        bed.host(1).wait_connections(1)?;
        ensure!(bed.host(1).report()?.router.secret == "key file");
        Ok(())
    })
}

#[test]
fn wrong_and_missing_passwords_are_named_on_both_sides() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        launch_with_password(one, "correct horse battery", &[])?;
        launch_with_password(two, "incorrect horse battery", &["host1"])?;
        three.launch(&["host1"])?;
        let words = ["password", "secret", "key"];
        complains(two, one, &words)?;
        complains(one, two, &words)?;
        complains(three, one, &words)?;
        complains(one, three, &words)?;
        stays(Duration::from_secs(2), "no connection", || {
            ensure!(one.established()?.is_empty() && one.report()?.router.peers.len() == 1);
            Ok(())
        })
    })
}

#[test]
fn two_routers_under_one_name_are_told_and_the_others_go_on() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        one.launch(&["--name", "::1"])?;
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        three.launch(&["--name", "::1", "host1"])?;
        wait_until(
            Duration::from_secs(20),
            "the second one says that the name is taken",
            || {
                let (connections, status) = (
                    three.mesh(&["status", "connections"])?,
                    three.mesh(&["status"])?,
                );
                let text = format!("{}{}", connections.stdout, status.stdout);
                ensure!(
                    text.contains("same name")
                        || text.contains("name is taken")
                        || text.contains("name 00:00:00:00:00:01"),
                    "{text}"
                );
                Ok(())
            },
        )?;
        ensure!(
            a.count_answers(&b, 50)? == 50,
            "the first owner of the name lost frames"
        );
        Ok(())
    })
}

#[test]
fn a_router_that_meets_itself_says_so_and_goes_on() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.launch(&["host1"])?;
        complains(one, one, &["connected to ourselves"])?;
        two.launch(&["host1"])?;
        one.wait_connections(1)?;
        one.run("10.2.1.1/24")?.reaches(&two.run("10.2.1.2/24")?)
    })
}

#[test]
fn an_eavesdropper_on_the_underlay_sees_no_plaintext() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let capture = Capture::start(bed)?;
        full_mesh(bed, &[])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        cast(&a, b.address(), 4000, "needle-in-the-hay", 5)?;
        cast(&a, "10.2.1.255", 4000, "needle-in-the-hay", 5)?;
        let bytes = capture.stop()?;
        ensure!(
            bytes.len() > 5_000,
            "only {} bytes on the underlay: is this the right wire?",
            bytes.len()
        );
        // The payload, the addresses of an inner IPv4 header, the peer's nickname, and a container's name.
        let secrets: [&[u8]; 4] = [
            b"needle-in-the-hay",
            &[10, 2, 1, 1, 10, 2, 1, 2],
            b"host1",
            b"10.2.1",
        ];
        for secret in secrets {
            let seen = bytes.windows(secret.len()).any(|window| window == secret);
            ensure!(
                !seen,
                "{} was on the underlay",
                String::from_utf8_lossy(secret).escape_debug()
            );
        }
        Ok(())
    })
}
