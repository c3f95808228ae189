//! IPv6 addresses of the network `default`, which go with those of IPv4.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::full_mesh;

const SOON: Duration = Duration::from_secs(15);
const RANGE6: &str = "--ipalloc-range6=fd00:32::/64";

/// Returns the addresses of a container of `mesh ps`, without prefix lengths.
fn addresses(host: &TestbedHost, name: &str) -> Result<Vec<String>> {
    let all = host.ps()?;
    let rows = all.iter().filter(|row| row.name == name);
    let shown = rows.flat_map(|row| &row.interfaces);
    let shown = shown.filter_map(|i| i.address.split('/').next());
    Ok(shown.map(str::to_owned).collect())
}

/// Returns the IPv6 address that goes with an IPv4 address.
fn beside(v4: &str) -> Result<String> {
    let bits = u32::from(v4.parse::<std::net::Ipv4Addr>()?);
    let v6 = u128::from(bits) | 0xfd00_0032 << 96;
    Ok(std::net::Ipv6Addr::from(v6).to_string())
}

#[test]
fn what_gets_an_address_gets_one_of_each_family() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[RANGE6])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let near = one.run_free(&[], "near")?;
        let _far = two.run_free(&["net:default"], "far")?;
        for (host, name) in [(one, "near"), (two, "far")] {
            let has = addresses(host, name)?;
            ensure!(has.len() == 2 && has[1] == beside(&has[0])?, "{has:?}");
        }
        let far_address = addresses(two, "far")?.remove(1);
        wait_until(SOON, "they talk by IPv6", || near.ping(&far_address))?;
        let found = near.exec_inside(&["getent", "ahostsv6", "far"])?.ok()?;
        ensure!(found.contains(&far_address), "{found}");

        // Either names the lease of both.
        let refused = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            two.mesh(&words)?.refused()
        };
        let near_address = addresses(one, "near")?.remove(1);
        let error = refused(&format!("run --runtime process {near_address}/64 -- true"))?;
        ensure!(
            error.contains(&near_address) && error.contains("already used"),
            "{error}"
        );
        let alone = two.run_free(&["10.32.9.9/12"], "alone")?;
        ensure!(addresses(two, "alone")? == ["10.32.9.9"]);
        let line = "run --runtime process fd00:32::a20:909/64 -- true";
        let error = one.mesh(&line.split(' ').collect::<Vec<_>>())?.refused()?;
        // Its name may not have come around yet.
        ensure!(error.contains("10.32.9.9 is already used by"), "{error}");
        ensure!(error.contains("fd00:32::a20:909"), "{error}");
        let six = one.run_free(&["net:fd00:32::/64"], "six")?;
        let has = addresses(one, "six")?;
        ensure!(
            has.len() == 1 && has[0].starts_with("fd00:32::a2"),
            "{has:?}"
        );
        wait_until(SOON, "IPv6 alone", || six.ping(&far_address))?;
        let error = refused("run --runtime process net:fd00:33::/64 -- true")?;
        ensure!(error.contains("net:fd00:32::/64"), "{error}");
        let status = one.mesh(&["status"])?.ok()?;
        ensure!(status.contains("fd00:32::/64"), "{status}");

        // What is given up is given up as one, and not before.
        alone.kill()?;
        wait_until(SOON, "it is free", || {
            one.mesh(&line.split(' ').collect::<Vec<_>>())?.ok()
        })?;
        one.kill_router()?;
        one.launch(&[RANGE6])?;
        let error = wait_until(SOON, "the router is back", || {
            refused(&format!("run --runtime process {near_address}/64 -- true"))
        })?;
        ensure!(
            error.contains(&near_address) && error.contains("already used"),
            "{error}"
        );
        Ok(())
    })
}

#[test]
fn a_host_without_ipv6_is_told_of_the_others() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.launch(&["--ipalloc-range6", "auto"])?;
        two.launch(&[&one.address()])?;
        two.wait_connections(1)?;
        wait_until(SOON, "the difference is told", || {
            let status = two.mesh(&["status"])?.ok()?;
            ensure!(status.contains("ipalloc-range6"), "{status}");
            Ok(())
        })?;
        let container = one.run_free(&[], "c")?;
        let has = addresses(one, "c")?;
        ensure!(has.len() == 2 && has[1].starts_with("fd"), "{has:?}");
        drop(container);
        // The host itself has both as well.
        one.mesh(&["expose"])?.ok()?;
        ensure!(addresses(one, "mesh:expose")?.len() == 2);
        one.mesh(&["hide"])?.ok()?;
        let refused = bed.host(2).mesh(&["stop"])?;
        ensure!(refused.code == Some(0));
        let error = two
            .mesh(&["launch", "--ipalloc-range6", "10.0.0.0/8"])?
            .refused()?;
        ensure!(error.contains("--ipalloc-range6"), "{error}");
        Ok(())
    })
}
