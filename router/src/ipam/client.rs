//! The way in for the rest of the router: a handle that asks for addresses.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mesh_allocator::call::{Acquire, ContainerLease, NotGiven};
use mesh_host::leases::container_names::ContainerNames;
use mesh_ipam::{AddressPool, AddressQuery, NetworkPlan};
use mesh_proto::api::ipam::{IpamReport, IpamWaiting, Left};
use mesh_proto::network::NetworkId;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the control thread.
pub(crate) const REQUESTS: usize = 1_024;

/// A request to [`super::IpamShell`]. Errors are one line, ready to print.
#[derive(Debug)]
pub(crate) enum AllocatorRequest {
    /// Leases an address to a container.
    Acquire {
        /// The address, and the container.
        acquire: Acquire,
        /// The address with its prefix length.
        answer: oneshot::Sender<Result<IpNet, NotGiven>>,
    },
    /// Frees an address, if this lease owner has it.
    Release {
        /// The network that it is in.
        network: NetworkId,
        /// The address.
        addr: IpAddr,
        /// The lease owner.
        owner: String,
    },
    /// Takes the subnets of a network besides `default`, before addresses are asked for in it.
    Define {
        /// The subnets, and who founded the network.
        plan: NetworkPlan,
        /// This router has created the network at this moment.
        is_created: bool,
    },
    /// Drops all addresses of a network that was removed for good.
    RemoveNetwork(NetworkId),
    /// Returns the leases of this host's containers.
    Leases(oneshot::Sender<Vec<ContainerLease>>),
    /// Returns the report for `status ipam`.
    Report(oneshot::Sender<IpamReport>),
    /// Returns the requests that wait.
    Waiting(oneshot::Sender<Vec<IpamWaiting>>),
    /// `prime`.
    Prime {
        /// The time it may take.
        patience: Duration,
        /// Sent when the range has an owner, or the time is over.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// `rmpeer`.
    Remove {
        /// The router, as typed.
        peer: String,
        /// The rules are not to be minded.
        force: bool,
        /// The outcome, in words.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// Frees all that containers of this host lease, and hands the space over.
    Leave(oneshot::Sender<Left>),
}

/// A handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Allocator {
    pool: Result<AddressPool, String>,
    /// The reason no address is to be chosen at this moment.
    hindrance: Arc<Mutex<Option<String>>>,
    requests: mpsc::Sender<AllocatorRequest>,
    names: ContainerNames,
}

const STOPPING: &str = "the router is stopping";

impl Allocator {
    /// Makes a handle that asks by `requests`.
    pub(crate) fn new(
        pool: AddressPool,
        requests: mpsc::Sender<AllocatorRequest>,
        names: ContainerNames,
    ) -> Self {
        Self {
            pool: Ok(pool),
            hindrance: Arc::default(),
            requests,
            names,
        }
    }

    /// Makes a handle that allocates nothing, and says why.
    pub(crate) fn off(why: impl Into<String>) -> Self {
        let pool = Err(why.into());
        let (requests, _) = mpsc::channel(1);
        Self {
            pool,
            hindrance: Arc::default(),
            requests,
            names: ContainerNames::default(),
        }
    }

