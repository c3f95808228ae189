//! Containers and processes that the router plugs itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use crate::hosts::HostsWish;
use crate::interface::{ContainerInterface, is_first_ipv4};
use crate::network::hex;
use crate::network::scoped::ScopedAddress;

/// A process identified by pid and start time, which is safe against reuse of the pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its pid.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    pub started: u64,
}

/// The tenant of a namespace of ours, which is kept as long as there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tenant {
    /// The command that asked: the namespace is prepared, and not adopted yet.
    Caller(ProcessIdentity),
    /// The command that runs in it.
    Process(ProcessIdentity),
    /// The podman container that joined it, by its full id; running or stopped.
    Container(String),
}

/// The network namespace that a member is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// The engine's: it ends with the process. None: the container is stopped, its addresses are free, and it is
    /// plugged again when it runs again.
    Container(Option<ProcessIdentity>),
    /// Ours; it ends with its tenant.
    Namespace {
        /// Its name.
        netns: String,
        /// Whose it is.
        #[serde(rename = "holder")]
        tenant: Tenant,
    },
}

/// One interface of a [`PluggedMember`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberPort {
    /// Name in the container; empty until it is plugged.
    pub ifname: String,
    /// Address with the prefix length of its subnet.
    pub address: IpNet,
    /// True if 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// The network that it is plugged into.
    #[serde(default, skip_serializing_if = "NetworkId::is_default", with = "hex")]
    pub network: NetworkId,
}

impl MemberPort {
    /// Returns ports for addresses in one network; the first IPv4 one gets the multicast route.
    pub fn for_addresses(
        network: NetworkId,
        addresses: &[IpNet],
        multicast_route: bool,
    ) -> Vec<Self> {
        let indexed = addresses.iter().enumerate();
        indexed
            .map(|(k, address)| Self {
                ifname: String::new(),
                address: *address,
                multicast: multicast_route && is_first_ipv4(addresses, k),
                network,
            })
            .collect()
    }

    /// Returns its address in its network.
    pub fn scoped(&self) -> ScopedAddress {
        ScopedAddress::new(self.network, self.address)
    }

    /// Returns what the kernel is asked to plug for the member `key`.
    pub fn interface(&self, key: &str) -> ContainerInterface {
        ContainerInterface::new(key, &self.ifname, self.scoped(), self.multicast)
    }
}

/// A container or a process that the router plugs itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluggedMember {
    /// Container or command name.
    pub name: String,
    /// The engine, or none of them.
    pub runtime: Runtime,
    /// Its network namespace.
    pub home: Home,
    /// Its interfaces, in the order they are plugged.
    pub ports: Vec<MemberPort>,
    /// True if no DNS queries are answered within its namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_dns: bool,
    /// The user's wish about its `/etc/hosts`.
    #[serde(default, skip_serializing_if = "HostsWish::is_usual")]
    pub hosts: HostsWish,
    /// True for a container in a namespace of ours that is stopped: its addresses are free, and its interfaces have no
    /// carrier.
    #[serde(default, rename = "asleep", skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

impl PluggedMember {
    /// Returns a member that answers queries and leaves nothing aside, as most do.
    pub fn new(name: &str, runtime: Runtime, home: Home, ports: Vec<MemberPort>) -> Self {
        Self {
            name: name.to_owned(),
            runtime,
            home,
            ports,
            without_dns: false,
            hosts: HostsWish::default(),
            detached: false,
        }
    }

    /// Returns the container id; for a member without one, the id of its preparation, which is its key.
    pub fn owner<'a>(&'a self, key: &'a str) -> &'a str {
        match &self.home {
            Home::Namespace {
                tenant: Tenant::Container(id),
                ..
            } => id,
            _ => key,
        }
    }

    /// Returns whether it runs, and has its addresses.
    pub fn is_live(&self) -> bool {
        !self.detached && self.home != Home::Container(None)
    }

