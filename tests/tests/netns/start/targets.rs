//! Targets changed by `connect` and `forget` persist.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, stays, wait_until, with_testbed};

use super::SOON;

fn targets(host: &TestbedHost) -> Result<Vec<String>> {
    Ok(host.report()?.router.targets)
}

#[test]
fn what_is_forgotten_is_not_dialled_by_discovery_either() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        // It dials no peers by itself.
        one.launch(&["--no-discovery"])?;
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        let said = two.mesh(&["forget", "host1"])?;
        said.clone().ok()?;
        ensure!(
            said.stderr.contains("stays so until that link ends"),
            "{said}"
        );
        ensure!(two.established()?.len() == 1, "a live link stays");
        ensure!(targets(two)?.is_empty());
        one.mesh(&["stop"])?.ok()?;
        one.launch(&["--no-discovery"])?;
        let no_link = || {
            ensure!(two.established()?.is_empty());
            Ok(())
        };
        wait_until(SOON, "the link ends", no_link)?;
        stays(Duration::from_secs(5), "no link", no_link)?;
        two.mesh(&["stop"])?.ok()?;
        two.launch(&[])?;
        stays(Duration::from_secs(3), "no link after a start", no_link)?;
        ensure!(two.report()?.router.forgotten == ["host1"]);
        let said = two.mesh(&["forget", "nobody"])?;
        ensure!(
            said.code == Some(0) && said.stderr.contains("nobody"),
            "{said}"
        );
        two.mesh(&["connect", &one.address()])?.ok()?;
        two.wait_connections(1)?;
        ensure!(two.report()?.router.forgotten.is_empty());
        Ok(())
    })
}

#[test]
fn a_start_begins_with_what_was_typed_last() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        let restart = |args: &[&str]| -> Result<Vec<String>> {
            host.mesh(&["stop"])?.ok()?;
            host.launch(args)?;
            targets(host)
        };
        host.shell("echo 'peers = [\"192.0.2.1\", \"192.0.2.2\"]' >/etc/mesh/mesh.toml")?
            .ok()?;
        let config = ["--config", "/etc/mesh/mesh.toml"];
        host.launch(&config)?;
        host.mesh(&["forget", "192.0.2.1"])?.ok()?;
        host.mesh(&["connect", "192.0.2.3"])?.ok()?;
        ensure!(restart(&config)? == ["192.0.2.2", "192.0.2.3"]);
        ensure!(restart(&["192.0.2.4", "192.0.2.5"])? == ["192.0.2.4", "192.0.2.5"]);
        ensure!(restart(&["--resume"])? == ["192.0.2.4", "192.0.2.5"]);
        ensure!(restart(&["192.0.2.6"])? == ["192.0.2.6"]);
        ensure!(restart(&[])? == ["192.0.2.6"]);
        host.mesh(&["stop"])?.ok()?;

        // Like a service, with the same arguments at each start.
        let service = ["mesh", "launch", "--foreground", "192.0.2.7", "192.0.2.8"].join(" ");
        for expected in [&["192.0.2.7", "192.0.2.8"][..], &["192.0.2.8"]] {
            let line = format!("exec {service} 2>/dev/null");
            let running = host.shell_in_background(&line)?;
            wait_until(SOON, "the service answers", || {
                ensure!(targets(host)? == expected);
                Ok(())
            })?;
            let restart = host.report()?.router.restart;
            ensure!(restart.contains("--foreground"), "{restart}");
            host.mesh(&["forget", "192.0.2.7"])?.ok()?;
            host.mesh(&["stop"])?.ok()?;
            drop(running);
        }
        Ok(())
    })
}
