//! All that is on the mesh on this host, as it is stored, and which address may be given to which owner.

mod bindings;
mod bridges;
mod remembered;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_names::MeshName;
use mesh_proto::address::mac_for;
use mesh_proto::api::{EXPOSE, Runtime};
use mesh_proto::ids::Mac;
use mesh_proto::limits::{MAX_ATTACHED, MAX_EXPOSED, MAX_EXPOSED_NAMES};
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use crate::docker::endpoint::{DockerEndpoint, DockerEndpointTable};
use crate::docker::swarm::SwarmPools;
use crate::docker::user_networks::UserNetworkTable;
use crate::exposure::ExposureTable;
use crate::hosts::HostsWish;
use crate::member::{Home, MemberPort, MemberTable, PluggedMember, ProcessIdentity};
use crate::network::hex;
use crate::network::scoped::ScopedAddress;

use bindings::{endpoint_bindings, member_bindings};
pub use bridges::JoinedBridges;
pub use views::{Announced, LeaseSubject};

/// Ids of networks that are remembered as ours.
const MAX_NETWORKS: usize = 256;

/// Returns who has an address of a network elsewhere in the mesh, in words that complete "… is already used by …".
pub type Elsewhere<'a> = &'a dyn Fn(NetworkId, IpAddr) -> Option<String>;

/// Reason why an address is not entered into the table; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachRefusal {
    /// Someone has the address.
    #[error("{ip} is already used by {holder}")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// Its holder, in words.
        holder: String,
    },
    /// Someone in the network has the MAC address.
    #[error("the MAC address {mac} is already used by {holder}")]
    MacInUse {
        /// The MAC address.
        mac: Mac,
        /// Its holder, in words.
        holder: String,
    },
    /// The container has the address in another subnet.
    #[error("container {name} has {has} already; detach it first")]
    OtherPrefix {
        /// The container.
        name: String,
        /// Its address.
        has: IpNet,
    },
    /// The container, or the host, has the address in another network.
    #[error("{who} has {has} in another network already, and one address can be had once only")]
    OtherNetwork {
        /// The container, or the host.
        who: String,
        /// Its address.
        has: IpNet,
    },
    /// The host has the address in another subnet.
    #[error("this host is exposed as {0} already; `mesh hide {0}` first")]
    ExposedOtherwise(IpNet),
    /// More addresses or names than the host may have.
    #[error("this host has {0} on the mesh already; hide some")]
    TooMuchExposed(String),
    /// The table is full.
    #[error("this host has {MAX_ATTACHED} addresses on the mesh already; detach some")]
    Full,
}

/// Everything on the mesh on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentTable {
    /// Containers and processes that the router plugs itself.
    pub members: MemberTable,
    /// Endpoints that Docker plugs through the network driver.
    pub endpoints: DockerEndpointTable,
    /// Addresses of the host itself.
    #[serde(default, skip_serializing_if = "ExposureTable::is_empty")]
    pub exposed: ExposureTable,
    /// Addresses acquired for containers that are not there yet, by preparation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prepared: BTreeMap<String, Reservation>,
    /// Ids of Docker networks that are or were ours: stopped containers may still want them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    networks: BTreeSet<String>,
    /// Docker networks of users, and address pools.
    #[serde(default, skip_serializing_if = "UserNetworkTable::is_empty")]
    pub user_networks: UserNetworkTable,
    /// Addresses that Swarm's leader on this host gave.
    #[serde(default, skip_serializing_if = "SwarmPools::is_empty")]
    pub swarm: SwarmPools,
    /// Other bridges of the host that are joined to ours.
    #[serde(default, skip_serializing_if = "JoinedBridges::is_empty")]
    pub bridges: JoinedBridges,
}

/// The addresses of a container that is not there yet, kept for the command that prepares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The owner of their leases.
    #[serde(rename = "holder")]
    pub lease_owner: String,
    /// The command; the reservation lasts as long as it.
    pub caller: ProcessIdentity,
    /// Networks of the container, besides `default`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "hex::set")]
    pub mesh_networks: BTreeSet<NetworkId>,
}

/// An address in use on this host, and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBinding {
    /// Container id, or the id of the preparation; the endpoint id while the container is not known.
    pub owner: String,
    /// Container or command name.
    pub name: String,
    /// The network that it is in.
    pub network: NetworkId,
    /// The address with the prefix length of its subnet.
    pub address: IpNet,
    /// MAC address of the interface; that of the host's is another.
    pub mac: Mac,
    /// The endpoint, if it is one.
    pub endpoint: Option<String>,
}

