//! Redirection of traffic of local programs from one address and port to another, in the calling thread's namespace.

use std::net::SocketAddr;

use super::chain::{Chain, JumpPosition};
use super::nft::{self, NftTable};
use crate::SysError;

/// Name of the chain and of the table.
const NAME: &str = "mesh-dns";
/// Chain in `iptables`, as used by dockerd.
const CHAIN: Chain<'_> = Chain {
    program: "iptables",
    table: "nat",
    name: NAME,
    from: "OUTPUT",
    place: JumpPosition::Front,
};
/// Table in `nft`, used if there is no `iptables`.
const TABLE: NftTable<'_> = NftTable {
    family: "ip",
    name: NAME,
};

/// Redirects UDP and TCP over IPv4 from one address to the other.
///
/// # Errors
/// Neither program works here, or one of them reports an error.
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
            "redirect the DNS queries of a container",
            "neither iptables nor nft works there",
        ));
    }
    // Before the rules of dockerd at -100.
    let content = format!(
        "  chain output {{\n    type nat hook output priority -110; policy accept;\n    \
         ip daddr {ip} meta l4proto {{ tcp, udp }} th dport {port} dnat to {to}\n  }}\n"
    );
    TABLE.replace(&content)
}

/// Removes the rules with one call of a program, as there may be many namespaces; an empty chain stays.
///
/// # Errors
/// The error of the program.
pub(crate) fn remove() -> Result<(), SysError> {
    if CHAIN.flush()? {
        return Ok(());
    }
    if nft::is_usable() {
        TABLE.remove()?;
    }
    Ok(())
}
