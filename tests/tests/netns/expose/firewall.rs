//! Flushed firewall rules, and hosts with only one of the firewall programs.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{HostObjects, TestbedHost, TestbedLayout, wait_until, with_testbed};

use super::{answers, callers, mesh, remember_callers};

/// Creates a directory with exactly these programs, to be the router's PATH.
fn only(host: &TestbedHost, programs: &[(&str, &str)]) -> Result<()> {
    let links: Vec<String> = programs
        .iter()
        .map(|(name, is)| format!("ln -s $(command -v {is}) /run/testbed/bin/{name}"))
        .collect();
    let line = format!("set -e; mkdir -p /run/testbed/bin; {}", links.join("; "));
    host.shell(&line)?.ok()?;
    host.shell("all=$(command -v mesh); PATH=/run/testbed/bin \"$all\" launch")?
        .ok()
        .map(drop)
}

/// Returns the number of repairs that the router has counted.
fn repairs(host: &TestbedHost) -> Result<u64> {
    Ok(host.report()?.host.unwrap_or_default().restored)
}

/// Checks that damage is repaired and counted within 5 s, and that only rules are missing until then.
///
/// A repair is counted at its end: damage done before that would be repaired by the same pass, and not be counted.
fn is_mended(
    host: &TestbedHost,
    damage: &str,
    whole: &HostObjects,
    works: impl Fn() -> Result<()>,
) -> Result<()> {
    let counted = repairs(host)?;
    host.shell(damage)?.ok()?;
    wait_until(Duration::from_secs(5), &format!("mended: {damage}"), || {
        let missing = whole.added_since(&HostObjects::take(host)?);
        ensure!(missing.is_empty(), "{missing:?}");
        ensure!(repairs(host)? > counted, "not counted yet");
        works()
    })
}

/// Pings a container from outside through `host1`, whose router finds only these programs.
fn through_a_host_with(programs: &[(&str, &str)], firewall: &str, damages: &[&str]) -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, outside) = (bed.host(1), bed.host(2));
        // iptables-legacy creates its lock file at the first run, and keeps it.
        one.shell("touch /run/xtables.lock")?.ok()?;
        let before = HostObjects::take(one)?;
        only(one, programs)?;
        let container = one.run("10.2.1.1/24")?;
        remember_callers(&container)?;
        let route = ["ip", "route", "add", "10.2.1.0/24", "via", "192.168.77.1"];
        outside.exec(&route)?.ok()?;
        // Like dockerd.
        let drop_all = format!("{firewall} -P FORWARD DROP");
        if !firewall.is_empty() {
            one.shell(&drop_all)?.ok()?;
        }
        mesh(one, "expose 10.2.1.254/24")?;
        let works = || -> Result<()> {
            outside
                .exec(&["ping", "-n", "-c", "1", "-W", "1", "10.2.1.1"])?
                .ok()?;
            let from = callers(&container)?;
            ensure!(from == "10.2.1.254", "{from}");
            Ok(())
        };
        answers(outside, "10.2.1.1")?;
        callers(&container)?;
        works()?;
        let whole = HostObjects::take(one)?;
        for damage in damages {
            is_mended(one, damage, &whole, works)?;
        }
        let log = one.shell("grep -c 'somebody removed' /var/lib/mesh/router.log")?;
        ensure!(log.ok()? == "1", "told once");
        if !firewall.is_empty() {
            one.shell(&format!("{firewall} -P FORWARD ACCEPT"))?.ok()?;
        }
        container.kill()?;
        let reset =
            "all=$(command -v mesh); PATH=/run/testbed/bin \"$all\" reset; rm -r /run/testbed/bin";
        one.shell(reset)?.ok()?;
        HostObjects::take(one)?.same_as(&before)
    })
}

#[test]
fn rules_of_nft_are_back_when_somebody_flushes_them() -> Result<()> {
    through_a_host_with(
        &[
            ("nft", "nft"),
            ("iptables", "iptables-nft"),
            ("ip6tables", "ip6tables-nft"),
            ("iptables-restore", "iptables-nft-restore"),
            ("ip6tables-restore", "ip6tables-nft-restore"),
        ],
        "iptables-nft",
        &[
            "nft flush ruleset; iptables-nft -P FORWARD DROP",
            "nft delete table ip mesh-expose-mesh",
            "nft flush chain ip mesh-expose-mesh postrouting",
            "iptables-nft -F FORWARD",
            "ip addr flush dev mesh",
        ],
    )
}

#[test]
fn a_host_with_nft_alone_needs_no_more() -> Result<()> {
    through_a_host_with(&[("nft", "nft")], "", &["nft flush ruleset"])
}

#[test]
fn rules_of_iptables_are_back_when_somebody_flushes_them() -> Result<()> {
    through_a_host_with(
        &[
            ("iptables", "iptables-legacy"),
            ("ip6tables", "ip6tables-legacy"),
            ("iptables-restore", "iptables-legacy-restore"),
            ("ip6tables-restore", "ip6tables-legacy-restore"),
            ("nft", "nft"),
        ],
        "iptables-legacy",
        &[
            "printf '*nat\nCOMMIT\n' | iptables-legacy-restore",
            "iptables-legacy -F FORWARD",
            "iptables-legacy -t nat -D POSTROUTING 1",
            "iptables-legacy -I FORWARD 1 -j REJECT",
            "ip link del mesh",
        ],
    )
}

#[test]
fn a_chain_of_others_that_drops_is_named() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let one = bed.host(1);
        let chain = "nft 'table inet mine { chain f {
            type filter hook forward priority 0; policy drop;
        }; }'";
        one.shell(chain)?.ok()?;
        one.launch(&[])?;
        let said = one.mesh(&["expose", "10.2.1.254/24"])?;
        ensure!(
            said.stderr
                .contains("nft insert rule inet mine f iifname mesh accept"),
            "{said}"
        );
        said.ok().map(drop)
    })
}

#[test]
fn without_a_firewall_program_addresses_can_stay_as_they_are() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let one = bed.host(1);
        only(one, &[])?;
        let container = one.run("10.2.1.1/24")?;
        let before = HostObjects::take(one)?;
        let message = one.mesh(&["expose", "10.2.1.254/24"])?.refused()?;
        ensure!(
            message.contains("neither nft nor iptables")
                && message.contains("--without-masquerade"),
            "{message}"
        );
        HostObjects::take(one)?.same_as(&before)?;
        mesh(one, "expose 10.2.1.254/24 --without-masquerade")?;
        answers(one, container.address())
    })
}
