//! Admission of containers to a service of this host: a chain of the mesh, to which INPUT jumps before other rules
//! decide.
//!
//! Each rule has one address, one port and one interface, so nothing else is opened. A base chain of nft that drops
//! cannot be overruled from another table; [`obstacles`] lists such chains.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::LazyLock;

use super::chain::{Chain, JumpPosition};
use super::{Changed, nft};
use crate::SysError;
use crate::ifname;

/// Tables of legacy `iptables` in use in the calling thread's namespace.
const LEGACY_TABLES: [(&str, &str); 2] = [
    ("/proc/thread-self/net/ip_tables_names", "iptables-legacy"),
    ("/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy"),
];
/// Chains of nft that belong to `iptables` and `ip6tables`.
const OF_IPTABLES: [&str; 2] = ["ip filter INPUT", "ip6 filter INPUT"];

/// Access to a service over UDP and TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    /// Interface of the clients.
    pub interface: String,
    /// Address and port of the service.
    pub service: SocketAddr,
}

impl Door {
    /// Returns true if its interface can be named in a rule; firewalls treat `+` and `*` as wildcards.
    fn is_sound(&self) -> bool {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        ifname::check(&self.interface).is_ok() && self.interface.bytes().all(is_plain)
    }

    /// Returns its rules as listed by the programs.
    fn rules(&self) -> [String; 2] {
        let length = if self.service.is_ipv6() { 128 } else { 32 };
        let (ip, port, interface) = (self.service.ip(), self.service.port(), &self.interface);
        ["udp", "tcp"].map(|protocol| {
            format!(
                "-d {ip}/{length} -i {interface} -p {protocol} -m {protocol} --dport {port} -j ACCEPT"
            )
        })
    }

    /// Returns the rule that the operator should add to a chain of nft, like `inet filter input`.
    pub fn nft_rule(&self, chain: &str) -> String {
        let family = match self.service.ip() {
            IpAddr::V4(_) => "ip",
            IpAddr::V6(_) => "ip6",
        };
        let (ip, port, interface) = (self.service.ip(), self.service.port(), &self.interface);
        format!(
            "nft insert rule {chain} iifname {interface} {family} daddr {ip} meta l4proto {{ tcp, udp }} th dport {port} accept"
        )
    }
}

/// Admits exactly these; if there are none, all rules are removed. Idempotent; repairs changes made by others. The
/// chain is named after `bridge`.
///
/// # Errors
/// The error of a program, after the others were tried.
pub fn ensure(bridge: &str, doors: &BTreeSet<Door>) -> Result<Changed, SysError> {
    ifname::check(bridge)?;
    let name = chain_name(bridge);
    let (mut changed, mut result) = (Changed::Absent, Ok(()));
    for (program, is_v6) in programs() {
        let some = doors
            .iter()
            .filter(|door| door.service.is_ipv6() == is_v6 && door.is_sound());
        let rules: Vec<String> = some.flat_map(Door::rules).collect();
        match chain(program, &name).keep(&rules) {
            Ok(Changed::Absent) => {}
            Ok(Changed::No) if changed == Changed::Yes => {}
            Ok(done) => changed = done,
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| changed)
}

/// Removes the rules.
///
/// # Errors
/// Like [`ensure`].
pub fn remove(bridge: &str) -> Result<Changed, SysError> {
    ensure(bridge, &BTreeSet::new())
}

/// Returns base chains that may drop packets to this host and that no rule of [`ensure`] overrules, like `inet filter
/// input`.
pub fn obstacles() -> Vec<String> {
    let mut chains = nft::guarding_chains(nft::Hook::Input);
    let programs: Vec<&str> = programs().into_iter().map(|(program, _)| program).collect();
    let nft_variants = [["iptables", "iptables-nft"], ["ip6tables", "ip6tables-nft"]];
    for (chain, variants) in OF_IPTABLES.iter().zip(nft_variants) {
        if variants.iter().any(|v| programs.contains(v)) {
            chains.retain(|other| other != chain);
        }
    }
    chains
}

/// Returns true if a base chain of nft, or one to which it jumps, has a rule that accepts packets of this door; it is
/// then considered open.
pub fn mentions(chain: &str, door: &Door) -> bool {
    let words: Vec<&str> = chain.split(' ').collect();
    let [family, table, name] = words.as_slice() else {
        return false;
    };
    let chains = nft::chains_of(family, table);
    let ip = door.service.ip().to_string();
    let port = format!("dport {}", door.service.port());
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![(*name).to_owned()]);
    while let Some(name) = waiting.pop() {
        let rules = chains.get(&name).map(Vec::as_slice).unwrap_or_default();
        if !seen.insert(name) {
            continue;
        }
        for rule in rules {
            let is_about = rule.contains(&format!("\"{}\"", door.interface))
                || rule.contains(&ip)
                || rule.contains(&port);
            let passes = ["accept", "jump", "goto"]
                .iter()
                .any(|verdict| rule.contains(verdict));
            if is_about && passes {
                return true;
            }
            let mut words = rule.split(' ');
            if words.any(|word| matches!(word, "jump" | "goto")) {
                waiting.extend(words.next().map(ToOwned::to_owned));
            }
        }
    }
    false
}

