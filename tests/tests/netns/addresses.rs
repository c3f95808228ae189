//! Hosts with several addresses behind stateful firewalls, which pass replies only from the address that was contacted;
//! link-local addresses; and addresses without a route.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::api::ConnectionState;
use mesh_tests::{TestbedHost, TestbedLayout, transfer, wait_until, with_testbed};

/// Blocks underlay traffic except to `only`, and incoming traffic except replies.
fn speak_to(host: &TestbedHost, tables: &str, only: &str) -> Result<()> {
    let line = format!(
        "set -e
        {tables} -A OUTPUT -d {only} -j ACCEPT
        iptables -A OUTPUT -d 192.168.77.0/24 -j DROP
        ip6tables -A OUTPUT -d fd77::/64 -j DROP
        for t in iptables ip6tables; do
            $t -A INPUT -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            $t -A INPUT -i eth0 -p udp -j DROP
            $t -A INPUT -i eth0 -p tcp -j DROP
        done"
    );
    host.shell(&line)?.ok().map(drop)
}

fn path_to(host: &TestbedHost, peer: &TestbedHost) -> Result<String> {
    let peers = host.report()?.router.peers;
    let peer = peers.into_iter().find(|p| p.nick_name == peer.name());
    Ok(peer.context("the peer is not known")?.path)
}

#[test]
fn the_address_that_was_asked_answers_and_a_link_local_one_is_enough() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(4), |bed| {
        let [one, two, three, four] = [bed.host(1), bed.host(2), bed.host(3), bed.host(4)];
        two.shell("ip addr add 192.168.77.22/24 dev eth0; ip addr add fd77::22/64 dev eth0 nodad")?
            .ok()?;
        let line =
            "ip -6 -o addr show dev eth0 scope link | awk '{ sub(/\\/.*/, \"\", $4); print $4 }'";
        let link_local = two.shell(line)?.ok()?;
        speak_to(one, "iptables", "192.168.77.22")?;
        speak_to(three, "ip6tables", "fd77::22")?;
        speak_to(four, "ip6tables", "fe80::/10")?;
        two.launch(&[])?;
        one.launch(&["192.168.77.22"])?;
        three.launch(&["fd77::22"])?;
        four.launch(&[&format!("{link_local}%eth0"), "fd99::1"])?;
        let near = two.run("10.2.1.2/24")?;
        for (host, n, path) in [
            (one, 1, "direct 192.168.77.22:6783".to_owned()),
            (three, 3, "direct [fd77::22]:6783".to_owned()),
            (four, 4, format!("direct [{link_local}%")),
        ] {
            wait_until(Duration::from_secs(30), "the path is direct", || {
                let is = path_to(host, two)?;
                ensure!(is.starts_with(&path), "{is}");
                ensure!(path_to(two, host)?.starts_with("direct "));
                Ok(())
            })?;
            let far = host.run(&format!("10.2.1.{n}/24"))?;
            far.reaches(&near)?;
            transfer(&near, &far, 5_000_000, Duration::from_secs(60))?;
            transfer(&far, &near, 5_000_000, Duration::from_secs(60))?;
        }

        let rows = four.report()?.router.connections;
        let row = rows.iter().find(|row| row.address.contains("fd99::1"));
        let row = row.context("what was typed is listed")?;
        ensure!(row.state == ConnectionState::Failed, "{row:?}");
        ensure!(row.error.contains("no route to fd99::1"), "{row:?}");
        let refused = four.mesh(&["connect", &link_local])?.refused()?;
        ensure!(refused.contains("%eth0"), "{refused}");
        Ok(())
    })
}
