//! DNS queries of containers to an address of their host, whose firewall drops unknown traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

/// Time limit for the router's next check on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Creates an engine's bridge with one container on it, without a way out.
const BRIDGE: &str = "ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up && \
    ip netns add c && ip link add vc type veth peer name eth0 netns c && ip link set vc master docker0 up && \
    ip -n c addr add 172.17.0.2/16 dev eth0 && ip -n c link set eth0 up && ip -n c link set lo up";
/// Firewall of a host with a default-drop policy.
const GUARDED: &str = "iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -p icmp -j ACCEPT && \
    iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT && \
    iptables -A INPUT -p tcp --dport 6783 -j ACCEPT && iptables -A INPUT -p udp --dport 6783 -j ACCEPT && \
    iptables -P INPUT DROP";

/// Waits until the container resolves a name over UDP and over TCP.
fn finds(host: &TestbedHost, name: &str, address: &str) -> Result<()> {
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
    with_testbed(&TestbedLayout::hosts(1), |bed| {
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

        // Another tool flushes the rules.
        host.shell("iptables -F INPUT")?.ok()?;
        finds(host, "web.mesh.local", "10.2.1.1")?;

        // For a chain that our rules cannot override, the warning contains the rule to add.
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
        // Run it like an operator who pastes it into a shell.
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
        // `reset` removes the rules of a killed router as well.
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

/// A site's DNS server: it knows one single-label name, and denies all others.
const SITE: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.2", 53))
while True:
    q, who = s.recvfrom(4096)
    end = q.index(b"\0", 12) + 5
    known = q[12:end].lower() == b"\x08intranet\0\0\x01\0\x01"
    head = q[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\x01\0" + bytes([known]) + bytes(4)
    s.sendto(head + q[12:end] + (b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\xc0\0\x02\x09" if known else b""), who)
"#;

fn dig(host: &TestbedHost, words: &str) -> Result<String> {
    host.shell(&format!("dig @127.0.0.1 +tries=1 +time=3 {words}"))?
        .ok()
}

#[test]
fn what_the_host_resolved_before_is_resolved_on_the_mesh() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.shell(&format!("cat >/run/site.py <<'END'{SITE}END"))?
            .ok()?;
        let conf = "search corp.example\\noptions ndots:2\\nnameserver 127.0.0.2\\n";
        host.shell(&format!(
            "printf '{conf}' >/run/site.conf && mount --bind /run/site.conf /etc/resolv.conf"
        ))?
        .ok()?;
        let site = host.spawn(&["python3", "/run/site.py"])?;
        host.launch(&["--dns-listen", "127.0.0.1"])?;
        wait_until(SOON, "a name of the site is found", || {
            let found = dig(host, "+short intranet")?;
            ensure!(found == "192.0.2.9", "{found}");
            Ok(())
        })?;
        ensure!(dig(host, "nosuch")?.contains("NXDOMAIN"));
        // Reverse queries for free addresses of the mesh are not forwarded.
        ensure!(dig(host, "-x 10.40.1.1")?.contains("flags: qr aa"));
        let run = [
            "run",
            "--runtime",
            "process",
            "10.2.1.1/24",
            "--name",
            "my_app.v1",
            "--",
            "cat",
        ];
        let text = host
            .mesh(&[&run[..], &["/etc/resolv.conf"]].concat())?
            .ok()?;
        ensure!(text.contains("search mesh.local corp.example"), "{text}");
        ensure!(text.contains("options ndots:2"), "{text}");

        // A name can be looked up as it is listed; an invalid one is reported.
        host.run_named("10.2.1.2/24", "my_app.v1")?;
        wait_until(SOON, "a name of two labels is looked up", || {
            let found = host.mesh(&["dns-lookup", "my_app.v1"])?.ok()?;
            ensure!(found == "10.2.1.2", "{found}");
            Ok(())
        })?;
        let said = host.mesh(&[
            "run",
            "--runtime",
            "process",
            "10.2.1.3/24",
            "--name",
            "a..b",
            "--",
            "true",
        ])?;
        ensure!(said.stderr.contains("'a..b' is not a name"), "{said}");
        // A name with many addresses.
        let many: Vec<String> = (1..=200).map(|n| format!("10.9.9.{n}")).collect();
        let mut add = vec!["dns-add"];
        add.extend(many.iter().map(String::as_str));
        add.extend(["-h", "many"]);
        host.mesh(&add)?.ok()?;
        wait_until(SOON, "all addresses are told", || {
            let count = dig(host, "+short +tcp many.mesh.local")?.lines().count();
            ensure!(count == 200, "{count}");
            Ok(())
        })?;
        drop(site);
        host.shell("kill $(pgrep -f '/run/[s]ite.py') || true")?
            .ok()?;
        wait_until(
            SOON,
            "a name of the site is none without its server",
            || {
                let found = dig(host, "intranet")?;
                ensure!(found.contains("NXDOMAIN"), "{found}");
                Ok(())
            },
        )
    })
}
