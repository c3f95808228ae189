//! Views of the table: for the control plane, for `ps`, and for those who keep leases.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::address::mac_for;
use mesh_proto::api::{AttachedContainer, AttachedInterface, EXPOSE, Runtime};
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use super::AttachmentTable;
use crate::member::PluggedMember;
use crate::network::scoped::ScopedAddress;
use crate::network::view::NetworkView;

/// One address that this router announces to the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// Address with the prefix length of its subnet.
    pub address: IpNet,
    /// MAC address of the interface.
    pub mac: Mac,
    /// Container or command name.
    pub container: String,
    /// The network that it is in.
    pub network: NetworkId,
}

/// The owner of the lease of an address in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseSubject<'a> {
    /// A container or process, by its id.
    Container(Runtime, &'a str),
    /// The owner as it was stored.
    Stored(&'a str),
    /// The host itself.
    Host,
}

impl AttachmentTable {
    /// Returns the tags of all interfaces.
    pub fn tags(&self) -> BTreeSet<String> {
        self.members.tags().chain(self.endpoints.tags()).collect()
    }

    /// Returns every address, those of stopped containers included, with the owner of its lease.
    pub fn leases(&self) -> impl Iterator<Item = (ScopedAddress, LeaseSubject<'_>)> {
        let members = self.members.iter().flat_map(|(key, member)| {
            let id = match member.runtime {
                Runtime::Process => key,
                _ => member.owner(key),
            };
            let subject = LeaseSubject::Container(member.runtime, id);
            member.addresses().map(move |a| (a, subject.clone()))
        });
        let endpoints = self.endpoints.iter().flat_map(|(_, end)| {
            end.leases().map(|(scoped, owner)| {
                let subject = match owner.is_empty() {
                    true => LeaseSubject::Container(Runtime::Docker, &end.network),
                    false => LeaseSubject::Stored(owner),
                };
                (scoped, subject)
            })
        });
        let exposed = self.exposed.addresses();
        let exposed = exposed.map(|address| (address, LeaseSubject::Host));
        members.chain(endpoints).chain(exposed)
    }

    /// Returns the addresses that are announced to the mesh, sorted; those of the host in a network once the MAC address of
    /// the bridge of that is known.
    pub fn announced(&self, host_macs: &BTreeMap<NetworkId, Mac>) -> Vec<Announced> {
        let announced = self.bindings().filter_map(|binding| {
            let mac = match binding.is_host() {
                true => *host_macs.get(&binding.network)?,
                false => binding.mac,
            };
            Some(Announced {
                address: binding.address,
                mac,
                container: binding.name,
                network: binding.network,
            })
        });
        let mut list: Vec<Announced> = announced.collect();
        list.sort();
        list
    }

    /// Returns the names of containers by each id that the owner of a lease may have; `lease_id` returns the id in a
    /// stored owner.
    pub fn container_names(
        &self,
        lease_id: impl Fn(&str) -> Option<&str>,
    ) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        let is_named = |(key, member): &(&str, &PluggedMember)| {
            // Until it is adopted, what has no name is called by the id of its preparation.
            member.runtime == Runtime::Process || member.name != *key
        };
        for (key, member) in self.members.iter().filter(is_named) {
            names.insert(key.to_owned(), member.name.clone());
            names.insert(member.owner(key).to_owned(), member.name.clone());
        }
        for (_, end) in self.endpoints.iter() {
            let Some(owner) = &end.owner else { continue };
            names.insert(owner.id.clone(), owner.name.clone());
            let ids = end.leases().filter_map(|(_, owner)| lease_id(owner));
            names.extend(ids.map(|id| (id.to_owned(), owner.name.clone())));
        }
        names
    }

    /// Returns the addresses of containers in networks besides `default`, each with the container as `ps` lists it.
    pub fn network_addresses(&self) -> impl Iterator<Item = (String, IpAddr, NetworkId)> + '_ {
        let members = self.members.iter().filter(|(_, m)| m.is_live());
        let members = members.flat_map(|(key, member)| {
            let owner = member.owner(key);
            member.addresses().map(move |scoped| (owner, scoped))
        });
        let endpoints = self.endpoints.iter();
        let endpoints = endpoints.flat_map(|(id, end)| {
            let owner = end.owner_id(id);
            end.all_scoped().map(move |scoped| (owner, scoped))
        });
        let all = members.chain(endpoints);
        all.filter(|(_, scoped)| !scoped.network.is_default())
            .map(|(owner, scoped)| (owner.to_owned(), scoped.ip(), scoped.network))
    }

    /// Returns what is on the mesh, by container, as `ps` lists it; the host by the names and MAC addresses of its bridges.
    pub fn ps(&self, networks: NetworkView<'_>) -> Vec<AttachedContainer> {
        let mut found: BTreeMap<&str, AttachedContainer> = BTreeMap::new();
        for (key, member) in self.members.iter().filter(|(_, m)| m.is_live()) {
            let owner = member.owner(key);
            let row = found
                .entry(owner)
                .or_insert_with(|| row(owner, &member.name, member.runtime));
            let ports = member.ports.iter();
            row.interfaces.extend(ports.map(|port| {
                let mac = mac_for(port.address.addr());
                shown(&port.ifname, port.scoped(), mac, networks)
            }));
        }
        for (id, end) in self.endpoints.iter() {
            let owner = end.owner_id(id);
            let row = found
                .entry(owner)
                .or_insert_with(|| row(owner, &end.display_name(id), Runtime::Docker));
            let all = end.all_scoped();
            row.interfaces
                .extend(all.map(|scoped| shown(&end.ifname, scoped, end.mac(), networks)));
        }
        let mut host = row(EXPOSE, EXPOSE, Runtime::Host);
        let exposed = self.exposed.addresses().map(|scoped| {
            let mac = (networks.host_mac)(scoped.network);
            AttachedInterface {
                name: (networks.bridge)(scoped.network),
                mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
                address: scoped.address.to_string(),
                network: networks.shown(&scoped.network),
            }
        });
        host.interfaces.extend(exposed);
        let mut rows: Vec<AttachedContainer> =
            std::iter::once(host).chain(found.into_values()).collect();
        for row in &mut rows {
            row.interfaces
                .sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        }
        rows.retain(|row| !row.interfaces.is_empty());
        rows
    }
}

fn row(container: &str, name: &str, runtime: Runtime) -> AttachedContainer {
    AttachedContainer {
        container: container.to_owned(),
        name: name.to_owned(),
        runtime,
        interfaces: Vec::new(),
        notes: Vec::new(),
    }
}

fn shown(
    ifname: &str,
    scoped: ScopedAddress,
    mac: Mac,
    networks: NetworkView<'_>,
) -> AttachedInterface {
    AttachedInterface {
        name: ifname.to_owned(),
        mac: mac.to_string(),
        address: scoped.address.to_string(),
        network: networks.shown(&scoped.network),
    }
}
