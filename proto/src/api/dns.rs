//! DNS in the API: `mesh dns-…` and `status dns`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// State of DNS on this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsReport {
    /// True if there is a server; false with `--no-dns`.
    pub enabled: bool,
    /// Domain of the mesh.
    pub domain: String,
    /// Time to live of answers, in seconds.
    #[serde(rename = "TTL")]
    pub ttl: u32,
    /// Addresses on which queries are answered.
    pub listen: Vec<String>,
    /// Number of containers in whose own network namespace queries are answered.
    #[serde(default)]
    pub inside: usize,
    /// Upstream servers, for names outside the mesh.
    pub upstreams: Vec<String>,
    /// Problems of the server, one line each.
    pub problems: Vec<String>,
    /// All names in order; one entry for each name, container and address.
    pub entries: Vec<DnsEntry>,
    /// Number of names of unreachable routers, which are not answered.
    pub hidden: usize,
    /// Number of names of this host for which its statement has no room.
    pub left_out: usize,
    /// Queries and statements by outcome; those with zero are left out.
    pub counters: BTreeMap<String, u64>,
}

/// Summary of DNS in `mesh status`; [`DnsReport`] has the names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsSummary {
    /// True if there is a server; false with `--no-dns`.
    pub enabled: bool,
    /// Domain of the mesh.
    pub domain: String,
    /// Addresses on which queries are answered.
    pub listen: Vec<String>,
    /// Upstream servers, for names outside the mesh.
    pub upstreams: Vec<String>,
}

/// Line of `mesh status dns`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsEntry {
    /// Network of the name; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Name without the domain.
    pub name: String,
    /// Address to which the name leads.
    pub address: IpAddr,
    /// Short id of the container; empty for a name without a container.
    pub container: String,
    /// `name(nickname)` of the router that states it.
    pub peer: String,
}

/// Body of `mesh dns-add` and `mesh dns-remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsChange {
    /// Name, short id or full id of a container of this host.
    #[serde(default)]
    pub container: Option<String>,
    /// Name with or without the domain.
    #[serde(default)]
    pub name: Option<String>,
    /// Addresses of the name; empty for those of the container.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Network of the name; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Body of `mesh dns-lookup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsQuestion {
    /// Name with or without the domain.
    pub name: String,
    /// Network of the name; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// DNS settings with which a container uses this router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsClient {
    /// Servers, for `--dns`; empty if there is none.
    pub servers: Vec<IpAddr>,
    /// Server within the network namespace of a podman container or a process; `None` if there is none or it was not
    /// requested.
    #[serde(default)]
    pub inside: Option<IpAddr>,
    /// Search domain of the mesh, for `--dns-search`; empty without a server.
    pub search: String,
    /// Search domains of this host, which come after that.
    #[serde(default)]
    pub also: Vec<String>,
    /// Resolver options of this host (`ndots:2`), for a rewritten `resolv.conf`.
    #[serde(default)]
    pub options: Vec<String>,
}
