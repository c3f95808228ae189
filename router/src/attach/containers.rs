//! `mesh attach` and `mesh detach`: containers that run already.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_proto::address::AddressArg;
use mesh_proto::api::{AttachRequest, ContainerAddresses, DetachRequest, Runtime};

use super::acquire::{Ask, patience};
use super::kernel::Target;
use super::namespaces::ports;
use super::table::{Held, HostsWish, MAX_ADDED_HOSTS, Process, Table, tag};
use super::{AttachError, Attachments, Home, Member, parse_addresses, texts};
use crate::driver::options;
use crate::engine::EngineError;
use crate::ipam::holder::holder;

/// `--no-rewrite-hosts`, and `--add-host NAME:ADDRESS`, checked.
fn hosts_wish(request: &AttachRequest) -> Result<HostsWish, AttachError> {
    let parse = |text: &String| {
        let (name, ip) = text.split_once(':')?;
        let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(fit);
        let ip = ip
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()?;
        is_name.then(|| (name.to_owned(), ip))
    };
    let wrong = |text: &String| {
        AttachError::Invalid(format!(
            "--add-host '{}': must be a name and an address, like db:10.2.1.7",
            text.escape_debug()
        ))
    };
    if request.add_host.len() > MAX_ADDED_HOSTS {
        let message = format!("--add-host: at most {MAX_ADDED_HOSTS} names are possible");
        return Err(AttachError::Invalid(message));
    }
    let all = request
        .add_host
        .iter()
        .map(|text| parse(text).ok_or_else(|| wrong(text)));
    Ok(HostsWish {
        leave: request.no_rewrite_hosts,
        added: all.collect::<Result<_, _>>()?,
    })
}

/// What `attach` plugs into.
struct Subject {
    /// Key of its member in the table.
    key: String,
    /// Container id, as in [`Held::owner`].
    owner: String,
    name: String,
    /// For a container of an engine: how its member begins.
    container: Option<(Runtime, Process)>,
    target: Target,
}

/// A process in a namespace of ours.
struct FoundProcess {
    key: String,
    name: String,
    netns: String,
}

