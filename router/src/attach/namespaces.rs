//! `mesh run`: what is made ready before the container exists.

use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use mesh_proto::api::{AbandonRequest, AdoptRequest, PrepareRequest, Prepared, Runtime};

use super::acquire::{Ask, patience};
use super::kernel::Target;
use super::table::{Holder, HostsWish, Port, Process, Table};
use super::{AttachError, Attachments, Home, Late, Member, parse_addresses, texts};
use crate::driver::options;
use crate::engine::EngineError;
use crate::ipam::holder::holder;

impl Attachments {
    /// Makes ready what `mesh run` gives to the engine: networks of Docker, or a namespace with its interfaces up.
    ///
    /// # Errors
    /// An address that cannot be used, an engine that is away, the kernel's. Nothing is left of the attempt.
    pub async fn prepare(
        self: &Arc<Self>,
        request: &PrepareRequest,
    ) -> Result<Prepared, AttachError> {
        let args = parse_addresses(&request.addresses)?;
        let id = fresh_id()?;
        let ask = Ask {
            holder: holder(request.runtime, &request.name, &id),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        self.look_at_holders(&args).await?;
        self.prepare_hold(&id, &ask);
        let acquired = self.acquire(&ask, &args).await?;
        let addresses = &acquired.addresses;
        self.await_release(addresses).await;
        let _turn = self.operations.lock().await;
        let prepared = match request.runtime {
            Runtime::Docker => self.prepare_networks(request, id, &ask, addresses).await,
            Runtime::Podman | Runtime::Process => {
                self.prepare_namespace(request, id, addresses).await
            }
            Runtime::Host => Err(AttachError::Invalid(
                "the host runs no containers by itself; `mesh expose` gives it an address".into(),
            )),
        };
        if prepared.is_err() {
            self.give_back(&ask.holder, &acquired.fresh).await;
        }
        prepared
    }

    /// From now on the namespace lives as long as the container or the process.
    ///
    /// # Errors
    /// [`AttachError::NotPrepared`] after the caller's end or `abandon`; [`AttachError::NoProcess`].
    pub async fn adopt(self: &Arc<Self>, request: &AdoptRequest) -> Result<(), AttachError> {
        let _turn = self.operations.lock().await;
        let holder = match (&request.container, request.pid) {
            (Some(id), None) => Holder::Container(id.clone()),
            (None, Some(pid)) => Holder::Process(self.process(pid)?),
            _ => {
                return Err(AttachError::Invalid(
                    "adopt needs either a container or a pid".into(),
                ));
            }
        };
        self.change(|table| {
            let missing = || AttachError::NotPrepared(request.id.clone());
            let member = table.members.get_mut(&request.id).ok_or_else(missing)?;
            let Home::Namespace { holder: old, .. } = &mut member.home else {
                return Err(missing());
            };
            *old = holder;
            if !request.name.is_empty() {
                member.name.clone_from(&request.name);
            }
            Ok(())
        })?;
        if let Some(pid) = request.pid {
            self.watch(pid);
        } else {
            // It may have ended already.
            self.look_at_podman();
        }
        Ok(())
    }

    /// Undoes [`Attachments::prepare`]; success if that was done already.
    ///
    /// # Errors
    /// The namespace cannot be removed.
    pub async fn abandon(&self, request: &AbandonRequest) -> Result<(), AttachError> {
        let _turn = self.operations.lock().await;
        let is_ours = self
            .table()
            .members
            .get(&request.id)
            .is_some_and(|m| matches!(m.home, Home::Namespace { .. }));
        if is_ours {
            self.remove_member(&request.id).await?;
        }
        self.abandon_hold(&request.id).await;
        Ok(())
    }

    /// Takes a member out: its interfaces, its namespace if that is ours, its record.
    pub(super) async fn remove_member(&self, key: &str) -> Result<(), AttachError> {
        let Some(member) = self.table().members.get(key).cloned() else {
            return Ok(());
        };
        let tags: Vec<String> = member.ports.iter().map(|p| p.interface(key).tag).collect();
        self.on_kernel(move |kernel| {
            for tag in &tags {
                kernel.unplug(tag)?;
            }
            if let Home::Namespace { netns, .. } = &member.home {
                kernel.delete_netns(netns)?;
            }
            Ok(())
        })
        .await?;
        let gone = self.record(|table| table.members.remove(key));
        self.note_used(gone.iter().flat_map(|m| &m.ports).map(|port| port.address));
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn process(&self, pid: u32) -> Result<Process, AttachError> {
        let started = self
            .kernel
            .process_start(pid)
            .ok_or(AttachError::NoProcess(pid))?;
        Ok(Process { pid, started })
    }

    async fn prepare_networks(
        &self,
        request: &PrepareRequest,
        id: String,
        ask: &Ask,
        addresses: &[IpNet],
    ) -> Result<Prepared, AttachError> {
        let missing = || EngineError::Unavailable("this router does not use Docker".into());
        let docker = self.engines.of(Runtime::Docker).ok_or_else(missing)?;
        {
            let table = self.table();
            for address in addresses {
                // No container has the empty id: whoever holds the address is someone else.
                self.check_address(&table, *address, "")?;
            }
        }
        let by_name = docker.plugs_by_name().await?;
        let mut networks = Vec::new();
        let base = docker.network_base().await?;
        for (name, k, late) in connections(addresses, by_name, base) {
            docker.ensure_network(&name).await?;
            let multicast = request.multicast_route && is_first_ipv4(addresses, k);
            let held = self.allocator.covers(addresses[k].addr());
            let holder = if held { ask.holder.as_str() } else { "" };
            let wanted = options::format(addresses[k], multicast, late, holder);
            let wanted = wanted
                .iter()
                .map(|(key, value)| format!(",driver-opt={key}={value}"));
            networks.push(format!("name={name}{}", wanted.collect::<String>()));
        }
        Ok(Prepared {
            id,
            networks,
            netns: None,
            addresses: texts(addresses),
            ..Prepared::default()
        })
    }

    async fn prepare_namespace(
        self: &Arc<Self>,
        request: &PrepareRequest,
        id: String,
        addresses: &[IpNet],
    ) -> Result<Prepared, AttachError> {
        let caller = self.process(request.caller_pid)?;
        let netns = format!("{}{id}", self.netns_prefix);
        let member = Member {
            name: match request.name.is_empty() {
                true => id.clone(),
                false => request.name.clone(),
            },
            runtime: request.runtime,
            home: Home::Namespace {
                netns: netns.clone(),
                holder: Holder::Caller(caller),
            },
            ports: ports(addresses, request.multicast_route),
            without_dns: request.without_dns,
            hosts: HostsWish::default(),
            asleep: false,
        };
        self.change(|table| self.reserve(table, &id, &member))?;
        match self.fill_namespace(&id, &netns).await {
            Ok(path) => {
                self.watch(caller.pid);
                Ok(Prepared {
                    id,
                    networks: Vec::new(),
                    netns: Some(path.to_string_lossy().into_owned()),
                    addresses: texts(addresses),
                    ..Prepared::default()
                })
            }
            Err(error) => {
                if let Err(left) = self.remove_member(&id).await {
                    tracing::warn!(%left, %netns, "not all of a preparation could be undone; trying again");
                }
                Err(error)
            }
        }
    }

    fn reserve(&self, table: &mut Table, id: &str, member: &Member) -> Result<(), AttachError> {
        for port in &member.ports {
            self.check_address(table, port.address, id)?;
        }
        table.members.insert(id.to_owned(), member.clone());
        Ok(())
    }

    /// Makes a member's namespace if it is not there, and plugs what is missing in it.
    pub(super) async fn fill_namespace(
        &self,
        key: &str,
        netns: &str,
    ) -> Result<PathBuf, AttachError> {
        let name = netns.to_owned();
        let path = self
            .on_kernel(move |kernel| kernel.create_netns(&name))
            .await?;
        self.plug_all(key, Target::Path(path.clone())).await?;
        Ok(path)
    }

    /// Plugs every interface of a member that is not plugged, in order, and records their names.
    pub(super) async fn plug_all(&self, key: &str, target: Target) -> Result<(), AttachError> {
        let Some(member) = self.table().members.get(key).cloned() else {
            return Ok(());
        };
        for port in member.ports {
            let interface = port.interface(key);
            let target = target.clone();
            let ifname = self
                .on_kernel(move |kernel| kernel.plug(&target, &interface))
                .await?;
            self.record(|table| {
                let member = table.members.get_mut(key);
                let ports = member.into_iter().flat_map(|m| &mut m.ports);
                for p in ports.filter(|p| p.address == port.address) {
                    p.ifname.clone_from(&ifname);
                }
            });
        }
        Ok(())
    }
}

/// Interfaces for addresses; the first IPv4 one gets the multicast route, since a namespace has one such route only.
pub(super) fn ports(addresses: &[IpNet], multicast_route: bool) -> Vec<Port> {
    let indexed = addresses.iter().enumerate();
    indexed
        .map(|(k, address)| Port {
            ifname: String::new(),
            address: *address,
            multicast: multicast_route && is_first_ipv4(addresses, k),
        })
        .collect()
}

fn is_first_ipv4(addresses: &[IpNet], k: usize) -> bool {
    addresses.iter().position(|a| matches!(a, IpNet::V4(_))) == Some(k)
}

/// The network of each address, given by its index, and what Docker is not told of it. Where Docker goes by the names of
/// networks, addresses without their subnets get the first names.
fn connections(addresses: &[IpNet], by_name: bool, base: &str) -> Vec<(String, usize, Late)> {
    let late = |k: usize| match addresses[k] {
        _ if !is_in_other_subnet(addresses, k) => Late::No,
        // Of an IPv6 address there is a route even without its subnet.
        IpNet::V4(_) if by_name => Late::Subnet,
        _ => Late::Whole,
    };
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_by_key(|k| late(*k) != Late::Subnet);
    let mut names: Vec<String> = order.iter().map(|k| network_name(base, *k)).collect();
    names.sort();
    let pairs = names.into_iter().zip(order);
    pairs.map(|(name, k)| (name, k, late(k))).collect()
}

/// Whether another address brings a route that covers this one. Of several in one subnet, that is so for all but the
/// first of those with the widest.
fn is_in_other_subnet(addresses: &[IpNet], k: usize) -> bool {
    let address = addresses[k];
    addresses.iter().enumerate().any(|(other, subnet)| {
        (subnet.prefix_len(), other) < (address.prefix_len(), k) && subnet.contains(&address.addr())
    })
}

/// The Docker network of the k-th address of a container: it can be on each network once only.
fn network_name(base: &str, k: usize) -> String {
    match k {
        0 => base.to_owned(),
        k => format!("{base}-{k}"),
    }
}

/// 64 random bits in hexadecimal.
fn fresh_id() -> Result<String, AttachError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| AttachError::Invalid(format!("no random numbers from the kernel: {e}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.2.1.2` for an address that Docker is to set without its subnet, `-` for one that it is not to set.
    fn shown(addresses: &[&str], by_name: bool) -> Vec<String> {
        let addresses: Vec<IpNet> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let all = connections(&addresses, by_name, "mesh").into_iter();
        all.map(|(name, k, late)| match late {
            Late::No => format!("{name} {}", addresses[k]),
            Late::Subnet => format!("{name} {}", addresses[k].addr()),
            Late::Whole => format!("{name} -"),
        })
        .collect()
    }

    #[test]
    fn addresses_of_one_subnet_come_before_its_route() {
        for (addresses, expected) in [
            (vec!["10.2.1.1/24"], vec!["mesh 10.2.1.1/24"]),
            (
                vec!["10.2.1.1/24", "10.3.1.1/24"],
                vec!["mesh 10.2.1.1/24", "mesh-1 10.3.1.1/24"],
            ),
            (
                vec!["10.2.1.1/24", "10.2.1.2/24", "10.3.1.1/24", "10.3.1.2/24"],
                vec![
                    "mesh 10.2.1.2",
                    "mesh-1 10.3.1.2",
                    "mesh-2 10.2.1.1/24",
                    "mesh-3 10.3.1.1/24",
                ],
            ),
            // The widest subnet has the route, wherever it stands.
            (
                vec!["10.2.1.1/24", "10.2.2.1/16", "10.2.1.2/24"],
                vec!["mesh 10.2.1.1", "mesh-1 10.2.1.2", "mesh-2 10.2.2.1/16"],
            ),
            (
                vec!["fd00::1/64", "fd00::2/64"],
                vec!["mesh fd00::1/64", "mesh-1 -"],
            ),
        ] {
            assert_eq!(shown(&addresses, true), expected);
        }
        let addresses = ["10.2.1.1/24", "10.2.1.2/24"];
        assert_eq!(shown(&addresses, false), ["mesh 10.2.1.1/24", "mesh-1 -"]);
    }

    #[test]
    fn names_are_in_dockers_order() {
        let mut addresses: Vec<String> = (1..=12).map(|n| format!("10.{n}.0.1/16")).collect();
        addresses.push("10.1.0.2/16".into());
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let shown = shown(&addresses, true);
        assert!(
            shown.is_sorted_by_key(|line| line.split(' ').next()),
            "{shown:?}"
        );
        assert_eq!(shown[0], "mesh 10.1.0.2");
        assert_eq!(shown.len(), 13);
    }
}
