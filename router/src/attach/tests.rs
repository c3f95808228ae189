//! Attachments over a fake kernel and fake engines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_proto::api::{AbandonRequest, AdoptRequest, AttachRequest, DetachRequest, PrepareRequest};

use super::fake::FakeKernel;
use super::*;
use crate::engine::NetworkEndpoint;
use crate::engine::fake::FakeEngine;

struct Setup {
    dir: tempfile::TempDir,
    kernel: Arc<FakeKernel>,
    docker: Arc<FakeEngine>,
    podman: Arc<FakeEngine>,
    attachments: Arc<Attachments>,
}

/// `web` (pid 10) and `db` (pid 11) run in Docker; 10.9.9.9 is used elsewhere in the mesh; the caller is pid 1000.
fn setup() -> Setup {
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
    let attachments = open(&dir, &kernel, &docker, &podman);
    Setup {
        dir,
        kernel,
        docker,
        podman,
        attachments,
    }
}

fn open(
    dir: &tempfile::TempDir,
    kernel: &Arc<FakeKernel>,
    docker: &Arc<FakeEngine>,
    podman: &Arc<FakeEngine>,
) -> Arc<Attachments> {
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let engines = Engines::new(vec![docker.clone(), podman.clone()]);
    let book: AddressBook = Arc::new(|ip| {
        (ip.to_string() == "10.9.9.9").then(|| "container far on 7a::1(host2)".to_owned())
    });
    Attachments::open(store, kernel.clone(), engines, book, "mesh").unwrap()
}

impl Setup {
    /// The router ends (killed or stopped) and starts again.
    fn restart(self) -> Self {
        let Self {
            dir,
            kernel,
            docker,
            podman,
            attachments,
        } = self;
        drop(attachments);
        let attachments = open(&dir, &kernel, &docker, &podman);
        Self {
            dir,
            kernel,
            docker,
            podman,
            attachments,
        }
    }

    async fn attach(&self, container: &str, addresses: &[&str]) -> Result<Vec<String>, String> {
        let request = AttachRequest {
            container: container.into(),
            addresses: strings(addresses),
            runtime: None,
            multicast_route: true,
        };
        let done = self.attachments.attach(&request).await;
        done.map(|a| a.addresses).map_err(|e| e.to_string())
    }

    async fn detach(&self, container: &str, addresses: &[&str]) -> Result<Vec<String>, String> {
        let request = DetachRequest {
            container: container.into(),
            addresses: strings(addresses),
            runtime: None,
        };
        let done = self.attachments.detach(&request).await;
        done.map(|a| a.addresses).map_err(|e| e.to_string())
    }