/// A request to attach addresses to one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachTo<'a> {
    /// Key of its member.
    pub key: &'a str,
    /// Container id, as in [`AddressBinding::owner`].
    pub owner: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The engine and first process of a container of an engine; none for a process in a namespace of ours.
    pub container: Option<(Runtime, ProcessIdentity)>,
    /// The network.
    pub network: NetworkId,
    /// The addresses.
    pub addresses: &'a [IpNet],
    /// True if 224.0.0.0/4 goes to one of them, unless it has such a route already.
    pub multicast_route: bool,
    /// True if no DNS queries are to be answered within its namespace.
    pub without_dns: bool,
    /// The user's wish about its `/etc/hosts`.
    pub hosts: HostsWish,
}

/// The changes by an [`AttachTo`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedTo {
    /// Addresses that the container did not have.
    pub new: Vec<IpNet>,
    /// Addresses that it lost to others while it was stopped; none at all if it runs on.
    pub lost: Option<Vec<ScopedAddress>>,
}

impl AttachmentTable {
    /// Refuses an address that someone else has, here or elsewhere; returns whether `owner` has it already.
    ///
    /// # Errors
    /// The reason.
    pub fn check(
        &self,
        scoped: ScopedAddress,
        owner: &str,
        elsewhere: Elsewhere<'_>,
    ) -> Result<bool, AttachRefusal> {
        let ScopedAddress { network, address } = scoped;
        let ip = address.addr();
        if let Some(binding) = self.binding_of(network, ip) {
            if binding.owner != owner {
                let holder = binding.words();
                return Err(AttachRefusal::InUse { ip, holder });
            }
            if binding.address != address && owner == EXPOSE {
                return Err(AttachRefusal::ExposedOtherwise(binding.address));
            }
            if binding.address != address {
                return Err(AttachRefusal::OtherPrefix {
                    name: binding.name,
                    has: binding.address,
                });
            }
            return Ok(true);
        }
        let mut others = self.bindings();
        if let Some(other) = others.find(|b| b.owner == owner && b.address.addr() == ip) {
            let who = other.whose();
            let has = other.address;
            return Err(AttachRefusal::OtherNetwork { who, has });
        }
        if let Some(holder) = elsewhere(network, ip) {
            return Err(AttachRefusal::InUse { ip, holder });
        }
        if self.address_count() >= MAX_ATTACHED {
            return Err(AttachRefusal::Full);
        }
        Ok(false)
    }

