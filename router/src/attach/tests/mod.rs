//! Attachments over a fake kernel and fake engines.

use mesh_host::docker::endpoint::EndpointOptions;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mesh_engine::network::NetworkEndpoint;
use mesh_host::docker::endpoint::DeferredAddress;
use mesh_networks::NetworkDefinition;

use super::fake::FakeKernel;
use super::*;
use crate::engine::fake::FakeEngine;

mod docker;
mod expose;
mod leases;
mod networks;
mod parts;
mod prepared;
mod reconcile;
mod requests;
mod resolver_sites;
mod stopped_pods;
mod uplinks;

/// Networks of the mesh that the tests change.
#[derive(Default)]
struct FakeNetworks {
    defined: Mutex<BTreeMap<NetworkId, Arc<NetworkDefinition>>>,
    joined: Mutex<Vec<NetworkId>>,
    /// The answer to the next join.
    refusal: Mutex<Option<String>>,
}

impl NetworkAccess for FakeNetworks {
    fn resolve(&self, name: &str) -> Result<NetworkId, String> {
        let defined = self.defined.lock().unwrap();
        let found = defined.values().find(|d| d.name.as_str() == name);
        let unknown = || mesh_networks::UnknownNetwork::Missing(name.to_owned()).to_string();
        found.map(|d| d.id).ok_or_else(unknown)
    }

    fn join(&self, network: NetworkId) -> JoinAnswer<'_> {
        let refusal = self.refusal.lock().unwrap().take();
        if refusal.is_none() {
            self.joined.lock().unwrap().push(network);
        }
        Box::pin(std::future::ready(refusal.map_or(Ok(()), Err)))
    }

    fn definition(&self, network: &NetworkId) -> Option<Arc<NetworkDefinition>> {
        self.defined.lock().unwrap().get(network).cloned()
    }
}

struct Setup {
    dir: tempfile::TempDir,
    networks: Arc<FakeNetworks>,
    kernel: Arc<FakeKernel>,
    docker: Arc<FakeEngine>,
    podman: Arc<FakeEngine>,
    attachments: Arc<Attachments>,
    allocator: Allocator,
}

/// `web` (pid 10) and `db` (pid 11) run in Docker; 10.9.9.9 is used elsewhere in the mesh; the caller is pid 1000.
fn setup() -> Setup {
    setup_with(Allocator::off("no addresses are allocated here"))
}

fn setup_with(allocator: Allocator) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let (docker, podman) = (
        FakeEngine::new(Runtime::Docker),
        FakeEngine::new(Runtime::Podman),
    );
    for (name, pid) in [("web", 10), ("db", 11)] {
        docker.add(name, pid);
        kernel.start_process(pid);
    }
    kernel.start_process(1000);
    let networks = Arc::new(FakeNetworks::default());
    let attachments = open(&dir, &kernel, &docker, &podman, &allocator, &networks);
    Setup {
        dir,
        networks,
        kernel,
        docker,
        podman,
        attachments,
        allocator,
    }
}

fn open(
    dir: &tempfile::TempDir,
    kernel: &Arc<FakeKernel>,
    docker: &Arc<FakeEngine>,
    podman: &Arc<FakeEngine>,
    allocator: &Allocator,
    networks: &Arc<FakeNetworks>,
) -> Arc<Attachments> {
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let engines = Engines::new(vec![docker.clone(), podman.clone()]);
    let book: AddressBook = Arc::new(|network, ip| {
        (network.is_default() && ip.to_string() == "10.9.9.9")
            .then(|| "container far on 7a::1(host2)".to_owned())
    });
    let around = Surroundings {
        store,
        kernel: kernel.clone(),
        engines,
        book,
        allocator: allocator.clone(),
        networks: networks.clone(),
    };
    Attachments::open(around, "mesh").unwrap()
}

impl Setup {
    /// The router ends (killed or stopped) and starts again.
    fn restart(self) -> Self {
        let Self {
            dir,
            networks,
            kernel,
            docker,
            podman,
            attachments,
            allocator,
        } = self;
        drop(attachments);
        let attachments = open(&dir, &kernel, &docker, &podman, &allocator, &networks);
        Self {
            dir,
            networks,
            kernel,
            docker,
            podman,
            attachments,
            allocator,
        }
    }

