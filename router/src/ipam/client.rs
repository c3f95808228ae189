//! How the rest of the router asks for addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::api::ipam::{IpamReport, IpamWaiting, Left};
use mesh_proto::ipam::AddressRequest;
use tokio::sync::{mpsc, oneshot};

use super::Called;

/// Requests that may wait for the control thread.
pub(crate) const REQUESTS: usize = 1_024;

/// What is asked of [`super::Addresses`]. Errors are one line, ready to print.
#[derive(Debug)]
pub(crate) enum Request {
    /// An address for a container: any of a subnet, or this very one.
    Acquire {
        /// Whose it will be.
        holder: String,
        /// Which.
        want: AddressRequest,
        /// Prefix length of its subnet.
        prefix: u8,
        /// How long it may take.
        patience: Duration,
        /// The process that asked; 0 if it is not known.
        caller: u32,
        /// The address.
        answer: oneshot::Sender<Result<Ipv4Net, NotGiven>>,
    },
    /// The address is free, if this holder has it.
    Release {
        /// Which.
        addr: Ipv4Addr,
        /// Whose it was.
        holder: String,
    },
    /// What containers of this host hold.
    Held(oneshot::Sender<Vec<Held>>),
    /// For `status ipam`.
    Report(oneshot::Sender<IpamReport>),
    /// For whoever waits.
    Waiting(oneshot::Sender<Vec<IpamWaiting>>),
    /// `prime`.
    Prime {
        /// How long it may take.
        patience: Duration,
        /// Whether the range has an owner.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// `rmpeer`.
    Remove {
        /// As typed.
        peer: String,
        /// Whatever the rules say.
        force: bool,
        /// What was done.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// Frees all that containers of this host hold, and hands the space over.
    Leave(oneshot::Sender<Left>),
}

/// An address of this host, with its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) addr: Ipv4Addr,
    pub(crate) holder: String,
}

/// Why no address is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotGiven {
    /// Whether a container has the address that was asked for.
    pub(crate) is_held: bool,
    /// One line that says why, and what to do.
    pub(crate) text: String,
}

impl From<String> for NotGiven {
    fn from(text: String) -> Self {
        Self {
            is_held: false,
            text,
        }
    }
}

/// The range and the default subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What routers share.
    pub range: Ipv4Net,
    /// The subnet of `net:default`.
    pub default_subnet: Ipv4Net,
}

/// A handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Allocator {
    pool: Result<Pool, String>,
    /// Why no address is to be chosen at this moment.
    hindrance: Arc<Mutex<Option<String>>>,
    requests: mpsc::Sender<Request>,
    called: Called,
}

const STOPPING: &str = "the router is stopping";

impl Allocator {
    /// One that asks by `requests`.
    pub(crate) fn new(pool: Pool, requests: mpsc::Sender<Request>, called: Called) -> Self {
        Self {
            pool: Ok(pool),
            hindrance: Arc::default(),
            requests,
            called,
        }
    }

    /// One that allocates nothing, and says why.
    pub(crate) fn off(why: impl Into<String>) -> Self {
        let pool = Err(why.into());
        let (requests, _) = mpsc::channel(1);
        Self {
            pool,
            hindrance: Arc::default(),
            requests,
            called: Called::default(),
        }
    }

    /// Has no address chosen while there is a reason; addresses that are named or given back are kept all the same.
    pub(crate) fn hinder(&self, why: Option<String>) {
        *self.lock() = why;
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.hindrance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The range, or why there is none.
    pub(crate) fn pool(&self) -> Result<Pool, String> {
        let hindrance = self.lock().clone();
        hindrance.map_or_else(|| self.pool.clone(), Err)
    }

    /// What containers are called, where holders are shown.
    pub(crate) fn called(&self) -> &Called {
        &self.called
    }

    /// Whether the address is kept here; any other is the operator's business.
    pub(crate) fn covers(&self, ip: IpAddr) -> bool {
        match (ip, &self.pool) {
            (IpAddr::V4(v4), Ok(pool)) => pool.range.contains(&v4),
            _ => false,
        }
    }

    /// An address for a container. One outside the range is granted without asking anybody.
    ///
    /// # Errors
    /// It is not free, or none is; nothing is allocated; the router is stopping.
    pub(crate) async fn acquire(
        &self,
        holder: &str,
        want: AddressRequest,
        prefix: u8,
        patience: Duration,
        caller: u32,
    ) -> Result<IpNet, NotGiven> {
        if matches!(want, AddressRequest::Subnet(_)) {
            self.pool()?;
        }
        let holder = holder.to_owned();
        let answered = self.ask(|answer| Request::Acquire {
            holder,
            want,
            prefix,
            patience,
            caller,
            answer,
        });
        answered.await?.map(IpNet::V4)
    }

    /// The address is free, if this holder has it.
    pub(crate) async fn release(&self, addr: Ipv4Addr, holder: &str) {
        let holder = holder.to_owned();
        // Who stops lets go of nothing: that is for the next start.
        let _ = self.requests.send(Request::Release { addr, holder }).await;
    }

    /// What containers of this host hold; nothing when nothing is allocated.
    pub(crate) async fn held(&self) -> Vec<Held> {
        self.ask(Request::Held).await.unwrap_or_default()
    }

    /// For `status ipam`.
    pub(crate) async fn report(&self) -> IpamReport {
        match &self.pool {
            Ok(_) => {
                let report = self.ask(Request::Report).await.unwrap_or_default();
                IpamReport {
                    off: self.lock().clone().unwrap_or_default(),
                    ..report
                }
            }
            Err(why) => IpamReport {
                off: why.clone(),
                ..IpamReport::default()
            },
        }
    }

    /// What waits.
    pub(crate) async fn waiting(&self) -> Vec<IpamWaiting> {
        self.ask(Request::Waiting).await.unwrap_or_default()
    }

    /// `prime`.
    ///
    /// # Errors
    /// One line.
    pub(crate) async fn prime(&self, patience: Duration) -> Result<(), String> {
        self.ask(|answer| Request::Prime { patience, answer })
            .await?
    }

    /// `rmpeer`.
    ///
    /// # Errors
    /// One line.
    pub(crate) async fn remove(&self, peer: &str, force: bool) -> Result<String, String> {
        let peer = peer.to_owned();
        self.ask(|answer| Request::Remove {
            peer,
            force,
            answer,
        })
        .await?
    }

    /// Hands the space over.
    pub(crate) async fn leave(&self) -> Left {
        self.ask(Request::Leave).await.unwrap_or_default()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, String> {
        self.pool.clone()?;
        let (answer, receiver) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| STOPPING.to_owned())?;
        receiver.await.map_err(|_| STOPPING.to_owned())
    }
}
