//! Names of this host's containers, and changes by the operator.
//!
//! The container name comes with its attachment. Host name, aliases and ports come from the engine, which may take
//! longer: until it answers, the container name is announced alone.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use change::{ChangeTarget, NameChangeError, attached_target};

use mesh_engine::container::is_part_of_id;
use mesh_engine::event::EngineEvent;
use mesh_host::docker::driver_options::is_prepared;
use mesh_host::exposure::ExposedName;
use mesh_host::hosts::HostsWish;
use mesh_names::{Container, Domain, LocalNames, ManualName, ManualNames, MeshName};
use mesh_proto::api::{AttachedContainer, DnsChange, EXPOSE, Runtime};
use mesh_proto::network::NetworkId;

use crate::containers::docker::DockerContainer;
use crate::containers::hosts_file::{HostsLines, path_of};
use crate::containers::naming::ContainerNaming;
use crate::containers::networks::InterfaceNetworks;
use crate::update::OwnNames;

/// All that is on the mesh on this host now.
#[derive(Debug)]
pub struct AttachedNow<'a> {
    /// All containers, and the host itself.
    pub rows: &'a [AttachedContainer],
    /// Networks of their interfaces.
    pub networks: InterfaceNetworks,
    /// Networks of the mesh that Docker's networks with containers of the mesh are, by their ids.
    pub docker_networks: BTreeMap<String, NetworkId>,
    /// Names of the host itself, with their networks.
    pub exposed: Vec<ExposedName>,
    /// Wishes of users about `/etc/hosts`, by container.
    pub wishes: BTreeMap<String, HostsWish>,
}

/// Effects of a look at the attachments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LookEffects {
    /// Containers that the engine is to be asked about.
    pub inspect: Vec<String>,
    /// Names that are not valid and were not known yet, one line each.
    pub warnings: Vec<String>,
    /// Docker containers on the mesh.
    pub docker: Vec<DockerContainer>,
    /// True if changes by the operator were forgotten, and the rest is to be stored.
    pub is_changed: bool,
}

/// New announcement of this host.
#[derive(Debug, PartialEq, Eq)]
pub struct NewAnnouncement {
    /// For the server of this host.
    pub own: OwnNames,
    /// For other routers, if it changed: empty if there are no names.
    pub statement: Option<Vec<u8>>,
}

/// Effects of an event of an engine.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EventEffects {
    /// Containers that the engine is to be asked about.
    pub inspect: Vec<String>,
    /// True if an owner of an endpoint may be known now.
    pub resolve_owners: bool,
    /// Container with its new name.
    pub renamed: Option<(String, String)>,
    /// Container that was removed.
    pub removed: Option<String>,
    /// True if changes by the operator were forgotten, and the rest is to be stored.
    pub is_changed: bool,
}

/// Names of this host.
#[derive(Debug)]
pub struct HostNames {
    domain: Domain,
    local: LocalNames,
    /// Last answer of the engine, by container.
    details: BTreeMap<String, ContainerNaming>,
    /// Pending queries by container; true if another one must follow.
    asked: BTreeMap<String, bool>,
    /// Last announcement of this host.
    own: OwnNames,
    /// Names of containers that are not valid in the mesh, one line each.
    unusable: Vec<String>,
    /// Number of answers from engines so far.
    inspections: u64,
}

impl HostNames {
    /// Returns the names of a host with these changes by the operator.
    pub fn new(manual: ManualNames, domain: Domain) -> Self {
        Self {
            domain,
            local: LocalNames::new(manual),
            details: BTreeMap::new(),
            asked: BTreeMap::new(),
            own: OwnNames::default(),
            unusable: Vec::new(),
            inspections: 0,
        }
    }

    /// Returns the changes by the operator.
    pub fn manual(&self) -> &ManualNames {
        self.local.manual()
    }

    /// Returns the number of names that do not fit into the announcement.
    pub fn left_out(&self) -> usize {
        self.local.left_out()
    }

