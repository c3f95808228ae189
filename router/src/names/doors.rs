//! Firewall rules that let containers reach the DNS server on an address of this host.
//!
//! They accept queries from the bridges of containers to the listening addresses, and nothing else. If other rules
//! still drop the queries, a warning contains the rule that the operator must add.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_sys::error::SysError;
use mesh_sys::firewall::Changed;
use mesh_sys::firewall::service::{self, Door};

/// Most pairs of bridge and address with rules. Containers on further bridges depend on the host's other rules.
const MAX_DOORS: usize = 256;

/// Rules of one mesh bridge, removed on drop.
pub(super) struct Doors {
    bridge: String,
    kept: Mutex<Kept>,
}

/// Rules wanted at the last check, and the problems found.
#[derive(Debug, Default)]
struct Kept {
    wanted: BTreeSet<Door>,
    problems: Vec<String>,
    is_known: bool,
}

impl Doors {
    pub(super) fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            kept: Mutex::default(),
        }
    }

    /// Installs the rules for these bridges and addresses, and restores them if they were removed.
    pub(super) fn keep(&self, bridges: &BTreeSet<String>, listening: &[SocketAddr]) {
        let wanted = wanted(bridges, listening);
        let mut kept = self.lock();
        // Without rules there is nothing to check periodically.
        if wanted.is_empty() && kept.wanted.is_empty() && kept.is_known {
            return;
        }
        let beyond = wanted.len().saturating_sub(MAX_DOORS);
        let some: BTreeSet<Door> = wanted.iter().take(MAX_DOORS).cloned().collect();
        let mut problems = Vec::new();
        match service::ensure(&self.bridge, &some) {
            Ok(Changed::Yes) if !some.is_empty() => {
                tracing::info!(
                    "firewall rules let containers ask for names: {}",
                    words(&some)
                );
            }
            Ok(_) => {}
            Err(error) => problems.extend(some.first().map(|door| failed(door, &error))),
        }
        if beyond > 0 {
            problems.push(format!(
                "{beyond} bridges of containers have no firewall rule for DNS queries: {MAX_DOORS} are as many as can be"
            ));
        }
        problems.extend(obstructed(&some));
        for problem in problems.iter().filter(|p| !kept.problems.contains(p)) {
            tracing::warn!("{problem}");
        }
        *kept = Kept {
            wanted,
            problems,
            is_known: true,
        };
    }

    /// Like [`Doors::keep`], if bridges or addresses have changed since the last check.
    pub(super) fn keep_if_changed(&self, bridges: &BTreeSet<String>, listening: &[SocketAddr]) {
        let is_same = self.lock().wanted == wanted(bridges, listening);
        if !is_same {
            self.keep(bridges, listening);
        }
    }

    /// Returns the current problems, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        if let Err(error) = service::remove(&self.bridge) {
            tracing::warn!("firewall rules for DNS queries are left: {error}");
        }
    }
}

fn wanted(bridges: &BTreeSet<String>, listening: &[SocketAddr]) -> BTreeSet<Door> {
    let reachable = listening
        .iter()
        .filter(|address| !address.ip().is_loopback());
    let doors = reachable.flat_map(|service| {
        bridges.iter().map(|interface| Door {
            interface: interface.clone(),
            service: *service,
        })
    });
    doors.collect()
}

/// Returns one line per chain that may drop packets which our rules accept.
fn obstructed(doors: &BTreeSet<Door>) -> Vec<String> {
    if doors.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for chain in service::obstacles() {
        let shut: Vec<&Door> = doors
            .iter()
            .filter(|door| !service::mentions(&chain, door))
            .collect();
        let Some(first) = shut.first() else {
            continue;
        };
        let rest = match shut.len() {
            1 => String::new(),
            n => format!(" (and the same for {} more bridges)", n - 1),
        };
        lines.push(format!(
            "containers on {} resolve no names: the firewall chain {chain} drops what it does not accept; run: {}{rest}",
            first.interface,
            first.nft_rule(&chain)
        ));
    }
    lines
}

fn failed(door: &Door, error: &SysError) -> String {
    let (ip, port) = (door.service.ip(), door.service.port());
    let program = if ip.is_ipv6() {
        "ip6tables"
    } else {
        "iptables"
    };
    format!(
        "cannot let containers ask for names through the firewall: {error}; if they resolve none: {program} -I INPUT \
         -i {} -d {ip} -p udp --dport {port} -j ACCEPT, and the same for tcp",
        door.interface
    )
}

fn words(doors: &BTreeSet<Door>) -> String {
    let list = doors
        .iter()
        .map(|door| format!("{} to {}", door.interface, door.service));
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
        let doors = wanted(&bridges, &listening);
        assert_eq!(
            words(&doors),
            "br-1 to 172.17.0.1:53, br-1 to [fd00::1]:53, docker0 to 172.17.0.1:53, docker0 to [fd00::1]:53"
        );
    }
}
