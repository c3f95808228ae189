//! A configured secret is used or stops the start, and is visible to no other process.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, with_testbed};

use super::{program, warnings, with_programs};

#[test]
fn a_secret_that_cannot_be_used_stops_the_start() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.shell(
            "umask 077; head -c 32 /dev/zero >/etc/mesh/zeros; : >/etc/mesh/empty; printf 'aaaaaaaaaaaaaaaa' >/etc/mesh/plain
             echo 'key-file = \"/etc/mesh/zeros\"' >/etc/mesh/zeros.toml; echo 'password-file = \"\"' >/etc/mesh/none.toml",
        )?
        .ok()?;
        for (line, words) in [
            (
                "MESH_PASSWORD=$(printf '\\377\\376longenoughpassword') mesh launch",
                "UTF-8",
            ),
            ("MESH_PASSWORD= mesh launch", "MESH_PASSWORD"),
            ("MESH_PASSWORD='            ' mesh launch", "MESH_PASSWORD"),
            (
                "MESH_PASSWORD=aaaaaaaaaaaa mesh launch --no-restart",
                "MESH_PASSWORD",
            ),
            ("mesh launch --key-file /etc/mesh/zeros", "/etc/mesh/zeros"),
            ("mesh launch --key-file /etc/mesh/empty", "/etc/mesh/empty"),
            (
                "mesh launch --password-file /etc/mesh/empty",
                "/etc/mesh/empty",
            ),
            (
                "mesh launch --password-file /etc/mesh/plain",
                "/etc/mesh/plain",
            ),
            (
                "mesh launch --config /etc/mesh/zeros.toml",
                "/etc/mesh/zeros",
            ),
            ("mesh launch --config /etc/mesh/none.toml", "password-file"),
            (
                "chmod 777 /var/lib/mesh; mesh launch",
                "can be written by others",
            ),
        ] {
            let message = host.shell(line)?.refused()?;
            ensure!(message.contains(words), "{line}: {message}");
            ensure!(host.router_pid().is_err(), "{line}");
        }
        host.shell("chmod 755 /var/lib/mesh; rm -f /var/lib/mesh/*")?
            .ok()?;
        host.mesh(&["keygen", "/etc/mesh/key"])?.ok()?;
        host.exec(&["chmod", "644", "/etc/mesh/key"])?.ok()?;
        host.launch(&["--key-file", "/etc/mesh/key"])?;
        let told = warnings(host)?;
        ensure!(
            told.contains("/etc/mesh/key can be read by others"),
            "{told}"
        );
        let mode = host.exec(&["stat", "-c", "%a", "/var/lib/mesh"])?.ok()?;
        ensure!(mode == "700", "{mode}");
        Ok(())
    })
}

#[test]
fn the_password_is_in_no_other_process() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        let real = host.shell("command -v iptables")?.ok()?;
        let real = real.trim();
        program(
            host,
            "iptables",
            &format!("env >>/run/testbed/seen; exec {real} \"$@\""),
        )?;
        let line = "MESH_PASSWORD='correct horse battery' mesh launch";
        host.shell(&with_programs(line))?.ok()?;
        ensure!(host.report()?.router.secret == "password");
        let seen = host.shell("cat /run/testbed/seen")?.ok()?;
        ensure!(seen.contains("PATH="), "iptables was not run: {seen}");
        ensure!(!seen.contains("horse"), "{seen}");
        let environments =
            host.shell("for p in $(pgrep '^mesh-'); do tr '\\0' '\\n' </proc/$p/environ; done")?;
        ensure!(!environments.stdout.contains("horse"), "{environments}");
        // After a restart it still has the secret.
        let pid = host.router_pid()?;
        host.exec(&["kill", "-KILL", &pid])?.ok()?;
        mesh_tests::wait_until(super::SOON, "it is started again", || {
            ensure!(host.router_pid()? != pid);
            ensure!(host.report()?.router.secret == "password");
            Ok(())
        })
    })
}
