//! Hosts behind address translation: who can dial out is in.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Host, Setup, all_reach_all, transfer, with_testbed};

/// What a NAT box in front of `host` does: nothing comes in that nothing went out for, and UDP leaves from other ports
/// than it was sent from.
fn put_behind_nat(host: &Host) -> Result<()> {
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
    with_testbed(&Setup::hosts(3), |bed| {
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
        // Host2 cannot dial host3; host3 dialled it, and its data comes from a port that NAT chose.
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
