//! Endpoints of Docker networks: interfaces that Docker plugs through the network driver.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use serde::{Deserialize, Serialize};

use crate::interface::ContainerInterface;
use crate::network::hex;
use crate::network::scoped::ScopedAddress;

/// Docker is asked about an endpoint that has been in no container for this long.
const HALF_MADE_FOR: Duration = Duration::from_secs(10);
/// Digits of an id that stand for a name where there is none, as engines show them.
pub const SHORT_ID: usize = 12;

/// The options of an endpoint's network connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// Its address with the prefix length of its subnet.
    pub address: IpNet,
    /// True if 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// The part of its address that Docker is not told.
    pub deferred: DeferredAddress,
    /// The owner of the lease of its address; empty when it was not prepared by `mesh run`.
    pub lease_owner: String,
    /// The network of the mesh that it is in.
    pub network: NetworkId,
    /// Its MAC address, if the user gave one; else it follows from the address.
    pub mac: Option<Mac>,
    /// Its IPv6 address beside an IPv4 one.
    pub second: Option<SecondAddress>,
}

/// The addresses that an IPAM driver of Docker has given an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenAddresses {
    /// The IPv4 address, or the only one.
    pub first: IpNet,
    /// The IPv6 address beside an IPv4 one.
    pub second: Option<IpNet>,
}

impl GivenAddresses {
    /// Returns all of them.
    pub fn all(self) -> impl Iterator<Item = IpNet> {
        core::iter::once(self.first).chain(self.second)
    }
}

/// The IPv6 address of an endpoint whose first address is of IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondAddress {
    /// The address with the prefix length of its subnet.
    pub address: IpNet,
    /// The owner of its lease.
    #[serde(rename = "holder")]
    pub lease_owner: String,
}

impl EndpointOptions {
    /// Returns those of an endpoint with these addresses, of whose leases `owner` tells the owners.
    pub fn given(
        network: NetworkId,
        given: GivenAddresses,
        owner: impl Fn(IpNet) -> String,
        mac: Option<Mac>,
    ) -> Self {
        let second = given.second.map(|address| SecondAddress {
            address,
            lease_owner: owner(address),
        });
        Self {
            address: given.first,
            // The container may have the route already, and Docker takes that for a failure.
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner: owner(given.first),
            network,
            mac,
            second,
        }
    }

    /// Returns its address in its network.
    pub fn scoped(&self) -> ScopedAddress {
        ScopedAddress::new(self.network, self.address)
    }

    /// Returns all its addresses in its network.
    pub fn all_scoped(&self) -> impl Iterator<Item = ScopedAddress> {
        all_scoped(self.network, self.address, self.second.as_ref())
    }

    /// Returns its MAC address.
    pub fn mac(&self) -> Mac {
        self.mac.unwrap_or_else(|| mac_for(self.address.addr()))
    }
}

/// The part of an address that the router gives to the interface itself, once Docker has plugged it: Docker refuses an
/// address when the container has a route that covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferredAddress {
    /// Nothing: Docker does all of it.
    No,
    /// The subnet: Docker gives the address alone, as 10.2.1.1/32, which has no route, and must do so before it plugs
    /// what routes the subnet.
    Subnet,
    /// All of it.
    Whole,
}

/// A Docker container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRef {
    /// Its full id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// One endpoint of a Docker network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerEndpoint {
    /// Id of Docker's network.
    pub network: String,
    /// Address with the prefix length of its subnet.
    pub address: IpNet,
    /// True if 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// True if the router adds the address after Docker has moved the interface.
    #[serde(rename = "late")]
    pub deferred: bool,
    /// The end that Docker moves, by its name on the host; empty until it is made.
    pub peer: String,
    /// The container's namespace, between Join and Leave.
    pub sandbox: Option<PathBuf>,
    /// Its container; Docker tells only after Join.
    pub owner: Option<ContainerRef>,
    /// Name in the container; empty until Docker has moved it.
    pub ifname: String,
    /// The owner of the lease of its address; empty in what earlier versions stored.
    #[serde(default, rename = "holder")]
    pub lease_owner: String,
    /// The network of the mesh that it is in.
    #[serde(default, skip_serializing_if = "NetworkId::is_default", with = "hex")]
    pub mesh_network: NetworkId,
    /// Its MAC address, if the user gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its IPv6 address beside an IPv4 one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondAddress>,
}

impl DockerEndpoint {
    /// Returns one that is not made yet, on the Docker network with this id.
    pub fn new(network: &str, wanted: &EndpointOptions, lease_owner: String) -> Self {
        Self {
            network: network.to_owned(),
            address: wanted.address,
            multicast: wanted.multicast,
            deferred: wanted.deferred != DeferredAddress::No,
            peer: String::new(),
            sandbox: None,
            owner: None,
            ifname: String::new(),
            lease_owner,
            mesh_network: wanted.network,
            mac: wanted.mac,
            second: wanted.second.clone(),
        }
    }

