//! The driver without a router, in the plugin process: what Docker needs at once, in the kernel alone. The router enters it
//! into its table when it is back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use mesh_engine::plugin::call::{DriverCall, JoinedEndpoint, NewEndpoint, is_error};
use mesh_engine::plugin::endpoints::{
    PluginEndpoint, PluginEndpoints, interface, leftovers, tags_of,
};
use mesh_engine::plugin::ipam::WantedAddress;
use mesh_engine::plugin::process::{RouterAnswer, WITHOUT_ROUTER, take_answer};
use mesh_engine::plugin::released::ReleasedAddresses;
use mesh_host::docker::deferral::{AddressSetting, FINISH_WAIT};
use mesh_host::docker::endpoint::{EndpointOptions, GivenAddresses};
use mesh_host::docker::user_networks::WayOut;
use mesh_host::interface::ContainerInterface;
use mesh_host::table::AttachmentTable;
use mesh_proto::ids::Mac;
use serde_json::Value;

use crate::attach::kernel::{KernelApi, KernelError, KernelHandle};
use crate::state::Store;

/// Endpoints between CreateEndpoint and DeleteEndpoint, and the kernel.
pub(crate) struct Alone {
    kernel: KernelHandle,
    state_dir: PathBuf,
    is_of_swarm: bool,
    ends: Mutex<PluginEndpoints>,
    released: Mutex<ReleasedAddresses>,
}

impl Alone {
    pub(crate) fn new(kernel: Arc<dyn KernelApi>, state_dir: &Path, is_of_swarm: bool) -> Self {
        Self {
            kernel: KernelHandle::new(kernel),
            state_dir: state_dir.to_owned(),
            is_of_swarm,
            ends: Mutex::default(),
            released: Mutex::default(),
        }
    }

    /// Returns true if the process is the managed plugin, whose networks are known to all nodes of a Swarm.
    pub(crate) fn is_of_swarm(&self) -> bool {
        self.is_of_swarm
    }

    /// Decides about the router's answer to a call.
    pub(crate) fn take_answer(&self, path: &str, body: &[u8], answer: &Value) -> RouterAnswer {
        // Leases are the router's again.
        lock(&self.released).clear();
        let next = take_answer(&mut lock(&self.ends), path, body, answer);
        if let Ok(DriverCall::CreateEndpoint(new)) = DriverCall::parse(path, body)
            && !is_error(answer)
        {
            self.note_given(&new);
        }
        next
    }

    /// Notes an endpoint that the router made with an address which Docker gave it: the router may end before it is joined.
    fn note_given(&self, new: &NewEndpoint) {
        let (Some(given), Ok(table)) = (new.addresses, self.last_table()) else {
            return;
        };
        let options = table.remembered_options(&new.network, given);
        let end = PluginEndpoint {
            options: options.map(|options| EndpointOptions {
                mac: new.mac,
                ..options
            }),
            peer: String::new(),
            way_out: table
                .user_networks
                .way_out(&new.network, given.all().map(|address| address.addr())),
        };
        if end.options.is_some() {
            drop(lock(&self.ends).enter(&new.id, end));
        }
    }

    /// Returns an address of a pool that a container of this host gave up, or this one if a container here had it.
    ///
    /// # Errors
    /// No container of this host had such an address: only the router can find out whether one is free.
    pub(crate) fn request_address(&self, wanted: &WantedAddress) -> Result<IpNet, String> {
        let pool = &wanted.pool;
        let table = self.last_table()?;
        let mut released = lock(&self.released);
        let held = |address| table.remembered_address(pool, address);
        let given = match wanted.address {
            _ if wanted.is_gateway => None,
            Some(address) => held(address).inspect(|_| released.take(pool, address)),
            None => released
                .take_last(pool, |address| held(address).is_some())
                .and_then(held),
        };
        given.ok_or_else(|| WITHOUT_ROUTER.to_owned())
    }

    /// Notes that a container gave up an address; the router still holds its lease.
    pub(crate) fn release_address(&self, pool: &str, address: IpAddr) {
        lock(&self.released).note(pool, address);
    }

    /// Creates the veth pair of an endpoint with an address that Docker has given it.
    ///
    /// # Errors
    /// No container of this host had the address; those of [`Alone::create_endpoint`].
    pub(crate) async fn create_given(
        &self,
        id: &str,
        network: &str,
        given: GivenAddresses,
        mac: Option<Mac>,
    ) -> Result<Option<(EndpointOptions, Mac)>, String> {
        let table = self.last_table()?;
        let options = table.remembered_options(network, given);
        let options = options.ok_or_else(|| WITHOUT_ROUTER.to_owned())?;
        let options = EndpointOptions { mac, ..options };
        let addresses = given.all().map(|address| address.addr());
        let way_out = table.user_networks.way_out(network, addresses);
        self.make_endpoint(id, Some(options), way_out).await
    }

    /// Returns the table that the router stored last.
    fn last_table(&self) -> Result<AttachmentTable, String> {
        Store::peek_attachments(&self.state_dir)
            .map_err(|error| format!("{WITHOUT_ROUTER} ({error})"))
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
        self.make_endpoint(id, options, WayOut::default()).await
    }

    async fn make_endpoint(
        &self,
        id: &str,
        options: Option<EndpointOptions>,
        way_out: WayOut,
    ) -> Result<Option<(EndpointOptions, Mac)>, String> {
        let mut peer = String::new();
        if let Some(options) = &options {
            let (id, interface) = (id.to_owned(), interface(id, options));
            peer = self
                .on_kernel(move |kernel| make(kernel, &id, &interface))
                .await?;
        }
        let made = options.clone();
        let end = PluginEndpoint {
            options,
            peer,
            way_out,
        };
        lock(&self.ends).enter(id, end)?;
        Ok(made.map(|options| {
            let mac = options.mac();
            (options, mac)
        }))
    }

    /// Returns the name of the end that Docker moves, and completes the interface once it is moved.
    ///
    /// # Errors
    /// The endpoint is not known; the kernel's.
    pub(crate) async fn join(&self, id: &str, sandbox: PathBuf) -> Result<JoinedEndpoint, String> {
        let Some(end) = lock(&self.ends).get(id).cloned() else {
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
            way_out: end.way_out,
        })
    }

    /// Removes the veth pair; a failure is left to the router.
    pub(crate) async fn delete_endpoint(&self, id: &str) {
        lock(&self.ends).remove(id);
        let id = id.to_owned();
        let removed = self.on_kernel(move |kernel| {
            let tags = tags_of(&id, kernel.plugged()?);
            tags.iter().try_for_each(|tag| kernel.unplug(tag).map(drop))
        });
        if let Err(error) = removed.await {
            tracing::warn!(error, "an interface of a container that is gone is left");
        }
    }

    async fn on_kernel<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn KernelApi) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, String> {
        self.kernel.run(f).await.map_err(|error| error.to_string())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

fn finish(kernel: &dyn KernelApi, sandbox: &Path, interface: &ContainerInterface, deferred: bool) {
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