impl Attachments {
    /// Plugs a running container; an address it has already is success.
    ///
    /// # Errors
    /// An address that is used elsewhere, a container that is not there, not running, or on the host's network; the
    /// kernel's. Nothing is left of the attempt.
    pub async fn attach(
        self: &Arc<Self>,
        request: &AttachRequest,
    ) -> Result<ContainerAddresses, AttachError> {
        let args = parse_addresses(&request.addresses)?;
        let subject = self.subject(request.runtime, &request.container).await?;
        let ask = Ask {
            holder: self.holder_of(&subject),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let args = self.known_of(&subject.owner, &args)?;
        self.look_at_holders(&args).await?;
        let acquired = self.acquire(&ask, &args).await?;
        self.await_release(&acquired.addresses).await;
        let attached = self.attach_to(request, &acquired.addresses).await;
        if attached.is_err() {
            self.give_back(&ask.holder, &acquired.fresh).await;
        }
        attached
    }

    async fn attach_to(
        self: &Arc<Self>,
        request: &AttachRequest,
        addresses: &[IpNet],
    ) -> Result<ContainerAddresses, AttachError> {
        let _turn = self.operations.lock().await;
        // Looked up again: it may have ended meanwhile.
        let subject = self.subject(request.runtime, &request.container).await?;
        // It runs, whatever was seen last.
        for key in self.sleepers_of(&subject.owner) {
            self.rouse(&key).await?;
        }
        let (new, woken) =
            self.change(|table| self.reserve_for(table, &subject, addresses, request))?;
        let attached = ContainerAddresses {
            container: subject.owner.clone(),
            name: subject.name.clone(),
            addresses: texts(addresses),
        };
        if new.is_empty() && !woken {
            return Ok(attached);
        }
        if let Err(error) = self.plug_all(&subject.key, subject.target.clone()).await {
            self.take_out(&subject.key, &new).await;
            return Err(error);
        }
        if let Some((_, process)) = &subject.container {
            self.watch(process.pid);
        }
        Ok(attached)
    }

    /// Unplugs a container, running or not, from some or all of its addresses.
    ///
    /// # Errors
    /// A container that is not there, an address it does not have; then nothing is done.
    pub async fn detach(&self, request: &DetachRequest) -> Result<ContainerAddresses, AttachError> {
        let mut wanted: Vec<AddressArg> = Vec::new();
        for arg in &request.addresses {
            wanted.push(arg.parse()?);
        }
        let _turn = self.operations.lock().await;
        let (owner, name) = self.owner_of(request.runtime, &request.container).await?;
        self.resolve_owners().await;
        let mut has = self.held_by(&owner);
        has.extend(self.promised_to(request.runtime, &owner).await);
        if !wanted.is_empty() {
            let all = std::mem::take(&mut has);
            for arg in wanted {
                let found = self.matching(&all, arg)?;
                if found.is_empty() {
                    return Err(AttachError::NotAttached {
                        what: arg,
                        name: name.clone(),
                    });
                }
                has.extend(found);
            }
        }
        for held in &has {
            self.detach_one(held).await?;
        }
        // What nobody has any more is free.
        self.wake.notify_one();
        let gone: Vec<IpNet> = has.iter().map(|held| held.address).collect();
        Ok(ContainerAddresses {
            container: owner,
            name,
            addresses: texts(&gone),
        })
    }

    /// Of what a container has, what an argument means.
    fn matching(&self, all: &[Held], arg: AddressArg) -> Result<Vec<Held>, AttachError> {
        let subnet = match arg {
            AddressArg::Ip(ip) => IpNet::from(ip.addr()),
            AddressArg::Net(net) => net,
            AddressArg::Default => self.default_subnet()?.into(),
        };
        let is_meant = |held: &&Held| match arg {
            AddressArg::Ip(ip) => held.address.addr() == ip.addr(),
            _ => held.address.trunc() == subnet,
        };
        Ok(all.iter().filter(is_meant).cloned().collect())
    }

    /// Under which name what it is attached to is held.
    fn holder_of(&self, subject: &Subject) -> String {
        match &subject.container {
            Some((runtime, _)) => holder(*runtime, "", &subject.owner),
            None => holder(Runtime::Process, "", &subject.owner),
        }
    }

    /// Arguments, with addresses that the container has already in place of subnets.
    fn known_of(&self, owner: &str, args: &[AddressArg]) -> Result<Vec<AddressArg>, AttachError> {
        let has = self.held_by(owner);
        let known = |arg: &AddressArg| {
            if matches!(arg, AddressArg::Ip(_)) {
                return Ok(*arg);
            }
            let found = self.matching(&has, *arg)?;
            Ok(found
                .first()
                .map_or(*arg, |held| AddressArg::Ip(held.address)))
        };
        args.iter().map(known).collect()
    }

    /// What a container has, a stopped one included.
    fn held_by(&self, owner: &str) -> Vec<Held> {
        let table = self.table();
        let mut has: Vec<Held> = table.held().filter(|held| held.owner == owner).collect();
        let members = table.members.iter();
        for (_, member) in members.filter(|(key, m)| m.owner(key) == owner && !m.is_live()) {
            has.extend(member.ports.iter().map(|port| Held {
                owner: owner.to_owned(),
                name: member.name.clone(),
                address: port.address,
                endpoint: None,
            }));
        }
        has
    }

    /// What Docker keeps for a stopped container, by the networks that it is to be on.
    async fn promised_to(&self, runtime: Option<Runtime>, owner: &str) -> Vec<Held> {
        let Ok((engine, container)) = self.engines.find(runtime, owner).await else {
            return Vec::new();
        };
        if container.running || engine.runtime() != Runtime::Docker {
            return Vec::new();
        }
        let connections = container.networks.iter();
        let promised = connections.filter_map(|connection| {
            let (address, _) = options::promise(&connection.options)?;
            Some(Held {
                owner: owner.to_owned(),
                name: container.name.clone(),
                address,
                endpoint: Some(connection.network.clone()),
            })
        });
        promised.collect()
    }

    async fn detach_one(&self, held: &Held) -> Result<(), AttachError> {
        if let Some(id) = &held.endpoint {
            let network = self
                .table()
                .endpoints
                .get(id)
                .map(|end| end.network.clone());
            let network = network.unwrap_or_else(|| id.clone());
            if let Some(docker) = self.engines.of(Runtime::Docker) {
                match docker.disconnect(&network, &held.owner).await {
                    // Not one of Docker's any more.
                    Ok(()) | Err(EngineError::NoContainer(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // Docker has told the driver by now; if it knew nothing of the endpoint, it goes all the same.
            self.delete_endpoint(id).await;
            return Ok(());
        }
        let keys: Vec<String> = {
            let table = self.table();
            let members = table.members.iter();
            let has = |m: &Member| m.ports.iter().any(|p| p.address == held.address);
            let ours = members.filter(|(key, m)| m.owner(key) == held.owner && has(m));
            ours.map(|(key, _)| key.clone()).collect()
        };
        for key in keys {
            let tag = tag(&key, held.address);
            self.on_kernel(move |kernel| kernel.unplug(&tag)).await?;
            self.forget_ports(&key, &[held.address]);
        }
        Ok(())
    }

    /// Undoes the part of an attachment that was made; what resists is left to the reconciler.
    async fn take_out(&self, key: &str, addresses: &[IpNet]) {
        for address in addresses {
            let tag = tag(key, *address);
            if let Err(error) = self.on_kernel(move |kernel| kernel.unplug(&tag)).await {
                tracing::warn!(%error, %address, "not all of an attachment could be undone");
            }
        }
        self.forget_ports(key, addresses);
    }

    fn forget_ports(&self, key: &str, addresses: &[IpNet]) {
        self.note_used(addresses.iter().copied());
        self.record(|table| {
            let Some(member) = table.members.get_mut(key) else {
                return;
            };
            member
                .ports
                .retain(|port| !addresses.contains(&port.address));
            if member.ports.is_empty() && matches!(member.home, Home::Container(_)) {
                table.members.remove(key);
            }
        });
    }

    /// Enters new addresses for a subject: those it did not have, and whether it was restarted unnoticed.
    fn reserve_for(
        &self,
        table: &mut Table,
        subject: &Subject,
        addresses: &[IpNet],
        request: &AttachRequest,
    ) -> Result<(Vec<IpNet>, bool), AttachError> {
        let hosts = hosts_wish(request)?;
        let is_docker = matches!(subject.container, Some((Runtime::Docker, _)));
        if !is_docker && !hosts.added.is_empty() {
            let message = format!(
                "--add-host: {} has no /etc/hosts that the router changes; only Docker's containers have",
                subject.name
            );
            return Err(AttachError::Invalid(message));
        }
        let mut woken = false;
        if let Some((_, process)) = &subject.container {
            woken = self.wake_member(table, &subject.key, *process);
        }
        let mut new = Vec::new();
        for address in addresses {
            if !self.check_address(table, *address, &subject.owner)? {
                new.push(*address);
            }
        }
        let multicast = request.multicast_route && !table.has_multicast(&subject.owner);
        if let Some((runtime, process)) = &subject.container
            && !new.is_empty()
        {
            let member = || Member {
                name: subject.name.clone(),
                runtime: *runtime,
                home: Home::Container(Some(*process)),
                ports: Vec::new(),
                without_dns: false,
                hosts: HostsWish::default(),
                asleep: false,
            };
            table
                .members
                .entry(subject.key.clone())
                .or_insert_with(member);
        }
        if let Some(member) = table.members.get_mut(&subject.key) {
            member.ports.extend(ports(&new, multicast));
            member.without_dns |= request.without_dns;
            member.hosts.take(hosts);
        }
        Ok((new, woken))
    }

    /// A stopped container runs again, or runs as another process: it is live with the addresses that are still free.
    /// Whether that was so.
    pub(super) fn wake_member(&self, table: &mut Table, key: &str, process: Process) -> bool {
        let Some(member) = table.members.get(key) else {
            return false;
        };
        if !matches!(member.home, Home::Container(home) if home != Some(process)) {
            return false;
        }
        let mut ports = member.ports.clone();
        let was_live = member.is_live();
        ports.retain(|port| {
            let free = was_live || self.check_address(table, port.address, key).is_ok();
            if !free {
                tracing::warn!(address = %port.address, container = key,
                    "a restarted container lost its address, which another container has now");
            }
            free
        });
        for port in &mut ports {
            port.ifname.clear();
        }
        if let Some(member) = table.members.get_mut(key) {
            member.ports = ports;
            member.home = Home::Container(Some(process));
        }
        true
    }

    async fn subject(&self, runtime: Option<Runtime>, name: &str) -> Result<Subject, AttachError> {
        if let Some(subject) = self.namespaced(runtime, name).await? {
            return Ok(subject);
        }
        let (engine, container) = self.engines.find(runtime, name).await?;
        let pid = container.attachable()?;
        let process = self.process(pid)?;
        Ok(Subject {
            key: container.id.clone(),
            owner: container.id,
            name: container.name,
            container: Some((engine.runtime(), process)),
            target: Target::Pid(pid),
        })
    }

    /// A process in a namespace of ours, by the id that `run` printed or by its name.
    async fn namespaced(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<Option<Subject>, AttachError> {
        let Some(found) = self.find_process(runtime, name) else {
            return match runtime {
                Some(Runtime::Process) => Err(EngineError::NoContainer(name.to_owned()).into()),
                _ => Ok(None),
            };
        };
        let path = self
            .on_kernel(move |kernel| kernel.create_netns(&found.netns))
            .await?;
        Ok(Some(Subject {
            owner: found.key.clone(),
            key: found.key,
            name: found.name,
            container: None,
            target: Target::Path(path),
        }))
    }

    fn find_process(&self, runtime: Option<Runtime>, name: &str) -> Option<FoundProcess> {
        if runtime.is_some_and(|r| r != Runtime::Process) {
            return None;
        }
        let table = self.table();
        let named = |key: &str, m: &Member| {
            m.runtime == Runtime::Process
                && (key == name || runtime == Some(Runtime::Process) && m.name == name)
        };
        let (key, member) = table.members.iter().find(|(key, m)| named(key, m))?;
        match &member.home {
            Home::Namespace { netns, .. } => Some(FoundProcess {
                key: key.clone(),
                name: member.name.clone(),
                netns: netns.clone(),
            }),
            Home::Container(_) => None,
        }
    }

    /// Id and name of a container to be detached: it may be stopped, or gone from its engine.
    async fn owner_of(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<(String, String), AttachError> {
        if let Some(found) = self.find_process(runtime, name) {
            return Ok((found.key, found.name));
        }
        let error = match self.engines.find(runtime, name).await {
            Ok((_, container)) => return Ok((container.id, container.name)),
            Err(error) => error,
        };
        let table = self.table();
        let known = table
            .members
            .iter()
            .find(|(key, m)| m.name == name || m.owner(key) == name);
        let found = known.map(|(key, m)| {
            let name = if m.name.is_empty() { name } else { &m.name };
            (m.owner(key).to_owned(), name.to_owned())
        });
        // What `ps` lists of an endpoint whose container Docker does not tell, or not any more.
        let listed = table
            .held()
            .find(|held| held.endpoint.is_some() && (held.owner == name || held.name == name));
        let found = found.or(listed.map(|held| (held.owner, held.name)));
        found.ok_or(error.into())
    }
}
