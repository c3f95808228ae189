//! A container, as its engine describes it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_host::docker::endpoint::{ContainerRef, SHORT_ID};

use crate::error::EngineError;

/// Label and value of containers whose `/etc/hosts` must not be changed.
pub const LEAVE_HOSTS: (&str, &str) = ("mesh.rewrite-hosts", "false");

/// A container, as its engine describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineContainer {
    /// Full id (64 hexadecimal digits).
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// Pid of its first process in the router's pid namespace; 0 if it is not running.
    pub pid: u32,
    /// True if it runs.
    pub running: bool,
    /// `host`, `none`, `container:<id>`, `default`, or the name of a network.
    pub network_mode: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`, or empty.
    pub restart_policy: String,
    /// Error of the last attempt to start it; empty if it started.
    pub error: String,
    /// Path of its network namespace; empty if unknown.
    pub sandbox: String,
    /// Driver options of each of its connections to Docker networks.
    pub connections: Vec<BTreeMap<String, String>>,
    /// Its connections to Docker networks, including networks that do not exist any more.
    pub networks: Vec<NetworkConnection>,
    /// Host name, with or without a domain.
    pub hostname: String,
    /// Its aliases on networks of the engine.
    pub aliases: Vec<String>,
    /// Exposed ports, like `80/tcp`.
    pub exposed: Vec<String>,
    /// DNS servers that it was given (`--dns`).
    pub dns: Vec<IpAddr>,
    /// DNS search domains that it was given (`--dns-search`).
    pub dns_search: Vec<String>,
    /// Path of its `/etc/hosts` on this host; empty if unknown.
    pub hosts_file: String,
    /// True if its `/etc/hosts` must not be changed ([`LEAVE_HOSTS`]).
    pub leave_hosts: bool,
}

/// Connection of a container to a Docker network; the container need not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConnection {
    /// Name of the network.
    pub network: String,
    /// Id of the network.
    pub network_id: String,
    /// Id of the endpoint; empty while the container does not run.
    pub endpoint: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Aliases of the container on this network.
    pub aliases: Vec<String>,
    /// Addresses, of IPv4 and of IPv6, with the prefix lengths of their subnets; none while the container does not run.
    pub addresses: Vec<IpNet>,
}

impl EngineContainer {
    /// Returns the IPv6 address of an endpoint that has an IPv4 one too.
    pub fn second_address(&self, endpoint: &str) -> Option<IpNet> {
        let mut networks = self.networks.iter();
        let addresses = &networks.find(|c| c.endpoint == endpoint)?.addresses;
        let is_dual = addresses.len() > 1;
        let v6 = addresses.iter().find(|address| address.addr().is_ipv6());
        v6.copied().filter(|_| is_dual)
    }

    /// Returns its id and name, as the owner of an endpoint.
    pub fn reference(&self) -> ContainerRef {
        ContainerRef {
            id: self.id.clone(),
            name: self.name.clone(),
        }
    }

    /// Returns the pid whose network namespace the container may be attached through.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`], [`EngineError::HostNetwork`].
    pub fn attachable(&self) -> Result<u32, EngineError> {
        if self.network_mode == "host" {
            return Err(EngineError::HostNetwork(self.name.clone()));
        }
        if !self.running || self.pid == 0 {
            return Err(EngineError::NotRunning(self.name.clone()));
        }
        Ok(self.pid)
    }
}

/// Returns true if the text shown as a name is the beginning of the container's id. A short name may begin it by
/// chance: `db`, `a`.
pub fn is_part_of_id(name: &str, id: &str) -> bool {
    name.len() >= SHORT_ID && id.starts_with(name)
}

/// Returns true if `name` is possible as a container name or id in Docker and podman. Keeps paths, queries and flags out of
/// requests and command lines.
pub fn is_container_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && name.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_attached_says_why() {
        let mut container = EngineContainer {
            name: "web".into(),
            ..EngineContainer::default()
        };
        let message = container.attachable().unwrap_err().to_string();
        assert_eq!(message, "container web is not running; start it first");
        container.running = true;
        container.pid = 7;
        assert_eq!(container.attachable(), Ok(7));
        container.network_mode = "host".into();
        let message = container.attachable().unwrap_err().to_string();
        assert_eq!(
            message,
            "container web uses the host's network; it cannot be attached"
        );
    }

    #[test]
    fn names_that_are_paths_or_flags_are_not_names() {
        for yes in ["web", "a_b.c-d", "0123abc"] {
            assert!(is_container_name(yes), "{yes}");
        }
        for no in ["", "-f", "../x", "a/b", "a?b", "a b", ".x", "ä"] {
            assert!(!is_container_name(no), "{no}");
        }
    }

    #[test]
    fn a_short_name_is_no_part_of_an_id() {
        let id = "0123456789abcdef";
        assert!(is_part_of_id("0123456789ab", id));
        assert!(!is_part_of_id("0123", id) && !is_part_of_id("web", id));
    }
}
