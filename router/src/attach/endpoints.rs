//! What the Docker network driver asks for. None of it waits for dockerd, which holds locks while it asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_proto::address::AddressArg;
use mesh_proto::api::Runtime;
use mesh_proto::ids::Mac;

use super::acquire::Ask;
use super::kernel::{Add, Kernel, KernelError};
use super::table::{Owner, Table};
use super::{AttachError, Attachments, Endpoint};
use crate::driver::Joined;
use crate::ipam::holder::holder;

/// How long the start of a container may wait for what Docker does not do.
const SETTLE_WAIT: Duration = Duration::from_secs(1);
const SETTLE_POLL: Duration = Duration::from_millis(2);
/// How long Docker may take from Join until the interface is in the container.
const FINISH_WAIT: Duration = Duration::from_secs(30);
/// How long Docker may take from one interface of a container to the last.
const COVER_WAIT: Duration = Duration::from_secs(10);
/// How long an address may take that nobody claimed before: another router may own its space.
const CLAIM_WAIT: Duration = Duration::from_secs(5);

/// What an endpoint is to be, from the options of its network connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// Its address with the prefix length of its subnet.
    pub address: IpNet,
    /// Whether 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// What of its address Docker is not told.
    pub late: Late,
    /// Under which name its address is held; empty when it was not prepared by `mesh run`.
    pub holder: String,
}

/// What of an address the router gives to the interface itself, once Docker has plugged it: Docker refuses an address
/// when the container has a route that covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing: Docker does all of it.
    No,
    /// The subnet: Docker gives the address alone, as 10.2.1.1/32, which has no route, and must do so before it plugs
    /// what routes the subnet.
    Subnet,
    /// All of it.
    Whole,
}

impl Attachments {
    /// Reserves the address and makes the pair; returns the MAC of the container's interface.
    ///
    /// # Errors
    /// The address is used; the kernel's. Nothing is left of the attempt.
    pub(crate) async fn create_endpoint(
        &self,
        id: &str,
        network: &str,
        wanted: Option<EndpointOptions>,
    ) -> Result<(EndpointOptions, Mac), AttachError> {
        let Some(wanted) = wanted else {
            return self.create_chosen(id, network).await;
        };
        let mac = self.create_wanted(id, network, &wanted).await?;
        Ok((wanted, mac))
    }

    /// For a container that Docker connects without saying which address: the next one of the default subnet, as long as
    /// the endpoint lasts.
    async fn create_chosen(
        &self,
        id: &str,
        network: &str,
    ) -> Result<(EndpointOptions, Mac), AttachError> {
        let wanted = self.choose(id).await?;
        let made = self.create_wanted(id, network, &wanted).await;
        if made.is_err() {
            self.give_back(&wanted.holder, &[wanted.address]).await;
        }
        Ok((wanted, made?))
    }

    /// An address for an endpoint that was given none.
    pub(super) async fn choose(&self, id: &str) -> Result<EndpointOptions, AttachError> {
        let ask = Ask {
            holder: holder(Runtime::Docker, "", id),
            patience: CLAIM_WAIT,
            caller: 0,
        };
        let acquired = self.acquire(&ask, &[AddressArg::Default]).await;
        let without = |error: AttachError| {
            AttachError::Allocation(format!(
                "no address for the container ({error}); give it one with --driver-opt mesh.address=10.2.1.1/24, after \
                 docker network disconnect of what is stopped"
            ))
        };
        let acquired = acquired.map_err(without)?;
        let address = acquired.addresses.first().copied();
        Ok(EndpointOptions {
            address: address.ok_or(AttachError::Allocation("no address".into()))?,
            // The container may have the route already, and Docker takes that for a failure.
            multicast: false,
            late: Late::No,
            holder: ask.holder,
        })
    }

