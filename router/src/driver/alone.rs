//! The driver without a router, in the plugin process: what Docker needs at once, in the kernel alone. The router enters it
//! into its table when it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_host::endpoint::{DeferredAddress, EndpointOptions};
use mesh_host::interface::{ContainerInterface, parse_tag};
use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;
use mesh_proto::limits::MAX_ATTACHED;
use serde_json::Value;

use super::messages::{chosen, endpoint_of, wanted};
use crate::attach::JoinedEndpoint;
use crate::attach::kernel::{AddressSetting, KernelApi, KernelError, KernelHandle};

/// Longest time for Docker to move an interface.
const FINISH_WAIT: Duration = Duration::from_secs(30);
/// Time after which an address is set with its subnet, even if another address was expected to bring the route.
const COVER_WAIT: Duration = Duration::from_secs(10);

/// Endpoints between CreateEndpoint and DeleteEndpoint, and the kernel.
pub(crate) struct Alone {
    kernel: KernelHandle,
    /// At most [`MAX_ATTACHED`].
    ends: Mutex<BTreeMap<String, AloneEndpoint>>,
}

#[derive(Clone)]
struct AloneEndpoint {
    /// None: it was made without the router, and has no address before that gives it one.
    wanted: Option<EndpointOptions>,
    /// Name of the veth end that Docker moves; empty if the router created it.
    peer: String,
}

impl Alone {
    pub(crate) fn new(kernel: Arc<dyn KernelApi>) -> Self {
        Self {
            kernel: KernelHandle::new(kernel),
            ends: Mutex::default(),
        }
    }

    /// Remembers an endpoint by the router's answer.
    pub(crate) fn note(&self, call: &str, body: &[u8], answer: &Value) {
        if answer.get("Err").is_some() {
            return;
        }
        match call {
            "NetworkDriver.CreateEndpoint" => {
                let Ok((id, wanted)) = wanted(body) else {
                    return;
                };
                if let Some(wanted) = wanted.or_else(|| chosen(answer)) {
                    let peer = String::new();
                    let wanted = Some(wanted);
                    drop(self.enter(&id, AloneEndpoint { wanted, peer }));
                }
            }
            "NetworkDriver.DeleteEndpoint" => {
                if let Ok(id) = endpoint_of(body) {
                    self.ends().remove(&id);
                }
            }
            _ => {}
        }
    }

    /// Returns whether the endpoint is known, made here or by the router.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.ends().contains_key(id)
    }

    /// Returns whether the endpoint was made without the router.
    pub(crate) fn made(&self, id: &str) -> bool {
        let ends = self.ends();
        let end = ends.get(id);
        end.is_some_and(|end| end.wanted.is_none() || !end.peer.is_empty())
    }

    /// Creates the veth pair. Without an address nothing is created: the container starts without an interface, and the
    /// router adds it later.
    ///
    /// # Errors
    /// The address is in use on this host, or the kernel refuses. Nothing remains of the attempt.
    pub(crate) async fn create_endpoint(
        &self,
        id: &str,
        wanted: Option<EndpointOptions>,
    ) -> Result<Option<(EndpointOptions, Mac)>, String> {
        let mut peer = String::new();
        if let Some(wanted) = &wanted {
            let (id, interface) = (id.to_owned(), interface(id, wanted));
            peer = self
                .on_kernel(move |kernel| make(kernel, &id, &interface))
                .await?;
        }
        let made = wanted.clone();
        self.enter(id, AloneEndpoint { wanted, peer })?;
        Ok(made.map(|wanted| {
            let mac = mac_for(wanted.address.addr());
            (wanted, mac)
        }))
    }

    /// Returns the name of the end that Docker moves, and completes the interface once it is moved.
    ///
    /// # Errors
    /// The endpoint is not known; the kernel's.
    pub(crate) async fn join(&self, id: &str, sandbox: PathBuf) -> Result<JoinedEndpoint, String> {
        let Some(end) = self.ends().get(id).cloned() else {
            return Err(format!(
                "endpoint {id} is not known; start the container again"
            ));
        };
        let Some(wanted) = end.wanted else {
            return Ok(JoinedEndpoint::default());
        };
        let interface = interface(id, &wanted);
        let mut peer = end.peer;
        if peer.is_empty() {
            // The router created one, with a name that is not known here.
            let again = interface.clone();
            peer = self
                .on_kernel(move |kernel| kernel.make_endpoint(&again))
                .await?;
        }
        let kernel = self.kernel.clone();
        let deferred = wanted.deferred != DeferredAddress::No;
        let finish = move |kernel: &dyn KernelApi| {
            finish(kernel, &sandbox, &interface, deferred);
            Ok(())
        };
        tokio::spawn(async move { kernel.run(finish).await });
        let multicast = wanted.multicast;
        Ok(JoinedEndpoint { peer, multicast })
    }

    /// Removes the veth pair; a failure is left to the router.
    pub(crate) async fn delete_endpoint(&self, id: &str) {
        self.ends().remove(id);
        let id = id.to_owned();
        let removed = self.on_kernel(move |kernel| {
            let mut tags = kernel.plugged()?;
            tags.retain(|tag| parse_tag(tag).is_some_and(|(key, _)| key == id));
            tags.iter().try_for_each(|tag| kernel.unplug(tag).map(drop))
        });
        if let Err(error) = removed.await {
            tracing::warn!(error, "an interface of a container that is gone is left");
        }
    }

    fn enter(&self, id: &str, end: AloneEndpoint) -> Result<(), String> {
        let mut ends = self.ends();
        if ends.len() >= MAX_ATTACHED && !ends.contains_key(id) {
            return Err(format!(
                "there are {MAX_ATTACHED} endpoints on this host already; no more are made without the router"
            ));
        }
        ends.insert(id.to_owned(), end);
        Ok(())
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<String, AloneEndpoint>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn on_kernel<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn KernelApi) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, String> {
        self.kernel.run(f).await.map_err(|error| error.to_string())
    }
}

fn interface(id: &str, wanted: &EndpointOptions) -> ContainerInterface {
    ContainerInterface::new(id, "", wanted.address, wanted.multicast)
}

/// Makes a pair unless a container of this host has the address. What an earlier one left is removed.
fn make(
    kernel: &dyn KernelApi,
    id: &str,
    interface: &ContainerInterface,
) -> Result<String, KernelError> {
    let ip = interface.address.addr();
    let arrived = kernel.arrived()?;
    for other in kernel.plugged()? {
        match parse_tag(&other) {
            Some((key, address)) if key != id && address.addr() == ip => {}
            _ => continue,
        }
        if arrived.contains(&other) {
            return Err(KernelError(format!(
                "{ip} is already used by another container on this host"
            )));
        }
        kernel.unplug(&other)?;
    }
    kernel.make_endpoint(interface).or_else(|_| {
        // After a boot the bridge does not exist until a router has run.
        kernel.ensure_bridge(&BTreeSet::new())?;
        kernel.make_endpoint(interface)
    })
}

fn finish(
    kernel: &dyn KernelApi,
    sandbox: &std::path::Path,
    interface: &ContainerInterface,
    deferred: bool,
) {
    let began = Instant::now();
    while began.elapsed() < FINISH_WAIT {
        let setting = match deferred {
            false => AddressSetting::Never,
            true if began.elapsed() < COVER_WAIT => AddressSetting::OnceCovered,
            true => AddressSetting::Now,
        };
        match kernel.finish_endpoint(sandbox, interface, setting) {
            Ok(None) => {}
            Ok(Some(_)) => return,
            Err(error) => {
                tracing::warn!(%error, "an interface of a container is not finished");
                return;
            }
        }
    }
}