    /// Returns the tags of its interfaces.
    pub fn tags<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.ports.iter().map(move |port| port.interface(key).tag)
    }

    /// Returns its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = ScopedAddress> + '_ {
        self.ports.iter().map(MemberPort::scoped)
    }

    /// Returns the name of its namespace, if that is ours.
    pub fn netns(&self) -> Option<&str> {
        match &self.home {
            Home::Namespace { netns, .. } => Some(netns),
            Home::Container(_) => None,
        }
    }

    /// Returns the process whose end is the end of its namespace.
    fn process(&self) -> Option<ProcessIdentity> {
        match &self.home {
            Home::Container(process) => *process,
            Home::Namespace { tenant, .. } => match tenant {
                Tenant::Caller(process) | Tenant::Process(process) => Some(*process),
                Tenant::Container(_) => None,
            },
        }
    }
}

/// A container on the mesh whose DNS queries are answered within its own network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolverSite {
    /// Container id, or the id of the preparation: the key of its member.
    pub key: String,
    /// Container or command name.
    pub name: String,
    /// Its namespace.
    pub netns: NetnsPlace,
    /// Networks whose names it is answered, in the order of its interfaces.
    pub networks: Vec<NetworkId>,
}

/// The place where a network namespace is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetnsPlace {
    /// One of ours, under this name; not there before it is made.
    Named(String),
    /// That of a process, as long as it is this one.
    Process(ProcessIdentity),
}

impl ResolverSite {
    /// Returns the site of a member: podman containers and processes may have no other way to the router. Docker's
    /// containers reach its bridge, and Docker has a server of its own in each.
    fn of(key: &str, member: &PluggedMember) -> Option<Self> {
        let is_served = matches!(member.runtime, Runtime::Podman | Runtime::Process);
        if !is_served || member.without_dns || member.ports.is_empty() {
            return None;
        }
        let netns = match &member.home {
            Home::Namespace { netns, .. } => NetnsPlace::Named(netns.clone()),
            Home::Container(Some(process)) => NetnsPlace::Process(*process),
            Home::Container(None) => return None,
        };
        Some(Self {
            key: key.to_owned(),
            name: member.name.clone(),
            netns,
            networks: member.ports.iter().map(|port| port.network).collect(),
        })
    }
}

/// All members, by container id (running containers) or by the id of the preparation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberTable(BTreeMap<String, PluggedMember>);

impl MemberTable {
    /// Returns a member.
    pub fn get(&self, key: &str) -> Option<&PluggedMember> {
        self.0.get(key)
    }