    async fn prepare(
        &self,
        runtime: Runtime,
        addresses: &[&str],
    ) -> Result<mesh_proto::api::Prepared, String> {
        let request = PrepareRequest {
            runtime,
            addresses: strings(addresses),
            multicast_route: true,
            caller_pid: 1000,
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
        let wanted = EndpointOptions {
            address: address.parse().unwrap(),
            multicast: false,
            late: Late::No,
        };
        self.attachments
            .create_endpoint(id, "mesh", wanted)
            .await
            .unwrap();
        self.kernel.add_sandbox(sandbox);
        let end = NetworkEndpoint {
            endpoint: id.into(),
            container: format!("id-{container}"),
            name: container.into(),
        };
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
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

#[tokio::test]
async fn attach_and_detach() {
    let s = setup();
    assert_eq!(
        s.attach("web", &["10.2.1.1/24", "fd00::1/64"])
            .await
            .unwrap(),
        ["10.2.1.1", "fd00::1"]
    );
    assert_eq!(s.plugged(), ["10.2.1.1/24", "fd00::1/64"]);
    assert_eq!(s.announced(), ["10.2.1.1/24 web", "fd00::1/64 web"]);
    let ps = s.attachments.ps();
    assert_eq!(ps.len(), 1);
    assert_eq!(ps[0].container, "id-web");
    assert_eq!(ps[0].interfaces[0].mac, "02:6d:0a:02:01:01");
    assert_eq!(
        s.detach("web", &["10.2.1.1/24"]).await.unwrap(),
        ["10.2.1.1"]
    );
    assert_eq!(s.plugged(), ["fd00::1/64"]);
    assert_eq!(s.detach("id-web", &[]).await.unwrap(), ["fd00::1"]);
    assert!(s.plugged().is_empty() && s.announced().is_empty() && s.attachments.ps().is_empty());
    assert!(s.detach("web", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_multicast_route_for_a_container() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24", "10.2.2.1/24"])
        .await
        .unwrap();
    s.attach("web", &["10.2.3.1/24"]).await.unwrap();
    let world = s.kernel.world();
    let with: Vec<String> = world
        .interfaces
        .values()
        .filter(|(_, i)| i.multicast)
        .map(|(_, i)| i.address.to_string())
        .collect();
    assert_eq!(with, ["10.2.1.1/24"]);
}

#[tokio::test]
async fn an_address_is_used_once() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(
        s.attach("web", &["10.2.1.1/24"]).await.unwrap(),
        ["10.2.1.1"],
        "again is success"
    );
    let error = s.attach("db", &["10.2.1.1/24"]).await.unwrap_err();
    assert_eq!(
        error,
        "10.2.1.1 is already used by container web on this host"
    );
    let error = s.attach("web", &["10.2.1.1/16"]).await.unwrap_err();
    assert_eq!(
        error,
        "container web has 10.2.1.1/24 already; detach it first"
    );
    let error = s
        .attach("db", &["10.2.1.2/24", "10.9.9.9/24"])
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "10.9.9.9 is already used by container far on 7a::1(host2)"
    );
    assert_eq!(
        s.plugged(),
        ["10.2.1.1/24"],
        "nothing of a refused attachment is made"
    );
    let error = s
        .prepare(Runtime::Process, &["10.2.1.1/24"])
        .await
        .unwrap_err();
    assert!(error.contains("container web on this host"), "{error}");
    let error = s
        .prepare(Runtime::Docker, &["10.2.1.1/24"])
        .await
        .unwrap_err();
    assert!(error.contains("container web on this host"), "{error}");
}

#[tokio::test]
async fn bad_requests_are_explained() {
    let s = setup();
    for (addresses, want) in [
        (&[][..], "does not allocate"),
        (&["net:default"][..], "automatic allocation"),
        (&["10.2.1.1"][..], "no prefix length"),
        (&["10.2.1.300/24"][..], "not an address"),
    ] {
        let error = s.attach("web", addresses).await.unwrap_err();
        assert!(error.contains(want), "{error}");
        let error = s.prepare(Runtime::Podman, addresses).await.unwrap_err();
        assert!(error.contains(want), "{error}");
    }
    let error = s.attach("nope", &["10.2.1.1/24"]).await.unwrap_err();
    assert_eq!(error, "no container named nope on this host");
    s.docker.add("host", 12);
    s.docker.update("host", |c| c.network_mode = "host".into());
    let error = s.attach("host", &["10.2.1.1/24"]).await.unwrap_err();
    assert_eq!(
        error,
        "container host uses the host's network; it cannot be attached"
    );
    s.docker.add("off", 0);
    let error = s.attach("off", &["10.2.1.1/24"]).await.unwrap_err();
    assert_eq!(error, "container off is not running; start it first");
    let error = s.detach("web", &["10.2.1.7/24"]).await.unwrap_err();
    assert_eq!(error, "10.2.1.7 is not attached to container web");
    assert!(s.announced().is_empty() && s.plugged().is_empty());
}

#[tokio::test]
async fn a_failure_at_each_step_of_attach_leaves_nothing() {
    for successes in 0..3 {
        let s = setup();
        s.attach("web", &["10.2.9.1/24"]).await.unwrap();
        // The first plug is of the address that is there already.
        s.kernel.fail("plug", successes);
        let error = s
            .attach("web", &["10.2.1.1/24", "10.2.2.1/24"])
            .await
            .unwrap_err();
        assert!(error.contains("failed as told"), "{error}");
        assert_eq!(s.plugged(), ["10.2.9.1/24"], "after {successes} successes");
        assert_eq!(s.announced(), ["10.2.9.1/24 web"]);
    }
}

#[tokio::test]
async fn a_failure_at_each_step_of_prepare_leaves_nothing() {
    for (operation, successes) in [("create_netns", 0), ("plug", 0), ("plug", 1)] {
        let s = setup();
        s.kernel.fail(operation, successes);
        let error = s
            .prepare(Runtime::Process, &["10.2.1.1/24", "10.2.2.1/24"])
            .await
            .unwrap_err();
        assert!(error.contains("failed as told"), "{error}");
        assert!(
            s.plugged().is_empty() && s.announced().is_empty(),
            "{operation} {successes}"
        );
        assert!(
            s.kernel.world().namespaces.is_empty(),
            "{operation} {successes}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_done() {
    let s = setup();
    let trap = s.dir.path().join(".attachments.tmp");
    std::os::unix::fs::symlink("/dev/full", &trap).unwrap();
    let error = s.attach("web", &["10.2.1.1/24"]).await.unwrap_err();
    assert!(error.contains("No space left"), "{error}");
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
}

#[tokio::test]
async fn networks_of_docker_are_prepared() {
    let s = setup();
    let prepared = s
        .prepare(
            Runtime::Docker,
            &["10.2.1.1/24", "10.2.1.2/24", "10.2.2.1/24"],
        )
        .await
        .unwrap();
    assert_eq!(
        prepared.networks,
        [
            "name=mesh,driver-opt=mesh.address=10.2.1.2/24,driver-opt=mesh.multicast=false,driver-opt=mesh.late=subnet",
            "name=mesh-1,driver-opt=mesh.address=10.2.1.1/24,driver-opt=mesh.multicast=true",
            "name=mesh-2,driver-opt=mesh.address=10.2.2.1/24,driver-opt=mesh.multicast=false",
        ]
    );
    assert_eq!(prepared.addresses, ["10.2.1.1", "10.2.1.2", "10.2.2.1"]);
    assert_eq!(s.docker.world().networks.len(), 3);

    s.docker.world().modern = true;
    let addresses = ["10.2.1.1/24", "10.2.1.2/24"];
    let prepared = s.prepare(Runtime::Docker, &addresses).await.unwrap();
    assert_eq!(
        prepared.networks,
        [
            "name=mesh,driver-opt=mesh.address=10.2.1.1/24,driver-opt=mesh.multicast=true",
            "name=mesh-1,driver-opt=mesh.address=10.2.1.2/24,driver-opt=mesh.multicast=false,driver-opt=mesh.late=true",
        ]
    );
    s.docker.set_down(true);
    let error = s
        .prepare(Runtime::Docker, &["10.2.1.1/24"])
        .await
        .unwrap_err();
    assert!(error.starts_with("Docker is not running"), "{error}");
}

#[tokio::test]
async fn a_prepared_namespace_goes_with_its_caller() {
    let s = setup();
    let prepared = s.prepare(Runtime::Podman, &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(
        prepared.netns,
        Some(format!("/run/netns/mesh-ns-{}", prepared.id))
    );
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    s.kernel.end_process(1000);
    s.reconcile().await;
    assert!(s.plugged().is_empty() && s.kernel.world().namespaces.is_empty());
    let request = AdoptRequest {
        id: prepared.id.clone(),
        container: Some("c".into()),
        pid: None,
        name: String::new(),
    };
    let error = s.attachments.adopt(&request).await.unwrap_err();
    assert!(matches!(error, AttachError::NotPrepared(_)) && error.is_callers());
    s.attachments
        .abandon(&AbandonRequest { id: prepared.id })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_process_lives_on_after_its_caller_and_goes_at_its_end() {
    let s = setup();
    let prepared = s.prepare(Runtime::Process, &["10.2.1.1/24"]).await.unwrap();
    s.kernel.start_process(50);
    s.adopt_process(&prepared.id, 50).await;
    s.kernel.end_process(1000);
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 sleep"]);
    assert_eq!(
        s.attach(&prepared.id, &["10.2.1.2/24"]).await.unwrap(),
        ["10.2.1.2"]
    );
    assert_eq!(s.plugged(), ["10.2.1.1/24", "10.2.1.2/24"]);
    s.detach(&prepared.id, &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(s.plugged(), ["10.2.1.2/24"]);
    // Another process with the same pid is another process.
    s.kernel.world().processes.insert(50, 7);
    s.reconcile().await;
    assert!(
        s.plugged().is_empty()
            && s.kernel.world().namespaces.is_empty()
            && s.announced().is_empty()
    );
}

#[tokio::test]
async fn the_end_of_a_process_is_noticed_at_once() {
    let s = setup();
    let prepared = s.prepare(Runtime::Process, &["10.2.1.1/24"]).await.unwrap();
    s.kernel.start_process(50);
    s.adopt_process(&prepared.id, 50).await;
    let running = tokio::spawn(s.attachments.clone().run());
    // Two looks in, so that the first is over when the process ends.
    let mut generation = s.attachments.port_generation();
    generation.wait_for(|n| *n == 1).await.unwrap();
    s.kernel.end_process(50);
    let mut announced = s.attachments.announced();
    let empty = announced.wait_for(Vec::is_empty);
    tokio::time::timeout(Duration::from_secs(2), empty)
        .await
        .expect("before the next round")
        .unwrap();
    running.abort();
}

#[tokio::test]
async fn a_podman_namespace_lives_as_long_as_its_container() {
    let s = setup();
    let prepared = s.prepare(Runtime::Podman, &["10.2.1.1/24"]).await.unwrap();
    s.podman.add("pod", 60);
    let request = AdoptRequest {
        id: prepared.id,
        container: Some("id-pod".into()),
        pid: None,
        name: "pod".into(),
    };
    s.attachments.adopt(&request).await.unwrap();
    assert_eq!(s.attachments.ps()[0].container, "id-pod");
    s.kernel.end_process(1000);
    s.podman.update("pod", |c| c.running = false);
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"], "stopped is not removed");
    // A reboot takes namespaces and interfaces; the container finds them again.
    s.kernel.world().namespaces.clear();
    s.kernel.world().interfaces.clear();
    let s = s.restart();
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    s.podman.set_down(true);
    s.reconcile().await;
    assert_eq!(
        s.plugged(),
        ["10.2.1.1/24"],
        "while podman cannot be asked nothing is removed"
    );
    s.podman.set_down(false);
    s.podman.remove("pod");
    s.reconcile().await;
    assert!(s.plugged().is_empty() && s.kernel.world().namespaces.is_empty());
}

#[tokio::test]
async fn what_someone_deleted_comes_back() {
    let s = setup();
    s.reconcile().await;
    assert!(s.kernel.world().bridge);
    let prepared = s.prepare(Runtime::Process, &["10.2.1.1/24"]).await.unwrap();
    s.attach("web", &["10.2.1.2/24"]).await.unwrap();
    s.plug_by_docker("e1", "db", "10.2.1.3/24", "/docker/sandbox")
        .await;
    let all = s.plugged();
    assert_eq!(all.len(), 3);
    s.kernel.world().interfaces.clear();
    s.kernel.world().bridge = false;
    s.reconcile().await;
    assert_eq!(s.plugged(), all);
    assert!(s.kernel.world().bridge);
    assert_eq!(
        *s.attachments.port_generation().borrow(),
        2,
        "the port is to be opened again"
    );
    s.kernel
        .world()
        .namespaces
        .remove(std::path::Path::new(&prepared.netns.unwrap()));
    s.kernel.world().interfaces.clear();
    s.reconcile().await;
    assert_eq!(s.plugged(), all);
}

#[tokio::test]
async fn a_restarted_container_is_plugged_again() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    s.kernel.end_process(10);
    s.docker.update("web", |c| (c.running, c.pid) = (false, 0));
    s.reconcile().await;
    assert!(s.announced().is_empty() && s.attachments.ps().is_empty());
    s.attach("db", &["10.2.1.1/24"])
        .await
        .expect("the address of a stopped container is free");
    s.detach("db", &[]).await.unwrap();
    s.docker.update("web", |c| (c.running, c.pid) = (true, 20));
    s.kernel.start_process(20);
    let s = s.restart();
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 web"]);
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    // Restarted within one look, unnoticed; `restart` attaches it again with what it had.
    s.kernel.end_process(20);
    s.kernel.start_process(21);
    s.docker.update("web", |c| c.pid = 21);
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    let place = s
        .kernel
        .world()
        .interfaces
        .values()
        .next()
        .unwrap()
        .0
        .clone();
    assert_eq!(place, Some(kernel::Target::Pid(21)));
    s.kernel.end_process(21);
    s.docker.remove("web");
    s.reconcile().await;
    assert!(s.attachments.table().members.is_empty());
}

#[tokio::test]
async fn an_address_taken_meanwhile_is_not_taken_back() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24", "10.2.1.2/24"])
        .await
        .unwrap();
    s.kernel.end_process(10);
    s.docker.update("web", |c| (c.running, c.pid) = (false, 0));
    s.reconcile().await;
    s.attach("db", &["10.2.1.1/24"]).await.unwrap();
    s.docker.update("web", |c| (c.running, c.pid) = (true, 20));
    s.kernel.start_process(20);
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 db", "10.2.1.2/24 web"]);
    // Detaching the addresses of a stopped container forgets them.
    s.kernel.end_process(20);
    s.docker.update("web", |c| (c.running, c.pid) = (false, 0));
    s.reconcile().await;
    assert_eq!(s.detach("web", &[]).await.unwrap(), ["10.2.1.2"]);
    assert!(!s.attachments.table().members.contains_key("id-web"));
}

#[tokio::test]
async fn detach_disconnects_what_docker_plugged() {
    let s = setup();
    s.plug_by_docker("e1", "web", "10.2.1.1/24", "/docker/sandbox")
        .await;
    assert_eq!(
        s.attach("web", &["10.2.1.1/24"]).await.unwrap(),
        ["10.2.1.1"],
        "it has it already"
    );
    assert_eq!(
        s.detach("web", &["10.2.1.1/24"]).await.unwrap(),
        ["10.2.1.1"]
    );
    assert_eq!(s.docker.world().log, ["disconnect mesh id-web"]);
    assert!(s.announced().is_empty() && s.plugged().is_empty());
}

#[tokio::test]
async fn an_endpoint_survives_the_router_and_goes_with_its_container() {
    let s = setup();
    s.plug_by_docker("e1", "web", "10.2.1.1/24", "/docker/sandbox")
        .await;
    let s = s.restart();
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 web"]);
    // The container ended while nobody could say Leave.
    s.kernel.remove_sandbox("/docker/sandbox");
    let s = s.restart();
    s.reconcile().await;
    assert!(s.announced().is_empty() && s.plugged().is_empty());
}

#[tokio::test]
async fn an_endpoint_whose_interface_is_gone_does_not_keep_its_address() {
    let s = setup();
    s.plug_by_docker("e1", "web", "10.2.1.1/24", "/docker/sandbox")
        .await;
    let wanted = EndpointOptions {
        address: "10.2.1.1/24".parse().unwrap(),
        multicast: false,
        late: Late::No,
    };
    let error = s
        .attachments
        .create_endpoint("e2", "mesh", wanted)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "10.2.1.1 is already used by container web on this host"
    );
    s.kernel.remove_sandbox("/docker/sandbox");
    s.attachments
        .create_endpoint("e2", "mesh", wanted)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_table_is_found_again_in_the_kernel_and_the_engines() {
    let s = setup();
    let (endpoint, container) = ("e".repeat(64), "c".repeat(64));
    s.docker.update("db", |c| c.id.clone_from(&container));
    s.docker
        .update("web", |c| c.sandbox = "/docker/sandbox".into());
    s.docker.world().networks.insert("mesh".into());
    s.plug_by_docker(&endpoint, "web", "10.2.1.1/24", "/docker/sandbox")
        .await;
    s.attach("db", &["10.2.1.2/24"]).await.unwrap();
    s.prepare(Runtime::Process, &["10.2.1.3/24"]).await.unwrap();
    std::fs::remove_file(s.dir.path().join("attachments")).unwrap();
    let s = s.restart();
    s.docker.set_down(true);
    s.reconcile().await;
    assert_eq!(
        s.plugged(),
        ["10.2.1.1/24", "10.2.1.2/24"],
        "nothing of Docker goes while Docker is away"
    );
    assert!(
        s.kernel
            .world()
            .namespaces
            .iter()
            .all(|path| !path.starts_with("/run/netns"))
    );
    s.docker.set_down(false);
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 web", "10.2.1.2/24 db"]);
    assert_eq!(s.plugged(), ["10.2.1.1/24", "10.2.1.2/24"]);
}

#[tokio::test]
async fn containers_that_missed_the_driver_are_started() {
    let s = setup();
    s.docker.add("lost", 0);
    s.docker.update("lost", |c| {
        c.restart_policy = "always".into();
        c.error = "failed to add endpoint: plugin \"mesh\" not found".into();
    });
    s.docker.add("stopped", 0);
    s.docker
        .update("stopped", |c| c.restart_policy = "always".into());
    s.attachments.revive().await;
    assert_eq!(s.docker.world().log, ["start id-lost"]);
}

#[tokio::test]
async fn a_bridge_that_cannot_be_mended_stops_nothing_else() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    s.kernel.fail("ensure_bridge", 0);
    s.kernel.world().interfaces.clear();
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
}

#[tokio::test]
async fn the_driver_answers_while_a_user_waits_for_docker() {
    let s = setup();
    let _turn = s.attachments.operations.lock().await;
    let done = Arc::new(AtomicBool::new(false));
    let wanted = EndpointOptions {
        address: "10.2.1.1/24".parse().unwrap(),
        multicast: false,
        late: Late::No,
    };
    let create = async {
        s.attachments
            .create_endpoint("e1", "mesh", wanted)
            .await
            .unwrap();
        s.attachments.delete_endpoint("e1").await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(Duration::from_secs(2), create)
        .await
        .unwrap();
    assert!(done.load(Ordering::Relaxed));
}
