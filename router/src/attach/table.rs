//! What is on the mesh on this host, as it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use mesh_proto::address::mac_for;
use mesh_proto::api::{EXPOSE, Runtime};
use mesh_proto::names::MeshName;
use serde::{Deserialize, Serialize};

use super::kernel::Interface;
use super::{EndpointOptions, Late};
use crate::engine::SHORT_ID;

/// Names that are put into the `/etc/hosts` of one container; further ones are refused.
pub(super) const MAX_ADDED_HOSTS: usize = 256;

/// Everything on the mesh on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// What the router plugs itself, by container id (running containers) or by the id of the preparation.
    pub(super) members: BTreeMap<String, Member>,
    /// What Docker plugs through the network driver, by endpoint id.
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    /// Addresses of the host itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) exposed: BTreeMap<IpNet, Exposure>,
    /// Addresses acquired for containers that are not there yet, by preparation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) prepared: BTreeMap<String, Promise>,
    /// Ids of Docker networks that are or were ours: stopped containers may still want them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) networks: BTreeSet<String>,
    /// Other bridges of the host that are joined to ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) bridges: BTreeSet<String>,
}

/// How the host is exposed with one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exposure {
    /// Whether addresses are translated on the way out of its subnet and into it.
    pub(super) masquerade: bool,
    /// Whether the host forwards between its subnet and everything else, not only what is outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) forward: bool,
    /// Its names in the mesh.
    pub(super) names: BTreeSet<MeshName>,
}

/// A container or a process that the router plugs itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    /// Container or command name.
    pub(super) name: String,
    pub(super) runtime: Runtime,
    pub(super) home: Home,
    pub(super) ports: Vec<Port>,
    /// Whether no queries are answered within its namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) without_dns: bool,
    /// What becomes of its `/etc/hosts`.
    #[serde(default, skip_serializing_if = "HostsWish::is_usual")]
    pub(super) hosts: HostsWish,
    /// Of a container in a namespace of ours: whether it is stopped. Its addresses are free then, and its interfaces have no
    /// carrier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) asleep: bool,
}

/// What the user wants of the `/etc/hosts` of a container that is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsWish {
    /// It is left alone.
    pub(crate) leave: bool,
    /// Names that are put into it.
    pub(crate) added: Vec<(String, IpAddr)>,
}

impl HostsWish {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another request wants; the last word counts.
    pub(super) fn take(&mut self, later: Self) {
        self.leave = later.leave;
        for (name, ip) in later.added {
            if !self.added.contains(&(name.clone(), ip)) && self.added.len() < MAX_ADDED_HOSTS {
                self.added.push((name, ip));
            }
        }
    }
}

/// Whose network namespace it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Home {
    /// The engine's: it ends with the process. None: the container is stopped, its addresses are free, and it is
    /// plugged again when it runs again.
    Container(Option<Process>),
    /// Ours, under this name; it ends with its holder.
    Namespace { netns: String, holder: Holder },
}

/// For what a preparation keeps its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promise {
    /// Under which name they are held.
    pub(super) holder: String,
    /// As long as it lives.
    pub(super) caller: Process,
}

/// A process that no reuse of its pid deceives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Clock ticks since boot.
    pub(super) started: u64,
}

/// For whom a namespace of ours is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holder {
    /// Prepared, not adopted: for the command that asked.
    Caller(Process),
    /// The command that runs in it.
    Process(Process),
    /// The podman container that joined it, running or asleep.
    Container(String),
}

/// One interface of a [`Member`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    /// Name in the container; empty until it is plugged.
    pub(super) ifname: String,
    pub(super) address: IpNet,
    pub(super) multicast: bool,
}

/// One endpoint of a Docker network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    /// Network id.
    pub(super) network: String,
    pub(super) address: IpNet,
    pub(super) multicast: bool,
    /// Whether we add the address after Docker has moved the interface.
    pub(super) late: bool,
    /// The end that Docker moves, by its name on the host; empty until it is made.
    pub(super) peer: String,
    /// The container's namespace, between Join and Leave.
    pub(super) sandbox: Option<PathBuf>,
    /// Whose it is; Docker tells only after Join.
    pub(super) owner: Option<Owner>,
    /// Name in the container; empty until Docker has moved it.
    pub(super) ifname: String,
    /// Under which name its address is held; empty in what earlier versions stored.
    #[serde(default)]
    pub(super) holder: String,
}

impl Endpoint {
    /// One that is not made yet, on the Docker network with this id.
    pub(super) fn new(network: &str, wanted: &EndpointOptions, holder: String) -> Self {
        Self {
            network: network.to_owned(),
            address: wanted.address,
            multicast: wanted.multicast,
            late: wanted.late != Late::No,
            peer: String::new(),
            sandbox: None,
            owner: None,
            ifname: String::new(),
            holder,
        }
    }
}

