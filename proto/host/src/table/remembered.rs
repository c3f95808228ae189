//! Endpoints that are made again without a router, from the table that it stored last.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::AttachmentTable;
use crate::docker::endpoint::{DeferredAddress, EndpointOptions};

impl AttachmentTable {
    /// Returns an address that a container of this host was given from a pool, with the prefix length of its subnet; none
    /// if nobody on this host has the lease of it.
    pub fn remembered_address(&self, pool: &str, address: Ipv4Addr) -> Option<Ipv4Net> {
        let pool = self.user_networks.pool(pool).ok()?;
        pool.given.get(&address)?;
        let network = self.user_networks.network(pool.network()?)?;
        let subnet = network.resolved.as_ref()?.with_prefix(address.into());
        let known = pool.known_subnet().map(|subnet| subnet.prefix_len());
        let prefix = subnet.map(|subnet| subnet.prefix_len()).or(known)?;
        Ipv4Net::new(address, prefix).ok()
    }

    /// Returns the options of an endpoint with an address that Docker has given it; none if no container of this host had
    /// that address, or the Docker network was never used.
    pub fn remembered_options(&self, network: &str, address: IpNet) -> Option<EndpointOptions> {
        let resolved = self.user_networks.network(network)?.resolved.as_ref()?;
        let is_same = |end: &crate::docker::endpoint::DockerEndpoint| {
            end.mesh_network == resolved.network && end.address.addr() == address.addr()
        };
        let leased = match address.addr() {
            IpAddr::V4(address) => self.user_networks.owner_of(network, address),
            IpAddr::V6(_) => None,
        };
        let mut endpoints = self.endpoints.iter().filter(|(_, end)| is_same(end));
        let known = endpoints.next().map(|(_, end)| end);
        let mac = known.and_then(|end| end.mac);
        let lease_owner = match (leased, known) {
            (Some(owner), _) => owner.to_owned(),
            (None, Some(end)) => end.lease_owner.clone(),
            (None, None) => return None,
        };
        Some(EndpointOptions {
            address,
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner,
            network: resolved.network,
            mac,
        })
    }
}