    /// Adds a member with all its addresses.
    ///
    /// # Errors
    /// An address is refused; the table is partly changed then.
    pub fn insert_member(
        &mut self,
        key: &str,
        member: PluggedMember,
        elsewhere: Elsewhere<'_>,
    ) -> Result<(), AttachRefusal> {
        for address in member.addresses() {
            self.check(address, key, elsewhere)?;
        }
        self.members.insert(key, member);
        Ok(())
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    /// An address of it is refused.
    pub fn insert_endpoint(
        &mut self,
        id: &str,
        end: DockerEndpoint,
        elsewhere: Elsewhere<'_>,
    ) -> Result<(), AttachRefusal> {
        for scoped in end.all_scoped() {
            self.check(scoped, id, elsewhere)?;
        }
        self.check_mac(&end, id)?;
        self.endpoints.insert(id, end);
        Ok(())
    }

    /// Checks that no other interface in the network has the MAC address of an endpoint: frames would go to either.
    fn check_mac(&self, end: &DockerEndpoint, id: &str) -> Result<(), AttachRefusal> {
        let mac = end.mac();
        let is_other = |b: &AddressBinding| {
            b.network == end.mesh_network && b.mac == mac && b.endpoint.as_deref() != Some(id)
        };
        match self.bindings().find(is_other) {
            Some(binding) => Err(AttachRefusal::MacInUse {
                mac,
                holder: binding.words(),
            }),
            None => Ok(()),
        }
    }

    /// Adds addresses to a container that runs; one that was restarted unnoticed is noted to run again.
    ///
    /// # Errors
    /// An address is refused; the table is partly changed then.
    pub fn attach(
        &mut self,
        to: AttachTo<'_>,
        elsewhere: Elsewhere<'_>,
    ) -> Result<AttachedTo, AttachRefusal> {
        let mut done = AttachedTo::default();
        if let Some((_, process)) = to.container {
            done.lost = self.resume(to.key, process, elsewhere);
        }
        for address in to.addresses {
            let scoped = ScopedAddress::new(to.network, *address);
            if !self.check(scoped, to.owner, elsewhere)? {
                done.new.push(*address);
            }
        }
        let multicast = to.multicast_route && !self.has_multicast(to.owner);
        if let Some((runtime, process)) = to.container
            && !done.new.is_empty()
        {
            let home = Home::Container(Some(process));
            self.members.entry(to.key, || {
                PluggedMember::new(to.name, runtime, home, Vec::new())
            });
        }
        if let Some(member) = self.members.get_mut(to.key) {
            let ports = MemberPort::for_addresses(to.network, &done.new, multicast);
            member.ports.extend(ports);
            member.without_dns |= to.without_dns;
            member.hosts.merge(to.hosts);
        }
        Ok(done)
    }

    /// Notes that a container of an engine runs as `process` with the addresses that are still free, and returns those
    /// that others took; none at all if it ran so before.
    pub fn resume(
        &mut self,
        key: &str,
        process: ProcessIdentity,
        elsewhere: Elsewhere<'_>,
    ) -> Option<Vec<ScopedAddress>> {
        let member = self.members.get(key)?;
        if !matches!(member.home, Home::Container(home) if home != Some(process)) {
            return None;
        }
        let was_live = member.is_live();
        let is_kept =
            |port: &MemberPort| was_live || self.check(port.scoped(), key, elsewhere).is_ok();
        let (kept, lost): (Vec<MemberPort>, Vec<MemberPort>) =
            member.ports.iter().cloned().partition(is_kept);
        self.members.set_running(key, process, kept);
        Some(lost.iter().map(MemberPort::scoped).collect())
    }

    /// Notes that a container in a namespace of ours runs again, and returns the ports whose addresses others took.
    pub fn reattach(&mut self, key: &str, elsewhere: Elsewhere<'_>) -> Vec<MemberPort> {
        let Some(member) = self.members.get(key) else {
            return Vec::new();
        };
        let owner = member.owner(key);
        let is_lost = |port: &&MemberPort| self.check(port.scoped(), owner, elsewhere).is_err();
        let lost: Vec<MemberPort> = member.ports.iter().filter(is_lost).cloned().collect();
        self.members.set_attached(key, &lost);
        lost
    }

    /// Exposes the host with an address, or changes how.
    ///
    /// # Errors
    /// The address is refused, or there are too many addresses or names; the table is partly changed then.
    pub fn expose(
        &mut self,
        scoped: ScopedAddress,
        (masquerade, forward): (bool, bool),
        name: Option<&MeshName>,
        elsewhere: Elsewhere<'_>,
    ) -> Result<(), AttachRefusal> {
        let address = scoped.address;
        let is_there = self.check(scoped, EXPOSE, elsewhere)?;
        if !is_there && self.exposed.count() >= MAX_EXPOSED {
            let what = format!("{MAX_EXPOSED} addresses");
            return Err(AttachRefusal::TooMuchExposed(what));
        }
        let exposure = self.exposed.entry(scoped);
        exposure.masquerade = masquerade;
        exposure.forward = forward;
        exposure.names.extend(name.cloned());
        if exposure.names.len() > MAX_EXPOSED_NAMES {
            let what = format!("{MAX_EXPOSED_NAMES} names for {address}");
            return Err(AttachRefusal::TooMuchExposed(what));
        }
        Ok(())
    }

    /// Returns the number of addresses in all.
    fn address_count(&self) -> usize {
        let ports: usize = self.members.iter().map(|(_, m)| m.ports.len()).sum();
        ports + self.endpoints.address_count() + self.exposed.count()
    }

    /// Returns every address in use, with its owner. Those of stopped containers are free.
    pub fn bindings(&self) -> impl Iterator<Item = AddressBinding> + '_ {
        let members = self.members.iter().filter(|(_, m)| m.is_live());
        let ports = members.flat_map(|(key, member)| member_bindings(key, member));
        let endpoints = self.endpoints.iter();
        let endpoints = endpoints.flat_map(|(id, end)| endpoint_bindings(id, end));
        let exposed = self.exposed.addresses().map(|scoped| AddressBinding {
            owner: EXPOSE.to_owned(),
            name: EXPOSE.to_owned(),
            network: scoped.network,
            address: scoped.address,
            mac: mac_for(scoped.ip()),
            endpoint: None,
        });
        ports.chain(endpoints).chain(exposed)
    }

    /// Returns the owner of `ip` in a network.
    pub fn binding_of(&self, network: NetworkId, ip: IpAddr) -> Option<AddressBinding> {
        let is_meant = |b: &AddressBinding| b.network == network && b.address.addr() == ip;
        self.bindings().find(is_meant)
    }