    /// Returns all members, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PluggedMember)> {
        self.0.iter().map(|(key, member)| (key.as_str(), member))
    }

    /// Returns the members of a container, by its id or that of a preparation.
    pub fn of_owner<'a>(
        &'a self,
        owner: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a PluggedMember)> {
        self.iter()
            .filter(move |(key, member)| member.owner(key) == owner)
    }

    /// Returns the keys of the stopped members of a container, in namespaces of ours.
    pub fn detached_of(&self, owner: &str) -> Vec<String> {
        let detached = self.of_owner(owner).filter(|(_, member)| member.detached);
        detached.map(|(key, _)| key.to_owned()).collect()
    }

    /// Returns a process in a namespace of ours, by the id that `run` printed, or also by its name.
    pub fn find_process(&self, name: &str, also_by_name: bool) -> Option<(&str, &PluggedMember)> {
        let is_meant = |(key, member): &(&str, &PluggedMember)| {
            member.runtime == Runtime::Process
                && (*key == name || also_by_name && member.name == name)
        };
        let found = self.iter().find(is_meant);
        found.filter(|(_, member)| member.netns().is_some())
    }

    /// Returns the id and name of a container that may be gone from its engine, by either.
    pub fn find_container(&self, name: &str) -> Option<(String, String)> {
        let is_meant = |(key, member): &(&str, &PluggedMember)| {
            member.name == name || member.owner(key) == name
        };
        let (key, member) = self.iter().find(is_meant)?;
        let shown = match member.name.is_empty() {
            true => name,
            false => &member.name,
        };
        Some((member.owner(key).to_owned(), shown.to_owned()))
    }

    /// Returns the members in namespaces of podman containers that have one of these addresses in a network, with the
    /// container ids.
    pub fn podman_with(
        &self,
        network: NetworkId,
        addresses: &[IpAddr],
    ) -> Vec<(String, String, PluggedMember)> {
        let has = |member: &PluggedMember| {
            let mut has = member.addresses();
            has.any(|one| one.network == network && addresses.contains(&one.ip()))
        };
        let all = self.iter();
        let all = all.filter(|(_, m)| m.runtime == Runtime::Podman && has(m));
        all.filter_map(|(key, member)| match &member.home {
            Home::Namespace {
                tenant: Tenant::Container(id),
                ..
            } => Some((key.to_owned(), id.clone(), member.clone())),
            _ => None,
        })
        .collect()
    }

    /// Returns whether there is a container of this engine, running or stopped.
    pub fn has_runtime(&self, runtime: Runtime) -> bool {
        self.0.values().any(|member| member.runtime == runtime)
    }

    /// Returns whether a container sends multicast to one of its interfaces.
    pub fn has_multicast(&self, owner: &str) -> bool {
        let mut ports = self.of_owner(owner).flat_map(|(_, member)| &member.ports);
        ports.any(|port| port.multicast)
    }

    /// Returns the tags of all interfaces.
    pub fn tags(&self) -> impl Iterator<Item = String> + '_ {
        self.iter().flat_map(|(key, member)| member.tags(key))
    }

    /// Returns the tags of interfaces that are to have no carrier.
    pub fn resting_tags(&self) -> impl Iterator<Item = String> + '_ {
        let detached = self.iter().filter(|(_, member)| member.detached);
        detached.flat_map(|(key, member)| member.tags(key))
    }

    /// Returns whether a namespace of ours is that of a member.
    pub fn has_netns(&self, name: &str) -> bool {
        self.0.values().any(|member| member.netns() == Some(name))
    }

    /// Returns the pids of the processes whose end is the end of a namespace.
    pub fn pids(&self) -> Vec<u32> {
        let processes = self.0.values().filter_map(PluggedMember::process);
        processes.map(|process| process.pid).collect()
    }

    /// Returns the users' wishes about `/etc/hosts`, by container.
    pub fn hosts_wishes(&self) -> BTreeMap<String, HostsWish> {
        self.iter()
            .map(|(key, member)| (member.owner(key).to_owned(), member.hosts.clone()))
            .collect()
    }

    /// Returns the containers that are answered within their namespaces, sorted.
    pub fn resolver_sites(&self) -> Vec<ResolverSite> {
        self.iter()
            .filter_map(|(key, member)| ResolverSite::of(key, member))
            .collect()
    }

    /// Adds a member, or replaces it.
    pub fn insert(&mut self, key: &str, member: PluggedMember) {
        self.0.insert(key.to_owned(), member);
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut PluggedMember> {
        self.0.get_mut(key)
    }

    /// Returns a member, which is `made` if there is none.
    pub fn entry(&mut self, key: &str, made: impl FnOnce() -> PluggedMember) -> &mut PluggedMember {
        self.0.entry(key.to_owned()).or_insert_with(made)
    }

    /// Removes a member.
    pub fn remove(&mut self, key: &str) -> Option<PluggedMember> {
        self.0.remove(key)
    }

    /// Removes all members.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives a prepared namespace to the container or process that lives in it from now on, under its name unless that is
    /// empty. Returns false if nothing is prepared under this id.
    pub fn adopt(&mut self, id: &str, by: Tenant, name: &str) -> bool {
        let Some(member) = self.0.get_mut(id) else {
            return false;
        };
        let Home::Namespace { tenant, .. } = &mut member.home else {
            return false;
        };
        *tenant = by;
        if !name.is_empty() {
            name.clone_into(&mut member.name);
        }
        true
    }

    /// Notes that a container in a namespace of ours stopped.
    pub fn set_detached(&mut self, key: &str) {
        if let Some(member) = self.0.get_mut(key) {
            member.detached = true;
        }
    }

    /// Notes that a container runs again in its namespace of ours, with all addresses but the lost ones.
    pub(crate) fn set_attached(&mut self, key: &str, lost: &[MemberPort]) {
        if let Some(member) = self.0.get_mut(key) {
            member.ports.retain(|port| !lost.contains(port));
            member.detached = false;
        }
    }

    /// Notes that a container of an engine has no process any more.
    pub fn set_stopped(&mut self, key: &str) {
        if let Some(member) = self.0.get_mut(key) {
            member.home = Home::Container(None);
        }
    }

    /// Notes that a container of an engine runs as `process`, with these ports, none of which is plugged yet.
    pub(crate) fn set_running(
        &mut self,
        key: &str,
        process: ProcessIdentity,
        ports: Vec<MemberPort>,
    ) {
        if let Some(member) = self.0.get_mut(key) {
            member.ports = ports;
            for port in &mut member.ports {
                port.ifname.clear();
            }
            member.home = Home::Container(Some(process));
        }
    }

    /// Notes the name of a plugged interface.
    pub fn set_ifname(&mut self, key: &str, address: ScopedAddress, ifname: &str) {
        let ports = self.0.get_mut(key).into_iter().flat_map(|m| &mut m.ports);
        for port in ports.filter(|port| port.scoped() == address) {
            ifname.clone_into(&mut port.ifname);
        }
    }

    /// Removes addresses of a member; with the last one a container of an engine goes, too.
    pub fn remove_ports(&mut self, key: &str, addresses: &[ScopedAddress]) {
        let Some(member) = self.0.get_mut(key) else {
            return;
        };
        member
            .ports
            .retain(|port| !addresses.contains(&port.scoped()));
        if member.ports.is_empty() && matches!(member.home, Home::Container(_)) {
            self.0.remove(key);
        }
    }

    /// Notes another name of a container.
    pub fn rename(&mut self, container: &str, name: &str) {
        for (key, member) in &mut self.0 {
            if member.owner(key) == container {
                name.clone_into(&mut member.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessIdentity = ProcessIdentity {
        pid: 7,
        started: 70,
    };

    fn member(runtime: Runtime, home: Home, addresses: &[&str]) -> PluggedMember {
        let addresses: Vec<IpNet> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let ports = MemberPort::for_addresses(NetworkId::DEFAULT, &addresses, true);
        PluggedMember::new("web", runtime, home, ports)
    }

    fn pod(tenant: Tenant) -> PluggedMember {
        let netns = "mesh-ns-1".to_owned();
        let home = Home::Namespace { netns, tenant };
        member(Runtime::Podman, home, &["10.2.1.1/24"])
    }

    fn table(members: &[(&str, PluggedMember)]) -> MemberTable {
        let mut table = MemberTable::default();
        for (key, member) in members {
            table.insert(key, member.clone());
        }
        table
    }

    #[test]
    fn a_prepared_namespace_is_adopted_under_its_name() {
        let mut table = table(&[("p1", pod(Tenant::Caller(PROCESS)))]);
        assert_eq!(table.pids(), [7]);
        assert!(!table.adopt("p2", Tenant::Container("c".into()), ""));
        assert!(table.adopt("p1", Tenant::Container("c".into()), "pod"));
        let member = table.get("p1").unwrap();
        assert_eq!((member.owner("p1"), member.name.as_str()), ("c", "pod"));
        assert_eq!(
            table.find_container("pod"),
            Some(("c".into(), "pod".into()))
        );
        assert!(table.pids().is_empty());
        assert!(!table.adopt("c", Tenant::Process(PROCESS), ""));
    }

    #[test]
    fn a_stopped_pod_rests_and_is_found_by_its_addresses() {
        let mut table = table(&[("p1", pod(Tenant::Container("c".into())))]);
        assert_eq!(table.resting_tags().count(), 0);
        table.set_detached("p1");
        assert!(!table.get("p1").unwrap().is_live());
        assert_eq!(table.detached_of("c"), ["p1"]);
        assert_eq!(table.resting_tags().collect::<Vec<_>>(), ["p1/10.2.1.1/24"]);
        let [one, two] = ["10.2.1.1", "10.2.1.2"].map(|ip| [ip.parse().unwrap()]);
        let found = table.podman_with(NetworkId::DEFAULT, &one);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("p1", "c"));
        assert!(table.podman_with(NetworkId::DEFAULT, &two).is_empty());
        assert!(table.podman_with(NetworkId([7; 16]), &one).is_empty());
        table.set_attached("p1", &[]);
        assert!(table.get("p1").unwrap().is_live());
    }

    #[test]
    fn a_container_goes_with_its_last_address_and_a_namespace_stays() {
        let home = Home::Container(Some(PROCESS));
        let two = ["10.2.1.1/24", "10.2.1.2/24"];
        let web = member(Runtime::Docker, home, &two);
        let mut table = table(&[("c", web), ("p1", pod(Tenant::Caller(PROCESS)))]);
        let [one, two] = two.map(|a| a.parse().unwrap());
        table.remove_ports("c", &[one]);
        assert_eq!(
            table.get("c").unwrap().addresses().collect::<Vec<_>>(),
            [two]
        );
        table.remove_ports("c", &[two]);
        assert!(table.get("c").is_none());
        table.remove_ports("p1", &[one]);
        assert!(table.get("p1").unwrap().ports.is_empty());
    }

    #[test]
    fn queries_are_answered_in_namespaces_of_podman_and_processes_that_have_addresses() {
        let process = Home::Container(Some(PROCESS));
        let pod_of_process = member(Runtime::Podman, process.clone(), &["10.2.1.1/24"]);
        let site = ResolverSite::of("c", &pod_of_process).unwrap();
        assert_eq!(site.netns, NetnsPlace::Process(PROCESS));
        let site = ResolverSite::of("p1", &pod(Tenant::Caller(PROCESS))).unwrap();
        assert_eq!(site.netns, NetnsPlace::Named("mesh-ns-1".into()));
        let none = [
            member(Runtime::Docker, process.clone(), &["10.2.1.1/24"]),
            member(Runtime::Podman, Home::Container(None), &["10.2.1.1/24"]),
            member(Runtime::Podman, process, &[]),
            PluggedMember {
                without_dns: true,
                ..pod_of_process
            },
        ];
        let in_network = PluggedMember {
            ports: MemberPort::for_addresses(
                NetworkId([7; 16]),
                &["10.2.1.1/24".parse().unwrap()],
                true,
            ),
            ..pod(Tenant::Caller(PROCESS))
        };
        let site = ResolverSite::of("p1", &in_network).unwrap();
        assert_eq!(site.networks, [NetworkId([7; 16])]);
        for member in none {
            assert_eq!(ResolverSite::of("c", &member), None, "{member:?}");
        }
    }

    #[test]
    fn the_multicast_route_goes_to_the_first_ipv4_address() {
        let home = Home::Container(Some(PROCESS));
        let all = ["fd00::1/64", "10.2.1.1/24", "10.3.1.1/24"];
        let member = member(Runtime::Docker, home, &all);
        let with: Vec<bool> = member.ports.iter().map(|port| port.multicast).collect();
        assert_eq!(with, [false, true, false]);
    }
}