    async fn create_wanted(
        &self,
        id: &str,
        network: &str,
        wanted: &EndpointOptions,
    ) -> Result<Mac, AttachError> {
        self.drop_stale(wanted.address, id).await?;
        let holder = match wanted.holder.is_empty() {
            // The same again for the same connection.
            true => holder(Runtime::Docker, "", network),
            false => wanted.holder.clone(),
        };
        // Held already, when the container was prepared or ran before.
        self.claim(wanted.address, &holder, CLAIM_WAIT, 0).await?;
        let endpoint = Endpoint::new(network, wanted, holder);
        let interface = endpoint.interface(id);
        let mac = interface.mac;
        self.change(|table| {
            self.check_address(table, wanted.address, id)?;
            table.endpoints.insert(id.to_owned(), endpoint);
            Ok(())
        })?;
        match self
            .on_kernel(move |kernel| kernel.make_endpoint(&interface))
            .await
        {
            Ok(peer) => {
                self.record(|table| table.endpoints.get_mut(id).map(|end| end.peer = peer));
                Ok(mac)
            }
            Err(error) => {
                self.record(|table| table.endpoints.remove(id));
                Err(error.into())
            }
        }
    }

    /// Docker is about to move the interface into the namespace at `sandbox`. Returns its name on the host and whether
    /// multicast goes to it; what is left to do in the container is done as soon as it is there.
    ///
    /// # Errors
    /// The endpoint is not known.
    pub(crate) fn join(
        self: &Arc<Self>,
        id: &str,
        sandbox: PathBuf,
    ) -> Result<Joined, AttachError> {
        let joined = self.change(|table| {
            let unknown =
                || AttachError::Invalid(format!("the router does not know endpoint {id}"));
            let end = table.endpoints.get_mut(id).ok_or_else(unknown)?;
            end.sandbox = Some(sandbox.clone());
            Ok(Joined {
                peer: end.peer.clone(),
                multicast: end.multicast,
            })
        })?;
        self.finish_later(id, sandbox);
        Ok(joined)
    }

    /// What Docker does not do, once the interface is in the container.
    pub(super) fn finish_later(self: &Arc<Self>, id: &str, sandbox: PathBuf) {
        let this = self.clone();
        let id = id.to_owned();
        tokio::spawn(async move { this.finish(&id, sandbox).await });
    }