    async fn attach(&self, container: &str, addresses: &[&str]) -> Result<Vec<String>, String> {
        let done = self.ask_attach(container, addresses).await;
        done.map(|a| a.addresses)
    }

    async fn ask_attach(
        &self,
        container: &str,
        addresses: &[&str],
    ) -> Result<ContainerAddresses, String> {
        self.attach_in("", container, addresses).await
    }

    async fn attach_in(
        &self,
        network: &str,
        container: &str,
        addresses: &[&str],
    ) -> Result<ContainerAddresses, String> {
        let request = AttachRequest {
            container: container.into(),
            addresses: strings(addresses),
            runtime: None,
            multicast_route: true,
            caller_pid: 1000,
            without_dns: false,
            timeout: None,
            no_rewrite_hosts: false,
            add_host: Vec::new(),
            network: network.into(),
        };
        let done = self.attachments.attach(&request).await;
        done.map_err(|e| e.to_string())
    }

    async fn detach(&self, container: &str, addresses: &[&str]) -> Result<Vec<String>, String> {
        let done = self.ask_detach(container, addresses).await;
        done.map(|a| a.addresses)
    }

    async fn ask_detach(
        &self,
        container: &str,
        addresses: &[&str],
    ) -> Result<ContainerAddresses, String> {
        self.detach_in("", container, addresses).await
    }

    async fn detach_in(
        &self,
        network: &str,
        container: &str,
        addresses: &[&str],
    ) -> Result<ContainerAddresses, String> {
        let request = DetachRequest {
            container: container.into(),
            addresses: strings(addresses),
            runtime: None,
            network: network.into(),
        };
        let done = self.attachments.detach(&request).await;
        done.map_err(|e| e.to_string())
    }

    async fn prepare(&self, runtime: Runtime, addresses: &[&str]) -> Result<Prepared, String> {
        self.prepare_in("", runtime, addresses).await
    }

    async fn prepare_in(
        &self,
        network: &str,
        runtime: Runtime,
        addresses: &[&str],
    ) -> Result<Prepared, String> {
        let request = PrepareRequest {
            runtime,
            addresses: strings(addresses),
            multicast_route: true,
            caller_pid: 1000,
            name: String::new(),
            without_dns: false,
            timeout: None,
            network: network.into(),
        };
        self.attachments
            .prepare(&request)
            .await
            .map_err(|e| e.to_string())
    }

    async fn adopt_process(&self, id: &str, pid: u32) {
        let request = AdoptRequest {
            id: id.into(),
            container: None,
            pid: Some(pid),
            name: "sleep".into(),
        };
        self.attachments.adopt(&request).await.unwrap();
    }

    /// Docker connects a container to the network `mesh`, as far as Join.
    async fn plug_by_docker(&self, id: &str, container: &str, address: &str, sandbox: &str) {
        let wanted = options(address);
        self.attachments
            .docker()
            .endpoints
            .create(id, "mesh", Some(wanted), None)
            .await
            .unwrap();
        self.kernel.add_sandbox(sandbox);
        let end = NetworkEndpoint {
            endpoint: id.into(),
            container: format!("id-{container}"),
            name: container.into(),
        };
        self.docker.world().networks.insert("mesh".into());
        self.docker
            .world()
            .endpoints
            .entry("mesh".into())
            .or_default()
            .push(end);
        self.attachments.join(id, sandbox.into()).unwrap();
        let mut announced = self.attachments.announced();
        let known = announced.wait_for(|list| list.iter().any(|a| a.container == container));
        tokio::time::timeout(Duration::from_secs(5), known)
            .await
            .unwrap()
            .unwrap();
    }

    fn plugged(&self) -> Vec<String> {
        self.kernel.plugged_addresses()
    }

    fn announced(&self) -> Vec<String> {
        let list = self.attachments.announced().borrow().clone();
        list.iter()
            .map(|a| format!("{} {}", a.address, a.container))
            .collect()
    }

    async fn reconcile(&self) {
        self.attachments.reconcile(true).await;
        self.attachments.base.leases.collect().await;
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

/// An endpoint as Docker asks for it, with nothing special.
fn options(address: &str) -> EndpointOptions {
    EndpointOptions {
        address: address.parse().unwrap(),
        multicast: false,
        deferred: DeferredAddress::No,
        lease_owner: String::new(),
        network: NetworkId::DEFAULT,
        mac: None,
        second: None,
    }
}
