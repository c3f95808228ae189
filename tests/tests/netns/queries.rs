//! Containers ask at an address of their host, whose firewall lets nothing in that it does not know.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Host, Setup, wait_until, with_testbed};

/// In this time the router has looked again, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(30);
/// A bridge of an engine with one container on it, and no way out.
const BRIDGE: &str = "ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up && \
    ip netns add c && ip link add vc type veth peer name eth0 netns c && ip link set vc master docker0 up && \
    ip -n c addr add 172.17.0.2/16 dev eth0 && ip -n c link set eth0 up && ip -n c link set lo up";
/// What an operator of a guarded host has.
const GUARDED: &str = "iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -p icmp -j ACCEPT && \
    iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT && \
    iptables -A INPUT -p tcp --dport 6783 -j ACCEPT && iptables -A INPUT -p udp --dport 6783 -j ACCEPT && \
    iptables -P INPUT DROP";

/// Waits until the container finds a name, by UDP and by TCP.
fn finds(host: &Host, name: &str, address: &str) -> Result<()> {
    for way in ["+notcp", "+tcp"] {
        wait_until(SOON, &format!("the container finds {name} {way}"), || {
            let line =
                format!("ip netns exec c dig @172.17.0.1 +short +tries=1 +time=1 {way} {name}");
            let found = host.shell(&line)?.ok()?;
            ensure!(found == address, "{found}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_guarded_host_lets_its_containers_ask_for_names_and_nothing_else() -> Result<()> {
    with_testbed(&Setup::hosts(1), |bed| {
        let host = bed.host(1);
        host.shell(BRIDGE)?.ok()?;
        host.shell(GUARDED)?.ok()?;
        host.launch(&[])?;
        host.run_named("10.2.1.1/24", "web")?;
        finds(host, "web.mesh.local", "10.2.1.1")?;
        let rules = host.shell("iptables -S")?.ok()?;
        let ours: Vec<&str> = rules
            .lines()
            .filter(|l| l.starts_with("-A mesh-dns-mesh "))
            .collect();
        let narrow = |rule: &&str| {
            rule.contains("-d 172.17.0.1/32 -i docker0") && rule.contains("--dport 53 ")
        };
        ensure!(ours.len() == 2 && ours.iter().all(narrow), "{rules}");

        // Another tool begins anew.
        host.shell("iptables -F INPUT")?.ok()?;
        finds(host, "web.mesh.local", "10.2.1.1")?;

        // What no rule of ours can overrule is told, with the very rule.
        host.shell("nft add table inet filter && nft 'add chain inet filter input { type filter hook input priority 0 ; policy drop ; }'")?
            .ok()?;
        let told = wait_until(SOON, "the chain of nft is told of", || {
            let status = host.mesh(&["status"])?.stdout;
            let at = status.find("nft insert rule inet filter input");
            let rule = at
                .and_then(|at| status[at..].lines().next())
                .unwrap_or_default();
            ensure!(rule.ends_with("accept"), "{status}");
            Ok(rule.to_owned())
        })?;
        // As an operator pastes it into a shell.
        host.shell(&told)?.ok()?;
        finds(host, "web.mesh.local", "10.2.1.1")?;
        wait_until(SOON, "nothing is told any more", || {
            let status = host.mesh(&["status"])?.stdout;
            ensure!(!status.contains("nft insert"), "{status}");
            Ok(())
        })?;

        host.mesh(&["stop"])?.ok()?;
        let rules = host.shell("iptables -S")?.ok()?;
        ensure!(!rules.contains("mesh-dns"), "{rules}");
        // Also of a router that had no time for it.
        host.launch(&[])?;
        wait_until(SOON, "the rules are back", || {
            let rules = host.shell("iptables -S")?.ok()?;
            ensure!(rules.contains("mesh-dns"), "{rules}");
            Ok(())
        })?;
        host.kill_router()?;
        host.mesh(&["reset"])?.ok()?;
        let rules = host.shell("iptables -S")?.ok()?;
        ensure!(!rules.contains("mesh-dns"), "{rules}");
        Ok(())
    })
}