    /// Returns its address in its network of the mesh.
    pub fn scoped(&self) -> ScopedAddress {
        ScopedAddress::new(self.mesh_network, self.address)
    }

    /// Returns all its addresses in its network of the mesh.
    pub fn all_scoped(&self) -> impl Iterator<Item = ScopedAddress> + use<> {
        all_scoped(self.mesh_network, self.address, self.second.as_ref())
    }

    /// Returns all its addresses, each with the owner of its lease.
    pub fn leases(&self) -> impl Iterator<Item = (ScopedAddress, &str)> {
        let second = self.second.as_ref();
        let owners = core::iter::once(self.lease_owner.as_str())
            .chain(second.map(|second| second.lease_owner.as_str()));
        self.all_scoped().zip(owners)
    }

    /// Returns what the kernel is asked to make.
    pub fn interface(&self, id: &str) -> ContainerInterface {
        ContainerInterface {
            mac: self.mac(),
            second: self.second.as_ref().map(|second| second.address),
            ..ContainerInterface::new(id, &self.ifname, self.scoped(), self.multicast)
        }
    }

    /// Returns its MAC address.
    pub fn mac(&self) -> Mac {
        self.mac.unwrap_or_else(|| mac_for(self.address.addr()))
    }

    /// Returns whether it is known to belong to this container.
    pub fn is_of(&self, container: &str) -> bool {
        self.owner.as_ref().is_some_and(|o| o.id == container)
    }

    /// Returns the container's id, or the endpoint's own until Docker tells.
    pub fn owner_id<'a>(&'a self, id: &'a str) -> &'a str {
        self.owner.as_ref().map_or(id, |owner| &owner.id)
    }

    /// Returns the container's name, or the beginning of the endpoint id until Docker tells the name.
    pub fn display_name(&self, id: &str) -> String {
        match &self.owner {
            Some(owner) => owner.name.clone(),
            None => id.chars().take(SHORT_ID).collect(),
        }
    }
}

fn all_scoped(
    network: NetworkId,
    first: IpNet,
    second: Option<&SecondAddress>,
) -> impl Iterator<Item = ScopedAddress> + use<> {
    let second = second.map(|second| second.address);
    let all = core::iter::once(first).chain(second);
    all.map(move |address| ScopedAddress::new(network, address))
}

/// All endpoints, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DockerEndpointTable(BTreeMap<String, DockerEndpoint>);

impl DockerEndpointTable {
    /// Returns an endpoint.
    pub fn get(&self, id: &str) -> Option<&DockerEndpoint> {
        self.0.get(id)
    }

