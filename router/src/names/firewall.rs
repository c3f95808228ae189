//! Firewall rules that let containers reach the DNS server on an address of this host.
//!
//! They accept queries from the bridges of containers to the listening addresses, and nothing else. If other rules
//! still drop the queries, a warning contains the rule that the operator must add.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_dns::server::firewall::{
    DnsAccess, FirewallCheck, MAX_ACCESSES, Obstacle, failed, obstructed, text, wanted,
};
use mesh_sys::firewall::Changed;
use mesh_sys::firewall::service::{self, Door};

/// Rules of one mesh bridge, removed on drop.
pub(super) struct DnsFirewall {
    bridge: String,
    check: Mutex<FirewallCheck>,
}

impl DnsFirewall {
    pub(super) fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            check: Mutex::default(),
        }
    }

    /// Installs the rules for these bridges and addresses, and restores them if they were removed.
    pub(super) fn keep(&self, bridges: &BTreeSet<String>, listening: &[SocketAddr]) {
        let wanted = wanted(bridges, listening);
        let mut check = self.lock();
        if !check.is_due(&wanted) {
            return;
        }
        let some: BTreeSet<DnsAccess> = wanted.iter().take(MAX_ACCESSES).cloned().collect();
        let doors: BTreeSet<Door> = some.iter().map(door).collect();
        let mut problems = Vec::new();
        match service::ensure(&self.bridge, &doors) {
            Ok(Changed::Yes) if !some.is_empty() => {
                tracing::info!(
                    "firewall rules let containers ask for names: {}",
                    text(&some)
                );
            }
            Ok(_) => {}
            Err(error) => problems.extend(some.first().map(|access| failed(access, &error))),
        }
        problems.extend(obstacles(&doors));
        for problem in check.set(wanted, problems) {
            tracing::warn!("{problem}");
        }
    }

    /// Like [`DnsFirewall::keep`], if bridges or addresses have changed since the last check.
    pub(super) fn keep_if_changed(&self, bridges: &BTreeSet<String>, listening: &[SocketAddr]) {
        let is_other = self.lock().is_other(&wanted(bridges, listening));
        if is_other {
            self.keep(bridges, listening);
        }
    }

    /// Returns the current problems, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        self.lock().problems().to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, FirewallCheck> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DnsFirewall {
    fn drop(&mut self) {
        if let Err(error) = service::remove(&self.bridge) {
            tracing::warn!("firewall rules for DNS queries are left: {error}");
        }
    }
}

fn door((interface, service): &DnsAccess) -> Door {
    Door {
        interface: interface.clone(),
        service: *service,
    }
}

/// Returns one line per chain that may drop packets which our rules accept.
fn obstacles(doors: &BTreeSet<Door>) -> Vec<String> {
    if doors.is_empty() {
        return Vec::new();
    }
    let chains = service::obstacles().into_iter();
    let lines = chains.filter_map(|chain| {
        let shut: Vec<&Door> = doors
            .iter()
            .filter(|door| !service::mentions(&chain, door))
            .collect();
        obstructed(&Obstacle {
            chain: chain.to_string(),
            rule: shut.first()?.nft_rule(&chain),
            interfaces: shut.iter().map(|door| door.interface.as_str()).collect(),
        })
    });
    lines.collect()
}