/// Returns a name of at most 24 bytes; 28 are allowed.
fn chain_name(bridge: &str) -> String {
    format!("mesh-dns-{bridge}")
}

fn chain<'a>(program: &'static str, name: &'a str) -> Chain<'a> {
    Chain {
        program,
        table: "filter",
        name,
        from: "INPUT",
        place: JumpPosition::First,
    }
}

/// Returns the programs to use, with true for IPv6: those of the host, and those of the other variant if it has
/// rules, too, because a packet must pass both.
fn programs() -> Vec<(&'static str, bool)> {
    let mut programs = vec![("iptables", false), ("ip6tables", true)];
    static IS_NFT: LazyLock<bool> =
        LazyLock::new(|| version("iptables").is_none_or(|v| v.contains("nf_tables")));
    let is_nft = *IS_NFT;
    if is_nft {
        for (is_v6, (path, program)) in [false, true].into_iter().zip(LEGACY_TABLES) {
            let tables = std::fs::read_to_string(path).unwrap_or_default();
            if tables.lines().any(|table| table == "filter") {
                programs.push((program, is_v6));
            }
        }
    } else {
        let chains = nft::guarding_chains(nft::Hook::Input);
        let others = [("iptables-nft", false), ("ip6tables-nft", true)];
        let used = OF_IPTABLES.iter().zip(others);
        let used = used.filter(|(chain, _)| chains.iter().any(|c| c == *chain));
        programs.extend(used.map(|(_, program)| program));
    }
    programs
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

#[cfg(test)]
mod tests {
    use super::super::{change, list};
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    fn door(interface: &str, service: &str) -> Door {
        Door {
            interface: interface.to_owned(),
            service: service.parse().unwrap(),
        }
    }

    #[test]
    fn the_rule_for_the_operator_is_exact() {
        assert_eq!(
            door("docker0", "172.17.0.1:53").nft_rule("inet filter input"),
            "nft insert rule inet filter input iifname docker0 ip daddr 172.17.0.1 meta l4proto { tcp, udp } th dport 53 accept"
        );
        let six = door("br-1", "[fd00::1]:53").nft_rule("ip6 t c");
        assert!(six.contains("ip6 daddr fd00::1"), "{six}");
        assert!(!door("eth+", "172.17.0.1:53").is_sound());
    }

    #[test]
    fn the_rules_are_applied_repaired_and_removed() {
        if needs_root("the_rules_are_applied_repaired_and_removed") {
            return;
        }
        NamedNetns::new().run(|| {
            let four = door("docker0", "172.17.0.1:53");
            let one = BTreeSet::from([four.clone(), door("docker0", "[fd00::1]:53")]);
            if ensure("mesh", &one).unwrap() == Changed::Absent {
                println!("the_rules_are_applied_repaired_and_removed: skipped, no iptables here");
                return;
            }
            assert_eq!(ensure("mesh", &one).unwrap(), Changed::No);
            let six = list("ip6tables", "mesh-dns-mesh").unwrap().unwrap();
            assert_eq!(six.matches("ACCEPT").count(), 2, "{six}");
            let two = BTreeSet::from([four.clone(), door("br-1", "172.17.0.1:53")]);
            assert_eq!(ensure("mesh", &two).unwrap(), Changed::Yes);
            // Another program flushes the rules, or inserts a drop before them.
            change("iptables", &["-F"]).unwrap();
            assert_eq!(ensure("mesh", &two).unwrap(), Changed::Yes);
            change("iptables", &["-I", "INPUT", "1", "-j", "DROP"]).unwrap();
            assert_eq!(ensure("mesh", &two).unwrap(), Changed::Yes);
            let input = list("iptables", "INPUT").unwrap().unwrap();
            let first = input.lines().find(|line| line.starts_with("-A"));
            assert_eq!(first, Some("-A INPUT -j mesh-dns-mesh"));
            assert_eq!(remove("mesh").unwrap(), Changed::Yes);
            assert_eq!(remove("mesh").unwrap(), Changed::No);
            let input = list("iptables", "INPUT").unwrap().unwrap();
            assert!(!input.contains("mesh"), "{input}");
        });
    }

    #[test]
    fn both_variants_of_the_program_get_rules_if_both_are_in_use() {
        if needs_root("both_variants_of_the_program_get_rules_if_both_are_in_use") {
            return;
        }
        NamedNetns::new().run(|| {
            if version("iptables-legacy").is_none() || version("iptables-nft").is_none() {
                println!("skipped: one of the variants is not here");
                return;
            }
            for program in ["iptables-legacy", "iptables-nft"] {
                if change(program, &["-P", "INPUT", "DROP"]).is_err() {
                    println!("skipped: {program} does not work here");
                    return;
                }
            }
            let doors = BTreeSet::from([door("docker0", "172.17.0.1:53")]);
            assert_eq!(ensure("mesh", &doors).unwrap(), Changed::Yes);
            for program in ["iptables-legacy", "iptables-nft"] {
                let rules = list(program, "mesh-dns-mesh").unwrap().unwrap();
                assert_eq!(rules.matches("ACCEPT").count(), 2, "{program}: {rules}");
            }
            assert_eq!(ensure("mesh", &doors).unwrap(), Changed::No);
            assert_eq!(remove("mesh").unwrap(), Changed::Yes);
        });
    }

    #[test]
    fn a_dropping_nft_table_is_an_obstacle_unless_it_mentions_the_door() {
        if needs_root("a_dropping_nft_table_is_an_obstacle_unless_it_mentions_the_door") {
            return;
        }
        NamedNetns::new().run(|| {
            if !nft::is_usable() {
                println!("skipped: no nft here");
                return;
            }
            assert!(obstacles().is_empty());
            let nft = |line: &str| {
                let words: Vec<&str> = line.split(' ').collect();
                assert!(Command::new("nft").args(words).status().unwrap().success());
            };
            nft("add table inet filter");
            nft(
                "add chain inet filter input { type filter hook input priority 0 ; policy drop ; }",
            );
            assert_eq!(obstacles(), ["inet filter input"]);
            let door = door("docker0", "172.17.0.1:53");
            assert!(!mentions("inet filter input", &door));
            let rule = door.nft_rule("inet filter input");
            nft(rule.strip_prefix("nft ").unwrap());
            assert!(mentions("inet filter input", &door));
        });
    }
}