    /// Returns all endpoints, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DockerEndpoint)> {
        self.0.iter().map(|(id, end)| (id.as_str(), end))
    }

    /// Returns the number of addresses of all endpoints.
    pub fn address_count(&self) -> usize {
        let ends = self.0.values();
        ends.map(|end| end.all_scoped().count()).sum()
    }

    /// Returns the namespace that an endpoint is joined to.
    pub fn sandbox(&self, id: &str) -> Option<PathBuf> {
        self.get(id)?.sandbox.clone()
    }

    /// Returns an endpoint, while it is joined to this namespace.
    pub fn joined_to(&self, id: &str, sandbox: &Path) -> Option<DockerEndpoint> {
        let end = self.get(id)?;
        (end.sandbox.as_deref() == Some(sandbox)).then(|| end.clone())
    }

    /// Returns the addresses of the container that an endpoint is joined to, each with the owner of its lease.
    pub fn addresses_beside(&self, id: &str) -> Vec<(String, IpNet)> {
        let Some(sandbox) = self.sandbox(id) else {
            return Vec::new();
        };
        let ends = self.in_sandbox(&sandbox);
        ends.flat_map(DockerEndpoint::leases)
            .map(|(scoped, owner)| (owner.to_owned(), scoped.address))
            .collect()
    }

    /// Returns whether an endpoint in this namespace waits for the router. One with a deferred address waits for another
    /// with its subnet first.
    pub fn is_unfinished(&self, sandbox: &Path) -> bool {
        let is_covered = |deferred: &DockerEndpoint| {
            self.in_sandbox(sandbox)
                .any(|end| !end.deferred && end.address.contains(&deferred.address.addr()))
        };
        self.in_sandbox(sandbox)
            .any(|end| end.ifname.is_empty() && (!end.deferred || is_covered(end)))
    }

    fn in_sandbox<'a>(&'a self, sandbox: &'a Path) -> impl Iterator<Item = &'a DockerEndpoint> {
        let ends = self.0.values();
        ends.filter(move |end| end.sandbox.as_deref() == Some(sandbox))
    }

    /// Returns whether a container sends multicast to one of its endpoints.
    pub fn has_multicast(&self, owner: &str) -> bool {
        let mut ends = self.0.values();
        ends.any(|end| end.multicast && end.is_of(owner))
    }

    /// Returns the tags of all interfaces.
    pub fn tags(&self) -> impl Iterator<Item = String> + '_ {
        self.iter().map(|(id, end)| end.interface(id).tag)
    }

    /// Returns the networks of the mesh that Docker's networks with endpoints here are, by their ids.
    pub fn mesh_networks(&self) -> BTreeMap<String, NetworkId> {
        let ends = self.0.values();
        ends.map(|end| (end.network.clone(), end.mesh_network))
            .collect()
    }

    /// Returns the networks of joined endpoints whose containers Docker has not told yet, sorted.
    pub fn networks_without_owners(&self) -> BTreeSet<String> {
        let ends = self.0.values();
        let ends = ends.filter(|end| end.owner.is_none() && end.sandbox.is_some());
        ends.map(|end| end.network.clone()).collect()
    }

    /// Adds an endpoint, or replaces it.
    pub fn insert(&mut self, id: &str, end: DockerEndpoint) {
        self.0.insert(id.to_owned(), end);
    }

    /// Adds an endpoint unless there is one with this id.
    pub fn insert_if_absent(&mut self, id: &str, end: DockerEndpoint) {
        self.0.entry(id.to_owned()).or_insert(end);
    }

    /// Removes an endpoint.
    pub fn remove(&mut self, id: &str) -> Option<DockerEndpoint> {
        self.0.remove(id)
    }

    /// Removes an endpoint if it was made and its interface is none of those that exist.
    pub fn remove_stale(&mut self, id: &str, plugged: &BTreeSet<String>) {
        let is_stale = |end: &DockerEndpoint| {
            !end.peer.is_empty() && !plugged.contains(&end.interface(id).tag)
        };
        if self.get(id).is_some_and(is_stale) {
            self.0.remove(id);
        }
    }

    /// Removes all endpoints.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes what was about to be made when the router was stopped.
    pub fn remove_unmade(&mut self) {
        self.0
            .retain(|_, end| !end.peer.is_empty() || end.sandbox.is_some());
    }

    /// Notes the name of the end that Docker moves.
    pub fn set_peer(&mut self, id: &str, peer: String) {
        if let Some(end) = self.0.get_mut(id) {
            end.peer = peer;
        }
    }

    /// Notes the name of the interface in the container.
    pub fn set_ifname(&mut self, id: &str, ifname: String) {
        if let Some(end) = self.0.get_mut(id) {
            end.ifname = ifname;
        }
    }

    /// Notes that Docker is about to move an endpoint's interface into a namespace; none for an unknown endpoint.
    pub fn join(&mut self, id: &str, sandbox: &Path) -> Option<&DockerEndpoint> {
        let end = self.0.get_mut(id)?;
        end.sandbox = Some(sandbox.to_owned());
        Some(end)
    }

    /// Notes that a container stops, or leaves the network.
    pub fn leave(&mut self, id: &str) {
        if let Some(end) = self.0.get_mut(id) {
            end.sandbox = None;
        }
    }

    /// Notes the container of an endpoint.
    pub fn set_owner(&mut self, id: &str, owner: ContainerRef) {
        if let Some(end) = self.0.get_mut(id) {
            end.owner = Some(owner);
        }
    }

    /// Notes that an endpoint was joined without the router.
    pub fn set_joined(&mut self, id: &str, sandbox: PathBuf, owner: ContainerRef) {
        if let Some(end) = self.0.get_mut(id) {
            end.sandbox = Some(sandbox);
            end.owner = Some(owner);
        }
    }

    /// Notes another name of a container.
    pub fn rename(&mut self, container: &str, name: &str) {
        for end in self.0.values_mut() {
            if let Some(owner) = end.owner.as_mut().filter(|o| o.id == container) {
                name.clone_into(&mut owner.name);
            }
        }
    }
}

/// Endpoints that were seen in no container, and since when.
///
/// Docker joins within milliseconds what it creates, and deletes what has left; an endpoint that waits longer was given
/// up, or joined, while the router was away.
#[derive(Debug, Default)]
pub struct HalfMade(BTreeMap<String, Instant>);

