//! Endpoints that are made again without a router, from the table that it stored last.

use std::net::IpAddr;

use ipnet::IpNet;

use super::AttachmentTable;
use crate::docker::endpoint::{
    DeferredAddress, DockerEndpoint, EndpointOptions, GivenAddresses, SecondAddress,
};

impl AttachmentTable {
    /// Returns an address that a container of this host was given from a pool, with the prefix length of its subnet; none
    /// if nobody on this host has the lease of it.
    pub fn remembered_address(&self, pool: &str, address: IpAddr) -> Option<IpNet> {
        let pool = self.user_networks.pool(pool).ok()?;
        pool.given.get(&address)?;
        let network = self.user_networks.network(pool.network()?)?;
        let subnet = network.resolved.as_ref()?.with_prefix(address);
        let known = pool.known_subnet().map(|subnet| subnet.prefix_len());
        let prefix = subnet.map(|subnet| subnet.prefix_len()).or(known)?;
        IpNet::new(address, prefix).ok()
    }

    /// Returns the options of an endpoint with an address that Docker has given it; none if no container of this host had
    /// that address, or the Docker network was never used.
    pub fn remembered_options(
        &self,
        network: &str,
        given: GivenAddresses,
    ) -> Option<EndpointOptions> {
        let resolved = self.user_networks.network(network)?.resolved.as_ref()?;
        let GivenAddresses {
            first: address,
            second,
        } = given;
        let is_same = |end: &DockerEndpoint| {
            end.mesh_network == resolved.network && end.address.addr() == address.addr()
        };
        let mut endpoints = self.endpoints.iter().filter(|(_, end)| is_same(end));
        let known = endpoints.next().map(|(_, end)| end);
        let mac = known.and_then(|end| end.mac);
        let owner_of = |address: IpAddr| {
            let leased = self.user_networks.owner_of(network, address);
            let mut leases = known.into_iter().flat_map(DockerEndpoint::leases);
            let kept = leases.find(|(scoped, _)| scoped.ip() == address);
            leased.or(kept.map(|(_, owner)| owner)).map(str::to_owned)
        };
        let lease_owner = owner_of(address.addr())?;
        let second = match second {
            Some(address) => Some(SecondAddress {
                address,
                lease_owner: owner_of(address.addr())?,
            }),
            None => None,
        };
        Some(EndpointOptions {
            address,
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner,
            network: resolved.network,
            mac,
            second,
        })
    }
}
