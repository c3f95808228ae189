//! What `mesh dns-…`, `status dns` and the router say to one another about names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// How the names of the mesh are answered on this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsReport {
    /// Whether there is a server; not with `--no-dns`.
    pub enabled: bool,
    /// The domain of the mesh.
    pub domain: String,
    /// Seconds for which clients may keep an answer.
    #[serde(rename = "TTL")]
    pub ttl: u32,
    /// Addresses on which queries are answered.
    pub listen: Vec<String>,
    /// Containers in whose own network namespace queries are answered, too.
    #[serde(default)]
    pub inside: usize,
    /// Servers that are asked for what is not of the mesh.
    pub upstreams: Vec<String>,
    /// What hinders it, one line each.
    pub problems: Vec<String>,
    /// All names, in order; one for each name, container and address.
    pub entries: Vec<DnsEntry>,
    /// Names of routers that cannot be reached: not answered.
    pub hidden: usize,
    /// Names of this host for which its statement has no room.
    pub left_out: usize,
    /// Queries and statements, by what became of them; those with zero are left out.
    pub counters: BTreeMap<String, u64>,
}

/// What `mesh status` says of names; [`DnsReport`] has the names themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsSummary {
    /// Whether there is a server; not with `--no-dns`.
    pub enabled: bool,
    /// The domain of the mesh.
    pub domain: String,
    /// Addresses on which queries are answered.
    pub listen: Vec<String>,
    /// Servers that are asked for what is not of the mesh.
    pub upstreams: Vec<String>,
}

/// One line of `mesh status dns`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsEntry {
    /// Without the domain.
    pub name: String,
    /// Where it leads.
    pub address: IpAddr,
    /// Short id of the container; empty for a name that belongs to none.
    pub container: String,
    /// `name(nickname)` of the router that states it.
    pub peer: String,
}

/// `mesh dns-add` and `mesh dns-remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsChange {
    /// Name, short id or full id of a container of this host.
    #[serde(default)]
    pub container: Option<String>,
    /// With or without the domain.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the name leads; none means: where the container is.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// `mesh dns-lookup`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsQuestion {
    /// With or without the domain.
    pub name: String,
}

/// How a container is told to ask this router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsClient {
    /// Servers, for `--dns`; empty without a server.
    pub servers: Vec<IpAddr>,
    /// The server within the network namespace of a podman container or a process; none without a server, or when it was
    /// not asked for.
    #[serde(default)]
    pub inside: Option<IpAddr>,
    /// Domain in which single labels are looked up, for `--dns-search`; empty without a server.
    pub search: String,
    /// Domains in which this host looks them up, which come after that.
    #[serde(default)]
    pub also: Vec<String>,
    /// How this host asks (`ndots:2`), for a `resolv.conf` that is written again.
    #[serde(default)]
    pub options: Vec<String>,
}
