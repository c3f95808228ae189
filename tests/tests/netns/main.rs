//! Real routers on hosts without engines: each host is a set of namespaces, each container a process.

mod addresses;
mod broadcast;
mod datapath;
mod expose;
mod fastpath;
mod faults;
mod hygiene;
mod idle;
mod inside;
mod ipam;
mod isolation;
mod latency;
mod loops;
mod many_networks;
mod mistakes;
mod names;
mod nat;
mod network_addresses;
mod network_ipv6;
mod network_mistakes;
mod network_verbs;
mod networks;
mod path_mtu;
mod ports;
mod queries;
mod resolution;
mod run;
mod secrets;
mod start;
mod strangers;
mod topology;
mod two_cards;
mod weave;

use anyhow::Result;
use mesh_tests::Testbed;

/// Starts a router on each host, all with the first as target, and waits until all are connected to each other.
fn full_mesh(bed: &Testbed, flags: &[&str]) -> Result<()> {
    for (index, host) in bed.hosts().iter().enumerate() {
        let peers: &[&str] = if index == 0 { &[] } else { &["host1"] };
        host.launch(&[flags, peers].concat())?;
    }
    for host in bed.hosts() {
        host.wait_peers(bed.hosts().len())?;
        host.wait_connections(bed.hosts().len() - 1)?;
    }
    Ok(())
}