    /// Returns the names that are not valid in the mesh, one line each.
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Updates the containers to those that are attached now.
    pub fn look(&mut self, mut attachments: AttachedNow<'_>) -> LookEffects {
        let rows = attachments.rows;
        let here: BTreeSet<&str> = rows.iter().map(|row| row.container.as_str()).collect();
        self.details.retain(|id, _| here.contains(id.as_str()));
        let mut inspect = Vec::new();
        for row in rows {
            if self.is_unknown(row) && self.begin_query(&row.container) {
                inspect.push(row.container.clone());
            }
        }
        // The host's row lets names added by the operator resolve to all addresses of the host.
        let named = rows
            .iter()
            .filter(|row| row.container == EXPOSE || is_named(row));
        let lines: BTreeSet<String> = rows.iter().flat_map(|row| self.unusable_of(row)).collect();
        let exposed = core::mem::take(&mut attachments.exposed);
        let containers = named.flat_map(|row| self.containers(row, &attachments));
        let containers = containers.chain(exposed.into_iter().map(host_name));
        self.local.set_containers(containers.collect());
        let is_new = |line: &&String| !self.unusable.contains(line);
        let warnings = lines.iter().filter(is_new).cloned().collect();
        self.unusable = lines.into_iter().collect();
        let docker = self.docker_containers(&attachments);
        // Changes to the names of a process end with it. For containers, engines report the end.
        let is_changed = self
            .local
            .retain(|id| !attached_only(id) || here.contains(id));
        LookEffects {
            inspect,
            warnings,
            docker,
            is_changed,
        }
    }

    /// Returns true if an engine knows more about a container than this host does.
    fn is_unknown(&self, row: &AttachedContainer) -> bool {
        let has_engine = matches!(row.runtime, Runtime::Docker | Runtime::Podman);
        has_engine
            && is_named(row)
            && !self.details.contains_key(&row.container)
            && !self.asked.contains_key(&row.container)
    }

    /// Notes that the engine is to be asked about a container. Returns false if it is being asked: it is asked again then.
    fn begin_query(&mut self, id: &str) -> bool {
        match self.asked.get_mut(id) {
            Some(again) => {
                *again = true;
                false
            }
            None => {
                self.asked.insert(id.to_owned(), false);
                true
            }
        }
    }

    /// Takes the answer of an engine about a container; `None` if it does not know the container. Returns true if it is to be
    /// asked again.
    pub fn inspected(&mut self, id: &str, answer: Option<ContainerNaming>) -> bool {
        self.inspections += 1;
        let details = ContainerNaming {
            heard: self.inspections,
            ..answer.unwrap_or_default()
        };
        self.details.insert(id.to_owned(), details);
        self.asked.remove(id) == Some(true) && self.begin_query(id)
    }

    /// Takes an event of an engine.
    pub fn handle_event(&mut self, event: EngineEvent) -> EventEffects {
        let mut effects = EventEffects::default();
        match event {
            EngineEvent::Connected => {
                effects.resolve_owners = true;
                let known: Vec<String> = self.details.keys().cloned().collect();
                let inspect = known.into_iter().filter(|id| self.begin_query(id));
                effects.inspect = inspect.collect();
            }
            EngineEvent::Changed(id) => {
                effects.resolve_owners = true;
                let is_known = self.details.contains_key(&id) || self.asked.contains_key(&id);
                if is_known && self.begin_query(&id) {
                    effects.inspect.push(id);
                }
            }
            EngineEvent::Renamed(id, name) => {
                // An answer that is on its way may have the old name.
                if let Some(is_outdated) = self.asked.get_mut(&id) {
                    *is_outdated = true;
                }
                effects.renamed = Some((id, name));
            }
            EngineEvent::NetworkCreated(..) => {}
            EngineEvent::Removed(id) => {
                effects.is_changed = self.local.retain(|container| container != id);
                effects.removed = Some(id);
            }
        }
        effects
    }

    /// Returns the announcement, if it changed since the last call.
    pub fn take_announcement(&mut self) -> Option<NewAnnouncement> {
        let own = OwnNames {
            entries: self.local.entries().clone(),
            denied: self.local.denied(),
            addresses: self.local.addresses(),
        };
        if self.own == own {
            return None;
        }
        let is_stated = self.own.entries == own.entries;
        self.own = own;
        Some(NewAnnouncement {
            own: self.own.clone(),
            statement: (!is_stated).then(|| self.local.statement().to_vec()),
        })
    }