/// A Docker container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) id: String,
    pub(super) name: String,
}

/// Who has an address on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Container id, or the id of the preparation; the endpoint id while the container is not known.
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) address: IpNet,
    /// The endpoint, if it is one.
    pub(super) endpoint: Option<String>,
}

impl Table {
    /// Addresses in all.
    pub(super) fn len(&self) -> usize {
        let ports: usize = self.members.values().map(|m| m.ports.len()).sum();
        ports + self.endpoints.len() + self.exposed.len()
    }

    /// Every address in use, with its owner. Those of stopped containers are free.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> + '_ {
        let members = self.members.iter().filter(|(_, m)| m.is_live());
        let ports = members.flat_map(|(key, m)| {
            m.ports.iter().map(|port| Held {
                owner: m.owner(key).to_owned(),
                name: m.name.clone(),
                address: port.address,
                endpoint: None,
            })
        });
        let endpoints = self.endpoints.iter().map(|(id, end)| Held {
            owner: end.owner.as_ref().map_or(id, |o| &o.id).clone(),
            name: end.display_name(id),
            address: end.address,
            endpoint: Some(id.clone()),
        });
        let exposed = self.exposed.keys().map(|address| Held {
            owner: EXPOSE.to_owned(),
            name: EXPOSE.to_owned(),
            address: *address,
            endpoint: None,
        });
        ports.chain(endpoints).chain(exposed)
    }

    /// Who has `ip`.
    pub(super) fn holder(&self, ip: IpAddr) -> Option<Held> {
        self.held().find(|held| held.address.addr() == ip)
    }

    /// Whether an endpoint in this namespace waits for us. A late one waits for that with its subnet first.
    pub(super) fn is_unfinished(&self, sandbox: &Path) -> bool {
        let here = || {
            self.endpoints
                .values()
                .filter(|end| end.sandbox.as_deref() == Some(sandbox))
        };
        let is_covered = |late: &Endpoint| {
            here().any(|end| !end.late && end.address.contains(&late.address.addr()))
        };
        here().any(|end| end.ifname.is_empty() && (!end.late || is_covered(end)))
    }

    /// Whether a container sends multicast to an interface on the mesh already.
    pub(super) fn has_multicast(&self, owner: &str) -> bool {
        let ports = self.members.iter().filter(|(key, m)| m.owner(key) == owner);
        ports.flat_map(|(_, m)| &m.ports).any(|p| p.multicast)
            || self
                .endpoints
                .values()
                .any(|e| e.multicast && e.is_of(owner))
    }
}

impl Member {
    /// Container id; for what has none, the id of the preparation.
    pub(super) fn owner<'a>(&'a self, key: &'a str) -> &'a str {
        match &self.home {
            Home::Namespace {
                holder: Holder::Container(id),
                ..
            } => id,
            _ => key,
        }
    }

    /// Whether it runs, and has its addresses.
    pub(super) fn is_live(&self) -> bool {
        !self.asleep && self.home != Home::Container(None)
    }
}

impl Held {
    /// Whether it is the host itself.
    pub(super) fn is_host(&self) -> bool {
        self.owner == EXPOSE
    }

    /// Who it is, in words that complete "… is already used by …".
    pub(super) fn words(&self) -> String {
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

impl Port {
    /// What the kernel is asked to plug.
    pub(super) fn interface(&self, key: &str) -> Interface {
        interface(key, &self.ifname, self.address, self.multicast)
    }
}

impl Endpoint {
    /// What the kernel is asked to make.
    pub(super) fn interface(&self, id: &str) -> Interface {
        interface(id, &self.ifname, self.address, self.multicast)
    }

    /// Whether it is known to belong to this container.
    pub(super) fn is_of(&self, container: &str) -> bool {
        self.owner.as_ref().is_some_and(|o| o.id == container)
    }

    /// The container's name, or the beginning of the endpoint id until Docker tells the name.
    pub(super) fn display_name(&self, id: &str) -> String {
        match &self.owner {
            Some(owner) => owner.name.clone(),
            None => id.chars().take(SHORT_ID).collect(),
        }
    }
}

/// The name under which the kernel knows one address of one member or endpoint.
pub(crate) fn tag(key: &str, address: IpNet) -> String {
    format!("{key}/{address}")
}

/// Key and address of a tag.
pub(crate) fn parse_tag(tag: &str) -> Option<(&str, IpNet)> {
    let (key, address) = tag.split_once('/')?;
    Some((key, address.parse().ok()?))
}

fn interface(key: &str, name: &str, address: IpNet, multicast: bool) -> Interface {
    Interface {
        tag: tag(key, address),
        name: name.to_owned(),
        address,
        mac: mac_for(address.addr()),
        multicast,
    }
}
