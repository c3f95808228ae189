//! Hosts behind NAT: a host that can dial out is connected.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, all_reach_all, tell, transfer, wait_until, with_testbed};

/// Simulates a NAT box in front of `host`: only replies come in, and UDP source ports are rewritten.
fn put_behind_nat(host: &TestbedHost) -> Result<()> {
    let rules = "
        iptables -A INPUT -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        iptables -A INPUT -i eth0 -p tcp -j DROP
        iptables -A INPUT -i eth0 -p udp -j DROP
        ip6tables -A INPUT -i eth0 -p tcp -j DROP
        ip6tables -A INPUT -i eth0 -p udp -j DROP
        iptables -t nat -A POSTROUTING -o eth0 -p udp -j MASQUERADE --to-ports 20000-29999";
    host.shell(&format!("set -e; {}", rules.trim().replace('\n', ";")))?
        .ok()?;
    Ok(())
}

#[test]
fn a_host_behind_nat_dials_out_and_everyone_reaches_its_containers() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        put_behind_nat(three)?;
        one.launch(&[])?;
        two.launch(&["host1"])?;
        three.launch(&[&one.address()])?;
        for host in bed.hosts() {
            host.wait_peers(3)?;
            host.wait_connections(2)?;
        }
        let containers = [
            one.run("10.2.1.1/24")?,
            two.run("10.2.1.2/24")?,
            three.run("10.2.1.3/24")?,
        ];
        all_reach_all(&containers)?;
        transfer(
            &containers[1],
            &containers[2],
            5_000_000,
            Duration::from_secs(60),
        )?;
        // host2 cannot dial host3; host3 dialled it, and its data comes from a port that NAT chose.
        let to_three = two.connection_to(three)?;
        ensure!(!to_three.outbound, "{to_three:?}");
        let peers = two.report()?.router.peers;
        let path = peers
            .iter()
            .find(|p| p.nick_name == three.name())
            .map(|p| p.path.clone());
        let direct = path
            .as_deref()
            .is_some_and(|p| p.starts_with("direct 192.168.77.3:2"));
        ensure!(direct, "{path:?}");
        Ok(())
    })
}

/// Time limit for abandoning a NAT mapping that has become wrong, including loss detection and the redial of the link.
const LEFT_WITHIN: Duration = Duration::from_secs(45);

/// Makes the NAT box in front of `host` translate to this address, in place of another one.
fn translate_to(host: &TestbedHost, address: &str, instead_of: Option<&str>) -> Result<()> {
    let (rule, old) = match instead_of {
        None => ("-A POSTROUTING", String::new()),
        Some(old) => (
            "-R POSTROUTING 1",
            format!("ip addr del {old}/32 dev eth0;"),
        ),
    };
    let line = format!(
        "set -e; ip addr add {address}/32 dev eth0; \
         iptables -t nat {rule} -o eth0 -s {} -j SNAT --to-source {address}; {old}",
        host.address()
    );
    host.shell(&line)?.ok()?;
    Ok(())
}

#[test]
fn a_mapping_that_both_ends_keep_alive_is_left_when_the_outer_address_changes() -> Result<()> {
    const OUTER: [&str; 2] = ["192.168.77.102", "192.168.77.103"];
    with_testbed(&TestbedLayout::hosts(2).ipv4_only(), |bed| {
        let [one, two] = [bed.host(1), bed.host(2)];
        two.shell(
            "set -e; iptables -A INPUT -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; \
             iptables -A INPUT -i eth0 -p tcp -j DROP; iptables -A INPUT -i eth0 -p udp -j DROP",
        )?
        .ok()?;
        translate_to(two, OUTER[0], None)?;
        one.launch(&[])?;
        two.launch(&["host1"])?;
        let path = || -> Result<String> {
            let peers = one.report()?.router.peers;
            let two = peers.into_iter().find(|p| p.nick_name == "host2");
            Ok(two.map(|p| p.path).unwrap_or_default())
        };
        one.wait_connections(1)?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        ensure!(
            path()? == format!("direct {}:6783", OUTER[0]),
            "{}",
            path()?
        );

        // The provider changes the box's address, and drops packets from the old one. Existing translations of the box
        // stay as they are.
        one.shell(&format!("iptables -A INPUT -s {} -j DROP", OUTER[0]))?
            .ok()?;
        translate_to(two, OUTER[1], Some(OUTER[0]))?;
        let changed = Instant::now();
        wait_until(LEFT_WITHIN, "traffic by the new outer address", || {
            a.ping(b.address())
        })?;
        tell(&format!(
            "traffic after the outer address of a NAT box changed: {:.1?}",
            changed.elapsed()
        ));
        ensure!(
            path()?.starts_with(&format!("direct {}:", OUTER[1])),
            "{}",
            path()?
        );
        transfer(&b, &a, 5_000_000, Duration::from_secs(60))?;
        Ok(())
    })
}
