//! Leads what programs of this host send to one address and port to another, in the namespace of the calling thread.

use std::net::SocketAddr;

use super::chain::{Chain, Place};
use super::nft::{self, Table};
use crate::SysError;

/// Names our chain and our table.
const NAME: &str = "mesh-dns";
/// By `iptables`, as dockerd does it.
const CHAIN: Chain<'_> = Chain {
    program: "iptables",
    table: "nat",
    name: NAME,
    from: "OUTPUT",
    place: Place::Front,
};
/// By `nft`, where there is no `iptables`.
const TABLE: Table<'_> = Table {
    family: "ip",
    name: NAME,
};

/// Leads UDP and TCP of IPv4 from one to the other.
///
/// # Errors
/// Neither program works here; what it says.
pub(crate) fn ensure(from: SocketAddr, to: SocketAddr) -> Result<(), SysError> {
    let (ip, port) = (from.ip(), from.port());
    if CHAIN.is_usable()? {
        let rule = |protocol| {
            format!(
                "-d {ip}/32 -p {protocol} -m {protocol} --dport {port} -j DNAT --to-destination {to}"
            )
        };
        let rules = ["udp", "tcp"].map(rule);
        let wanted = rules.iter().map(|rule| format!("-A {NAME} {rule}"));
        let listing = CHAIN.list()?.unwrap_or_default();
        let there = listing.lines().filter(|line| line.starts_with("-A "));
        if there.eq(wanted) {
            return Ok(());
        }
        return CHAIN.put(&rules);
    }
    if !nft::is_usable() {
        return Err(SysError::other(
            "lead queries of a container here",
            "neither iptables nor nft works there",
        ));
    }
    // Before what dockerd has at -100.
    let content = format!(
        "  chain output {{\n    type nat hook output priority -110; policy accept;\n    \
         ip daddr {ip} meta l4proto {{ tcp, udp }} th dport {port} dnat to {to}\n  }}\n"
    );
    TABLE.replace(&content)
}

/// Takes the rules away, in one call of a program, as there may be many namespaces; an empty chain stays.
///
/// # Errors
/// What the program says.
pub(crate) fn remove() -> Result<(), SysError> {
    if CHAIN.flush()? {
        return Ok(());
    }
    if nft::is_usable() {
        TABLE.remove()?;
    }
    Ok(())
}