    /// Adds a name in a network for the operator; that of the request is not read. Returns the changes from before, for
    /// [`HostNames::roll_back`].
    ///
    /// # Errors
    /// The request cannot be carried out; nothing is changed.
    pub fn add(
        &mut self,
        change: DnsChange,
        network: NetworkId,
        target: Option<ChangeTarget>,
    ) -> Result<ManualNames, NameChangeError> {
        let Some(name) = self.name(&change, target.as_ref())? else {
            return Err(NameChangeError::Nothing);
        };
        let elsewhere = target.as_ref().filter(|t| !t.may_be_in(&network));
        if let Some(target) = elsewhere {
            return Err(NameChangeError::OtherNetwork(target.name.clone()));
        }
        let added = ManualName {
            network,
            container: target.map(|target| target.id).unwrap_or_default(),
            name,
            addresses: change.addresses.into_iter().collect(),
        };
        let before = self.local.manual().clone();
        self.local.add(added)?;
        Ok(before)
    }

    /// Removes names in a network for the operator; that of the request is not read. Returns the changes from before, for
    /// [`HostNames::roll_back`].
    ///
    /// # Errors
    /// The request cannot be carried out; nothing is changed.
    pub fn remove(
        &mut self,
        change: &DnsChange,
        network: NetworkId,
        target: Option<ChangeTarget>,
    ) -> Result<ManualNames, NameChangeError> {
        if target.is_none() && change.name.is_none() {
            return Err(NameChangeError::Nothing);
        }
        let name = change.name.as_deref();
        let name = name.map(|n| self.known(&network, n)).transpose()?;
        let addresses = change.addresses.iter().copied().collect();
        let target = target.unwrap_or_else(|| ChangeTarget {
            id: String::new(),
            name: "this host".to_owned(),
            networks: BTreeSet::new(),
        });
        let before = self.local.manual().clone();
        let of = (network, target.id.as_str());
        match self.local.remove(of, name.as_ref(), &addresses)? {
            0 => Err(NameChangeError::NotThere(target.name)),
            _ => Ok(before),
        }
    }

    /// Undoes a change that could not be stored.
    pub fn roll_back(&mut self, before: ManualNames) {
        self.local.set_manual(before);
    }

    fn docker_containers(&self, attachments: &AttachedNow<'_>) -> Vec<DockerContainer> {
        let docker = attachments
            .rows
            .iter()
            .filter(|row| row.runtime == Runtime::Docker);
        let containers = docker.filter_map(|row| {
            let details = self.details.get(&row.container)?;
            let wish = attachments.wishes.get(&row.container);
            let wish = wish.cloned().unwrap_or_default();
            Some(self.docker_container(row, attachments, details, &wish))
        });
        containers.collect()
    }

    fn docker_container(
        &self,
        row: &AttachedContainer,
        attachments: &AttachedNow<'_>,
        details: &ContainerNaming,
        wish: &HostsWish,
    ) -> DockerContainer {
        let (networks, docker_networks) = (&attachments.networks, &attachments.docker_networks);
        let engine = &details.container;
        let is_ours = |domain: &String| domain.eq_ignore_ascii_case(self.domain.as_str());
        let is_told = engine.dns_search.iter().any(is_ours);
        let path = path_of(&row.container, &engine.hosts_file);
        let path = path.filter(|_| !engine.leave_hosts && !wish.leave());
        let addresses = networks.addresses(row).into_iter();
        let lines = HostsLines::new(
            &engine.hostname,
            addresses.flat_map(|(_, addresses)| addresses).collect(),
            wish.added().to_vec(),
        );
        DockerContainer {
            id: row.container.clone(),
            name: row.name.clone(),
            sandbox: PathBuf::from(&engine.sandbox),
            asks: engine.dns.clone(),
            is_told,
            is_untold: engine.networks.iter().any(|connection| {
                let is_ours = docker_networks.contains_key(&connection.network_id);
                is_ours && !is_prepared(&connection.options)
            }),
            hosts: path.map(|path| (path, lines)),
            networks: networks.asker(row),
            heard: details.heard,
        }
    }

