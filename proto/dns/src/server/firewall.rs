//! Access of containers to the DNS server through the host's firewall: which rules are wanted, and problems in words.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Most pairs of bridge and address with rules. Containers on further bridges depend on the host's other rules.
pub const MAX_ACCESSES: usize = 256;

/// Bridge of containers, and address of the server that they reach.
pub type DnsAccess = (String, SocketAddr);

/// Rules wanted at the last check, and the problems found.
#[derive(Debug, Default)]
pub struct FirewallCheck {
    wanted: BTreeSet<DnsAccess>,
    problems: Vec<String>,
    is_known: bool,
}

/// A chain of the firewall that drops what it does not accept.
#[derive(Clone, Debug)]
pub struct Obstacle<'a> {
    /// The chain, as it is shown.
    pub chain: String,
    /// Bridges that it does not mention.
    pub interfaces: Vec<&'a str>,
    /// Rule that lets the first of them pass.
    pub rule: String,
}

/// Returns all pairs of a bridge and an address that it must reach.
pub fn wanted(bridges: &BTreeSet<String>, listening: &[SocketAddr]) -> BTreeSet<DnsAccess> {
    let reachable = listening
        .iter()
        .filter(|address| !address.ip().is_loopback());
    let all = reachable.flat_map(|service| {
        let pairs = bridges.iter();
        pairs.map(|interface| (interface.clone(), *service))
    });
    all.collect()
}

impl FirewallCheck {
    /// Returns true if these rules are to be checked: without rules there is nothing to check periodically.
    pub fn is_due(&self, wanted: &BTreeSet<DnsAccess>) -> bool {
        !(wanted.is_empty() && self.wanted.is_empty() && self.is_known)
    }

    /// Returns true if other rules are wanted than at the last check.
    pub fn is_other(&self, wanted: &BTreeSet<DnsAccess>) -> bool {
        self.wanted != *wanted
    }

    /// Notes the wanted rules and the problems. Returns those that are new.
    pub fn set(&mut self, wanted: BTreeSet<DnsAccess>, mut problems: Vec<String>) -> Vec<String> {
        let beyond = wanted.len().saturating_sub(MAX_ACCESSES);
        if beyond > 0 {
            problems.push(format!(
                "{beyond} bridges of containers have no firewall rule for DNS queries: {MAX_ACCESSES} are as many as can be"
            ));
        }
        let is_new = |problem: &&String| !self.problems.contains(problem);
        let news = problems.iter().filter(is_new).cloned().collect();
        *self = Self {
            wanted,
            problems,
            is_known: true,
        };
        news
    }

    /// Returns the current problems, one line each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// Returns the problem of a chain that may drop packets which our rules accept; `None` if it mentions all bridges.
pub fn obstructed(obstacle: &Obstacle<'_>) -> Option<String> {
    let first = obstacle.interfaces.first()?;
    let rest = match obstacle.interfaces.len() {
        1 => String::new(),
        n => format!(" (and the same for {} more bridges)", n - 1),
    };
    let (chain, rule) = (&obstacle.chain, &obstacle.rule);
    Some(format!(
        "containers on {first} resolve no names: the firewall chain {chain} drops what it does not accept; run: {rule}{rest}"
    ))
}

/// Returns the problem of rules that could not be put in.
pub fn failed((interface, service): &DnsAccess, error: &dyn core::fmt::Display) -> String {
    let (ip, port) = (service.ip(), service.port());
    let program = if ip.is_ipv6() {
        "ip6tables"
    } else {
        "iptables"
    };
    format!(
        "cannot let containers ask for names through the firewall: {error}; if they resolve none: {program} -I INPUT \
         -i {interface} -d {ip} -p udp --dport {port} -j ACCEPT, and the same for tcp"
    )
}

/// Returns all pairs as text.
pub fn text(accesses: &BTreeSet<DnsAccess>) -> String {
    let list = accesses
        .iter()
        .map(|(interface, service)| format!("{interface} to {service}"));
    list.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bridge_of_containers_leads_to_each_address_but_loopback() {
        let bridges = BTreeSet::from(["br-1".to_owned(), "docker0".to_owned()]);
        let listening = ["172.17.0.1:53", "127.0.0.1:53", "[fd00::1]:53"];
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        let wanted = wanted(&bridges, &listening);
        assert_eq!(
            text(&wanted),
            "br-1 to 172.17.0.1:53, br-1 to [fd00::1]:53, docker0 to 172.17.0.1:53, docker0 to [fd00::1]:53"
        );
    }

    #[test]
    fn rules_are_checked_while_there_are_any() {
        let mut check = FirewallCheck::default();
        let none = BTreeSet::new();
        assert!(check.is_due(&none));
        assert!(check.set(none.clone(), Vec::new()).is_empty());
        assert!(!check.is_due(&none) && !check.is_other(&none));
        let some = BTreeSet::from([("br".to_owned(), "172.17.0.1:53".parse().unwrap())]);
        assert!(check.is_due(&some) && check.is_other(&some));
        let problem = failed(some.first().unwrap(), &"denied");
        assert!(
            problem.contains("iptables -I INPUT -i br -d 172.17.0.1"),
            "{problem}"
        );
        assert_eq!(
            check.set(some.clone(), vec![problem.clone()]),
            std::slice::from_ref(&problem)
        );
        assert!(check.set(some, vec![problem.clone()]).is_empty());
        assert_eq!(check.problems(), [problem]);
    }

    #[test]
    fn a_chain_that_drops_is_named_with_its_rule() {
        let obstacle = |interfaces: &[&'static str]| Obstacle {
            chain: "ip filter INPUT".into(),
            interfaces: interfaces.to_vec(),
            rule: "nft add rule x".into(),
        };
        assert_eq!(obstructed(&obstacle(&[])), None);
        let line = obstructed(&obstacle(&["br-1", "br-2"])).unwrap();
        assert!(
            line.starts_with("containers on br-1 resolve no names"),
            "{line}"
        );
        assert!(
            line.ends_with("nft add rule x (and the same for 1 more bridges)"),
            "{line}"
        );
    }
}
