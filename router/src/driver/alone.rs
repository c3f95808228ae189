//! The driver without a router, in the plugin process: what Docker needs at once, in the kernel alone. The router enters it
//! into its table when it is back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mesh_engine::plugin::call::JoinedEndpoint;
use mesh_engine::plugin::endpoints::{
    PluginEndpoint, PluginEndpoints, interface, leftovers, tags_of,
};
use mesh_engine::plugin::process::{RouterAnswer, take_answer};
use mesh_host::docker::deferral::{AddressSetting, FINISH_WAIT};
use mesh_host::docker::endpoint::EndpointOptions;
use mesh_host::interface::ContainerInterface;
use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;
use serde_json::Value;

use crate::attach::kernel::{KernelApi, KernelError, KernelHandle};

/// Endpoints between CreateEndpoint and DeleteEndpoint, and the kernel.
pub(crate) struct Alone {
    kernel: KernelHandle,
    ends: Mutex<PluginEndpoints>,
}

impl Alone {
    pub(crate) fn new(kernel: Arc<dyn KernelApi>) -> Self {
        Self {
            kernel: KernelHandle::new(kernel),
            ends: Mutex::default(),
        }
    }

    /// Decides about the router's answer to a call.
    pub(crate) fn take_answer(&self, path: &str, body: &[u8], answer: &Value) -> RouterAnswer {
        take_answer(&mut self.ends(), path, body, answer)
    }

    /// Creates the veth pair. Without an address nothing is created: the container starts without an interface, and the
    /// router adds it later.
    ///
    /// # Errors
    /// The address is in use on this host, or the kernel refuses. Nothing remains of the attempt.
    pub(crate) async fn create_endpoint(
        &self,
        id: &str,
        options: Option<EndpointOptions>,
    ) -> Result<Option<(EndpointOptions, Mac)>, String> {
        let mut peer = String::new();
        if let Some(options) = &options {
            let (id, interface) = (id.to_owned(), interface(id, options));
            peer = self
                .on_kernel(move |kernel| make(kernel, &id, &interface))
                .await?;
        }
        let made = options.clone();
        self.ends().enter(id, PluginEndpoint { options, peer })?;
        Ok(made.map(|options| {
            let mac = mac_for(options.address.addr());
            (options, mac)
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
        let (Some(options), Some(interface)) = (&end.options, end.interface(id)) else {
            return Ok(JoinedEndpoint::default());
        };
        let (multicast, deferred) = (options.multicast, end.is_deferred());
        let mut peer = end.peer;
        if peer.is_empty() {
            // The router created one, with a name that is not known here.
            let again = interface.clone();
            peer = self
                .on_kernel(move |kernel| kernel.make_endpoint(&again))
                .await?;
        }
        let kernel = self.kernel.clone();
        let finish = move |kernel: &dyn KernelApi| {
            finish(kernel, &sandbox, &interface, deferred);
            Ok(())
        };
        tokio::spawn(async move { kernel.run(finish).await });
        Ok(JoinedEndpoint {
            peer,
            multicast,
            ..JoinedEndpoint::default()
        })
    }

    /// Removes the veth pair; a failure is left to the router.
    pub(crate) async fn delete_endpoint(&self, id: &str) {
        self.ends().remove(id);
        let id = id.to_owned();
        let removed = self.on_kernel(move |kernel| {
            let tags = tags_of(&id, kernel.plugged()?);
            tags.iter().try_for_each(|tag| kernel.unplug(tag).map(drop))
        });
        if let Err(error) = removed.await {
            tracing::warn!(error, "an interface of a container that is gone is left");
        }
    }

    fn ends(&self) -> MutexGuard<'_, PluginEndpoints> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn on_kernel<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn KernelApi) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, String> {
        self.kernel.run(f).await.map_err(|error| error.to_string())
    }
}

/// Makes a pair unless a container of this host has the address. What an earlier one left is removed.
fn make(
    kernel: &dyn KernelApi,
    id: &str,
    interface: &ContainerInterface,
) -> Result<String, KernelError> {
    let arrived = kernel.arrived()?;
    let left = leftovers(id, interface, &kernel.plugged()?, &arrived).map_err(KernelError)?;
    for tag in left {
        kernel.unplug(&tag)?;
    }
    kernel.make_endpoint(interface).or_else(|_| {
        // After a boot the bridge does not exist until a router has run.
        match interface.network.is_default() {
            true => kernel.ensure_bridge(&BTreeSet::new()).map(drop)?,
            false => kernel.open_network(interface.network, None, "")?,
        }
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
        let setting = AddressSetting::after(began.elapsed(), deferred);
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