    /// Returns a container in each of its networks, where it has the aliases that it was given there. Those of networks of
    /// the engine that are none of the mesh are known in all.
    fn containers(&self, row: &AttachedContainer, attachments: &AttachedNow<'_>) -> Vec<Container> {
        let details = self.details.get(&row.container);
        // Until the engine answers, only the container name is known; processes have no other.
        let mut names = details.map(|d| d.names.clone()).unwrap_or_default();
        let own = MeshName::given(&row.name, &self.domain).ok();
        if let Some(name) = &own
            && !names.contains(name)
        {
            let behind_hostname = details.is_some_and(|d| d.has_hostname);
            names.insert(usize::from(behind_hostname), name.clone());
        }
        let ports = details.map(|d| d.ports.clone()).unwrap_or_default();
        let is_in = |network: NetworkId| {
            move |id: &String| {
                let known = attachments.docker_networks.get(id);
                known.is_none_or(|known| *known == network)
            }
        };
        let is_called = |name: &&MeshName, network: NetworkId| {
            let given = details.and_then(|d| d.aliased.get(*name));
            own.as_ref() == Some(*name) || given.is_none_or(|ids| ids.iter().any(is_in(network)))
        };
        let there = attachments.networks.addresses(row).into_iter();
        there
            .map(|(network, addresses)| Container {
                id: row.container.clone(),
                network,
                names: names
                    .iter()
                    .filter(|name| is_called(name, network))
                    .cloned()
                    .collect(),
                addresses,
                ports: ports.clone(),
            })
            .collect()
    }

    /// Returns the names of a container that are not valid in the mesh, one line each.
    fn unusable_of(&self, row: &AttachedContainer) -> Vec<String> {
        let mut errors = match self.details.get(&row.container) {
            Some(details) => details.unusable.clone(),
            None => Vec::new(),
        };
        if row.container != EXPOSE && is_named(row) {
            let error = MeshName::given(&row.name, &self.domain).err();
            let error = error.filter(|error| !errors.contains(error));
            errors.extend(error);
        }
        let lines = errors.iter();
        lines
            .map(|error| {
                format!(
                    "container {} is not known by one of its names: {error}",
                    row.name
                )
            })
            .collect()
    }

    /// Returns the name in the request; by default the container's own name.
    fn name(
        &self,
        change: &DnsChange,
        target: Option<&ChangeTarget>,
    ) -> Result<Option<MeshName>, NameChangeError> {
        Ok(match (&change.name, target) {
            (Some(text), _) => Some(MeshName::parse(text, &self.domain)?),
            (None, Some(target)) => Some(MeshName::given(&target.name, &self.domain)?),
            (None, None) => None,
        })
    }

    /// Parses a name as users write it; names of this host also in the form of `status dns`.
    fn known(&self, network: &NetworkId, text: &str) -> Result<MeshName, NameChangeError> {
        let listed = MeshName::relative(text).ok();
        let entries = self.local.entries().of(network);
        let listed = listed.filter(|name| entries.iter().any(|e| e.name == *name));
        match listed {
            Some(name) => Ok(name),
            None => Ok(MeshName::parse(text, &self.domain)?),
        }
    }
}

/// Returns one name of the host in the form of a container.
fn host_name((network, name, addresses): ExposedName) -> Container {
    Container {
        id: EXPOSE.to_owned(),
        network,
        names: vec![name],
        addresses,
        ports: Vec::new(),
    }
}

/// Returns true if the displayed name is a real one: while the owner is unknown, it is a prefix of the id.
fn is_named(row: &AttachedContainer) -> bool {
    !is_part_of_id(&row.name, &row.container)
}

/// Returns true for ids of attachments without an engine; engines' ids have 64 digits.
fn attached_only(id: &str) -> bool {
    id.len() < 64
}

#[cfg(test)]
mod tests;