impl HalfMade {
    /// Notes that an endpoint is in no container, and returns whether it has been so for long.
    pub fn is_overdue(&mut self, id: &str, table: &DockerEndpointTable, now: Instant) -> bool {
        self.0.retain(|id, _| {
            let end = table.get(id);
            // One that has left keeps the name of its interface.
            end.is_some_and(|end| end.ifname.is_empty() || end.sandbox.is_none())
        });
        let since = *self.0.entry(id.to_owned()).or_insert(now);
        now.since(since) > HALF_MADE_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: &str, deferred: DeferredAddress) -> DockerEndpoint {
        let wanted = EndpointOptions {
            address: address.parse().unwrap(),
            multicast: false,
            deferred,
            lease_owner: String::new(),
            network: NetworkId::DEFAULT,
            mac: None,
            second: None,
        };
        DockerEndpoint::new("net", &wanted, "docker:web:1".into())
    }

    fn table(ends: &[(&str, DockerEndpoint)]) -> DockerEndpointTable {
        let mut table = DockerEndpointTable::default();
        for (id, end) in ends {
            table.insert(id, end.clone());
        }
        table
    }

    #[test]
    fn a_container_waits_for_what_can_be_finished() {
        let sandbox = Path::new("/sandbox");
        let mut table = table(&[
            ("e1", end("10.2.1.1/24", DeferredAddress::Whole)),
            ("e2", end("10.2.1.2/24", DeferredAddress::No)),
        ]);
        assert!(!table.is_unfinished(sandbox), "nobody is in it");
        table.join("e1", sandbox).unwrap();
        assert!(!table.is_unfinished(sandbox), "its subnet is not there yet");
        table.join("e2", sandbox).unwrap();
        assert!(table.is_unfinished(sandbox));
        table.set_ifname("e2", "mesh1".into());
        assert!(table.is_unfinished(sandbox), "its subnet is there");
        table.set_ifname("e1", "mesh0".into());
        assert!(!table.is_unfinished(sandbox));
        assert_eq!(table.addresses_beside("e1").len(), 2);
        table.leave("e1");
        assert!(table.addresses_beside("e1").is_empty());
        assert!(table.join("e3", sandbox).is_none());
    }

    #[test]
    fn only_what_was_made_and_is_gone_is_stale() {
        let mut table = table(&[("e1", end("10.2.1.1/24", DeferredAddress::No))]);
        table.remove_stale("e1", &BTreeSet::new());
        assert!(table.get("e1").is_some(), "it is being made");
        table.set_peer("e1", "peer0".into());
        table.remove_stale("e1", &BTreeSet::from(["e1/10.2.1.1/24".into()]));
        assert!(table.get("e1").is_some());
        table.remove_stale("e1", &BTreeSet::new());
        assert!(table.get("e1").is_none());
    }

    #[test]
    fn owners_are_asked_of_joined_endpoints_and_renamed() {
        let mut table = table(&[("e1", end("10.2.1.1/24", DeferredAddress::No))]);
        assert!(table.networks_without_owners().is_empty());
        table.join("e1", Path::new("/sandbox")).unwrap();
        assert!(table.networks_without_owners().contains("net"));
        let owner = ContainerRef {
            id: "c".into(),
            name: "web".into(),
        };
        table.set_owner("e1", owner);
        assert!(table.networks_without_owners().is_empty());
        table.rename("other", "x");
        table.rename("c", "api");
        assert_eq!(table.get("e1").unwrap().display_name("e1"), "api");
    }

    #[test]
    fn an_endpoint_is_overdue_after_ten_seconds_of_being_half_made() {
        let mut table = table(&[("e1", end("10.2.1.1/24", DeferredAddress::No))]);
        let mut half_made = HalfMade::default();
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        assert!(!half_made.is_overdue("e1", &table, at(0)));
        assert!(!half_made.is_overdue("e1", &table, at(10)));
        assert!(half_made.is_overdue("e1", &table, at(11)));
        // It is finished, and half made again later.
        table.join("e1", Path::new("/sandbox")).unwrap();
        table.set_ifname("e1", "mesh0".into());
        assert!(!half_made.is_overdue("e2", &table, at(12)));
        table.set_ifname("e1", String::new());
        assert!(!half_made.is_overdue("e1", &table, at(20)));
    }

    #[test]
    fn an_endpoint_that_left_is_asked_about_in_time() {
        let (mut table, mut half_made) = (DockerEndpointTable::default(), HalfMade::default());
        table.insert("e1", end("10.2.1.1/24", DeferredAddress::No));
        table.join("e1", Path::new("/sandbox")).unwrap();
        table.set_ifname("e1", "mesh0".into());
        table.leave("e1");
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let looks: Vec<bool> = [1, 4, 11, 12]
            .map(|seconds| half_made.is_overdue("e1", &table, at(seconds)))
            .into();
        assert_eq!(looks, [false, false, false, true]);
    }
}