    /// Docker asks about an endpoint that it has joined. An engine that had the namespace before has plugged it by now,
    /// and starts the container's first process after the answers: they wait until all is done that can be done for that
    /// container now, for a second at most.
    pub(crate) async fn settled(&self, id: &str) {
        self.tell_before_start(id).await;
        let sandbox = self
            .table()
            .endpoints
            .get(id)
            .and_then(|end| end.sandbox.clone());
        let Some(sandbox) = sandbox.filter(|path| self.kernel.is_netns(path)) else {
            return;
        };
        let deadline = Instant::now() + SETTLE_WAIT;
        while self.table().is_unfinished(&sandbox) && Instant::now() < deadline {
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// From now on, the caller is told of each container of Docker before its first process runs.
    pub(crate) fn before_start(&self, told: impl Fn(&[(String, IpNet)]) + Send + Sync + 'static) {
        // The first counts; there is one.
        let _ = self.before_start.set(Arc::new(told));
    }

    async fn tell_before_start(&self, id: &str) {
        let Some(told) = self.before_start.get().cloned() else {
            return;
        };
        let joined: Vec<(String, IpNet)> = {
            let table = self.table();
            let sandbox = table.endpoints.get(id).and_then(|end| end.sandbox.clone());
            let ends = table.endpoints.values();
            let ends = ends.filter(|end| sandbox.is_some() && end.sandbox == sandbox);
            ends.map(|end| (end.holder.clone(), end.address)).collect()
        };
        // It writes a file.
        let done = tokio::task::spawn_blocking(move || told(&joined)).await;
        if let Err(error) = done {
            tracing::error!("a container that starts was not looked after: {error}");
        }
    }

    /// The container stops, or leaves the network.
    pub(crate) fn leave(&self, id: &str) {
        self.record(|table| table.endpoints.get_mut(id).map(|end| end.sandbox = None));
    }

    /// Forgets an endpoint; one that is not known is none too.
    pub(crate) async fn delete_endpoint(&self, id: &str) {
        let known = self.record(|table| table.endpoints.remove(id));
        let Some(end) = known else {
            return;
        };
        let tag = end.interface(id).tag;
        if let Err(error) = self.on_kernel(move |kernel| kernel.unplug(&tag)).await {
            tracing::warn!(%error, "an interface of a container that is gone is left; trying again");
        }
        self.note_used([end.address]);
        self.wake.notify_one();
    }

    /// Asks Docker whose endpoints those are that have no owner yet.
    pub(crate) async fn resolve_owners(&self) {
        let unknown = |table: &Table| -> Vec<String> {
            let ends = table.endpoints.values();
            let mut networks: Vec<String> = ends
                .filter(|end| end.owner.is_none() && end.sandbox.is_some())
                .map(|end| end.network.clone())
                .collect();
            networks.sort();
            networks.dedup();
            networks
        };
        let networks = unknown(&self.table());
        let Some(docker) = self
            .engines
            .of(Runtime::Docker)
            .filter(|_| !networks.is_empty())
        else {
            return;
        };
        for network in networks {
            let Ok(found) = docker.endpoints(&network).await else {
                continue;
            };
            self.record(|table| {
                for end in found {
                    if let Some(ours) = table.endpoints.get_mut(&end.endpoint) {
                        ours.owner = Some(Owner {
                            id: end.container,
                            name: end.name,
                        });
                    }
                }
            });
        }
    }

    /// A container has another name now.
    pub(crate) fn rename(&self, container: &str, name: &str) {
        self.rename_keeper(container, name);
        self.record(|table| {
            for end in table.endpoints.values_mut() {
                if let Some(owner) = end.owner.as_mut().filter(|o| o.id == container) {
                    name.clone_into(&mut owner.name);
                }
            }
            for (key, member) in &mut table.members {
                if member.owner(key) == container {
                    name.clone_into(&mut member.name);
                }
            }
        });
    }

    /// After Join: waits for the interface to arrive, does what Docker does not, and learns the container's name.
    async fn finish(&self, id: &str, sandbox: PathBuf) {
        let began = Instant::now();
        // The container may fail to start for reasons of its own; it leaves the network then.
        while let Some(end) = self.joined(id, &sandbox) {
            let waited = began.elapsed();
            let add = match end.late {
                false => Add::No,
                true if waited < COVER_WAIT => Add::Covered,
                true => Add::Now,
            };
            let (place, interface) = (sandbox.clone(), end.interface(id));
            let step = move |kernel: &dyn Kernel| kernel.finish_endpoint(&place, &interface, add);
            let error = match self.on_kernel(step).await {
                Ok(Some(ifname)) => {
                    self.record(|table| table.endpoints.get_mut(id).map(|end| end.ifname = ifname));
                    break;
                }
                Ok(None) if waited < FINISH_WAIT => continue,
                Ok(None) => KernelError(format!(
                    "Docker moved no interface with {} into it in time",
                    end.address
                )),
                Err(error) => error,
            };
            if self.joined(id, &sandbox).is_some() {
                tracing::warn!(%error, endpoint = id, "an interface of a container is not finished");
            }
            break;
        }
        self.resolve_owners().await;
    }

    /// The endpoint, while it is joined to this namespace.
    fn joined(&self, id: &str, sandbox: &Path) -> Option<Endpoint> {
        let table = self.table();
        let end = table.endpoints.get(id)?;
        (end.sandbox.as_deref() == Some(sandbox)).then(|| end.clone())
    }

    /// An endpoint whose interface went with its container, while dockerd could not say so, holds no address.
    async fn drop_stale(&self, address: IpNet, id: &str) -> Result<(), AttachError> {
        let held = self.table().holder(address.addr());
        let Some(stale) = held
            .and_then(|held| held.endpoint)
            .filter(|other| other != id)
        else {
            return Ok(());
        };
        let plugged = self.on_kernel(|kernel| kernel.plugged()).await?;
        self.record(|table| {
            let gone = |end: &Endpoint| {
                !end.peer.is_empty() && !plugged.contains(&end.interface(&stale).tag)
            };
            if table.endpoints.get(&stale).is_some_and(gone) {
                table.endpoints.remove(&stale);
            }
        });
        Ok(())
    }
}