    /// Has no address chosen while there is a reason; addresses that are named or released are kept all the same.
    pub(crate) fn hinder(&self, why: Option<String>) {
        *self.lock() = why;
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.hindrance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this router allocates addresses.
    pub(crate) fn is_on(&self) -> bool {
        self.pool.is_ok()
    }

    /// Returns the range.
    ///
    /// # Errors
    /// The reason no address is to be chosen.
    pub(crate) fn pool(&self) -> Result<AddressPool, String> {
        let hindrance = self.lock().clone();
        hindrance.map_or_else(|| self.pool.clone(), Err)
    }

    /// Returns the names of containers, where lease owners are shown.
    pub(crate) fn container_names(&self) -> &ContainerNames {
        &self.names
    }

    /// Returns the IPv4 address with which an address of `default` is leased, and the prefix length of its subnet; any other
    /// address is the operator's business.
    pub(crate) fn leased_as(&self, ip: IpAddr) -> Option<IpNet> {
        let pool = self.pool.as_ref().ok()?;
        let v4 = pool.leased_as(ip)?;
        IpNet::new(v4.into(), pool.default_subnet.prefix_len()).ok()
    }

    /// Returns the IPv6 address that goes with an IPv4 address of `default`.
    pub(crate) fn beside(&self, address: IpNet) -> Option<IpNet> {
        match (address, &self.pool) {
            (IpNet::V4(v4), Ok(pool)) => pool.beside(v4.addr()),
            _ => None,
        }
    }

    /// Leases an address to a container.
    ///
    /// # Errors
    /// It is not free, or none is; nothing is allocated; the router is stopping.
    pub(crate) async fn acquire(&self, acquire: Acquire) -> Result<IpNet, NotGiven> {
        // What hinders is about the range of `default`.
        let is_default = acquire.network.is_default();
        if is_default && matches!(acquire.query, AddressQuery::AnyOf(_)) {
            self.pool()?;
        }
        self.ask(|answer| AllocatorRequest::Acquire { acquire, answer })
            .await?
    }

    /// Frees an address, if this lease owner has it.
    pub(crate) async fn release(&self, network: NetworkId, addr: IpAddr, owner: &str) {
        let owner = owner.to_owned();
        let request = AllocatorRequest::Release {
            network,
            addr,
            owner,
        };
        // A router that stops frees nothing: that is for the next start.
        let _ = self.requests.send(request).await;
    }

    /// Tells the subnets of a network, new or changed; `is_created` if this router has created it at this moment, so that
    /// nobody else can know of it. Requests that follow may be about it.
    pub async fn define(&self, plan: NetworkPlan, is_created: bool) {
        let request = AllocatorRequest::Define { plan, is_created };
        // A router that stops is told again at the next start.
        let _ = self.requests.send(request).await;
    }

    /// Drops all addresses of a network that was removed for good.
    pub async fn remove_network(&self, network: NetworkId) {
        let request = AllocatorRequest::RemoveNetwork(network);
        let _ = self.requests.send(request).await;
    }

    /// Returns the leases of this host's containers; none when nothing is allocated.
    pub(crate) async fn leases(&self) -> Vec<ContainerLease> {
        self.ask(AllocatorRequest::Leases).await.unwrap_or_default()
    }

    /// Returns the report for `status ipam`.
    pub(crate) async fn report(&self) -> IpamReport {
        match &self.pool {
            Ok(_) => {
                let report = self.ask(AllocatorRequest::Report).await;
                IpamReport {
                    off: self.lock().clone().unwrap_or_default(),
                    ..report.unwrap_or_default()
                }
            }
            Err(why) => IpamReport {
                off: why.clone(),
                ..IpamReport::default()
            },
        }
    }

    /// Returns the requests that wait.
    pub(crate) async fn waiting(&self) -> Vec<IpamWaiting> {
        self.ask(AllocatorRequest::Waiting)
            .await
            .unwrap_or_default()
    }

    /// Sees to it that the range has an owner.
    ///
    /// # Errors
    /// One line.
    pub(crate) async fn prime(&self, patience: Duration) -> Result<(), String> {
        self.ask(|answer| AllocatorRequest::Prime { patience, answer })
            .await?
    }

    /// Removes a router that is gone for good. Returns the outcome in words.
    ///
    /// # Errors
    /// One line.
    pub(crate) async fn remove(&self, peer: &str, force: bool) -> Result<String, String> {
        let peer = peer.to_owned();
        self.ask(|answer| AllocatorRequest::Remove {
            peer,
            force,
            answer,
        })
        .await?
    }

    /// Hands the space over.
    pub(crate) async fn leave(&self) -> Left {
        self.ask(AllocatorRequest::Leave).await.unwrap_or_default()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> AllocatorRequest,
    ) -> Result<T, String> {
        self.pool.clone()?;
        let (answer, receiver) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| STOPPING.to_owned())?;
        receiver.await.map_err(|_| STOPPING.to_owned())
    }
}