    /// Returns the addresses in a network, those of stopped containers included.
    pub fn bindings_in(&self, network: NetworkId) -> Vec<AddressBinding> {
        let stopped = self.members.iter().filter(|(_, m)| !m.is_live());
        let stopped = stopped.flat_map(|(key, member)| member_bindings(key, member));
        let all = self.bindings().chain(stopped);
        all.filter(|binding| binding.network == network).collect()
    }

    /// Returns the networks besides `default` that containers of this host are in, running or not, or are about to be in.
    pub fn used_networks(&self) -> BTreeSet<NetworkId> {
        let ports = self.members.iter().flat_map(|(_, member)| &member.ports);
        let mut used: BTreeSet<NetworkId> = ports.map(|port| port.network).collect();
        used.extend(self.endpoints.iter().map(|(_, end)| end.mesh_network));
        used.extend(self.exposed.addresses().map(|address| address.network));
        used.extend(self.bridges.iter().map(|(_, network)| network));
        used.extend(self.prepared.values().flat_map(|kept| &kept.mesh_networks));
        used.remove(&NetworkId::DEFAULT);
        used
    }

    /// Returns the addresses of a container, running or not.
    pub fn bindings_of(&self, owner: &str) -> Vec<AddressBinding> {
        let mut has: Vec<AddressBinding> = self.bindings().filter(|b| b.owner == owner).collect();
        let stopped = self.members.of_owner(owner).filter(|(_, m)| !m.is_live());
        has.extend(stopped.flat_map(|(key, member)| member_bindings(key, member)));
        has
    }

    /// Returns whether a container sends multicast to an interface on the mesh already.
    fn has_multicast(&self, owner: &str) -> bool {
        self.members.has_multicast(owner) || self.endpoints.has_multicast(owner)
    }

    /// Returns id and name of a container as `ps` lists it, by either: one of Docker's may be gone from its engine.
    pub fn find_container(&self, name: &str) -> Option<(String, String)> {
        self.members.find_container(name).or_else(|| {
            let mut listed = self.bindings();
            let is_meant =
                |b: &AddressBinding| b.endpoint.is_some() && (b.owner == name || b.name == name);
            let found = listed.find(is_meant)?;
            Some((found.owner, found.name))
        })
    }

    /// Notes another name of a container.
    pub fn rename(&mut self, container: &str, name: &str) {
        self.endpoints.rename(container, name);
        self.members.rename(container, name);
    }

    /// Keeps the addresses of a preparation for its caller.
    pub fn prepare(&mut self, id: &str, reservation: Reservation) {
        self.prepared.insert(id.to_owned(), reservation);
    }

    /// Ends a reservation.
    pub fn unprepare(&mut self, id: &str) -> Option<Reservation> {
        self.prepared.remove(id)
    }

    /// Ends the reservations of callers that do not live, and returns the lease owners of the others.
    pub fn live_reservations(
        &mut self,
        lives: impl Fn(ProcessIdentity) -> bool,
    ) -> BTreeSet<String> {
        self.prepared.retain(|_, kept| lives(kept.caller));
        let kept = self.prepared.values();
        kept.map(|kept| kept.lease_owner.clone()).collect()
    }

    /// Returns the ids of Docker networks that are or were ours.
    pub fn networks(&self) -> &BTreeSet<String> {
        &self.networks
    }

    /// Remembers Docker networks as ours. When there are too many, those of before are forgotten.
    pub fn learn_networks(&mut self, now: BTreeSet<String>) {
        if self.networks.len() + now.len() > MAX_NETWORKS {
            self.networks.clear();
        }
        self.networks.extend(now);
    }
}

impl AddressBinding {
    /// Returns whether it is the host itself.
    pub fn is_host(&self) -> bool {
        self.owner == EXPOSE
    }

    /// Returns the address in its network.
    pub fn scoped(&self) -> ScopedAddress {
        ScopedAddress::new(self.network, self.address)
    }

    /// Returns the owner as the subject of a sentence.
    fn whose(&self) -> String {
        match self.is_host() {
            true => "this host".to_owned(),
            false => format!("container {}", self.name),
        }
    }

    /// Returns the owner in words that complete "… is already used by …".
    pub fn words(&self) -> String {
        if self.is_host() {
            return "this host itself (mesh expose)".to_owned();
        }
        // Its id is one of Docker's endpoints until Docker says whose that is.
        if self.endpoint.as_deref() == Some(self.owner.as_str()) {
            return "a container on this host that Docker is starting or stopping".to_owned();
        }
        if self.name == self.owner {
            return "a container on this host that is being started".to_owned();
        }
        format!("container {} on this host", self.name)
    }
}

#[cfg(test)]
mod tests;
