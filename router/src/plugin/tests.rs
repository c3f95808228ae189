//! The plugin process with a router that answers, hangs, or is missing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use mesh_engine::container::EngineContainer;
use mesh_engine::network::NetworkEndpoint;
use mesh_engine::plugin::DESCRIBE;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::forward::PluginConnection;
use super::*;
use crate::attach::fake::DefaultNetworkOnly;
use crate::attach::fake::FakeKernel;
use crate::attach::{Attachments, Surroundings};
use crate::engine::Engines;
use crate::engine::fake::FakeEngine;
use crate::ipam::Allocator;
use crate::state::Store;
use mesh_proto::api::Runtime;

const ID: &str = "5b0c43e433f2ff5e2271633e882134e15debfafffa9f792d174187ce59851c3d";
const SANDBOX: &str = "/var/run/docker/netns/6ad91c1e61e2";
/// Allows for a busy test machine, but is less than the half minute that Docker waits without a plugin.
const SOON: Duration = Duration::from_secs(8);

struct Setup {
    dir: tempfile::TempDir,
    kernel: Arc<FakeKernel>,
    path: PathBuf,
    router: PathBuf,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let path = dir.path().join("plugins/mesh.sock");
    let router = dir.path().join("mesh.sock");
    let s = Setup {
        dir,
        kernel,
        path,
        router,
    };
    s.serve();
    s
}

impl Setup {
    fn settings(&self) -> PluginSettings {
        PluginSettings {
            plugin_socket: self.path.clone(),
            socket: self.router.clone(),
            state_dir: self.dir.path().join("state"),
            bridge: "mesh".into(),
            mtu: 1376,
            offloads_off: false,
            swarm: false,
        }
    }

    /// Starts another plugin process in place of the previous one.
    fn serve(&self) {
        let plugin = Plugin::new(self.settings(), self.kernel.clone());
        let socket = PluginSocket::bind_over(&self.path).unwrap();
        let end = plugin.end.clone();
        tokio::spawn(socket.serve(plugin.routes(), async move { end.notified().await }));
    }

    async fn call(&self, call: &str, body: &Value) -> Value {
        let peer = PluginConnection::connect(&self.path).await.unwrap();
        let body = Bytes::from(body.to_string());
        peer.ask(call, body).await.unwrap()
    }

    async fn create(&self, address: &str) -> Value {
        let body = json!({"NetworkID": "4e30a1f5", "EndpointID": ID,
            "Options": {"mesh.address": address, "mesh.multicast": "true"}});
        self.call("NetworkDriver.CreateEndpoint", &body).await
    }

    async fn join(&self) -> Value {
        self.call("NetworkDriver.Join", &endpoint()).await
    }

    async fn delete(&self) -> Value {
        self.call("NetworkDriver.Leave", &endpoint()).await;
        self.call("NetworkDriver.DeleteEndpoint", &endpoint()).await
    }

    fn attachments(&self, docker: &Arc<FakeEngine>) -> Arc<Attachments> {
        let store = Arc::new(Store::open(&self.dir.path().join("state")).unwrap());
        let engines = Engines::new(vec![docker.clone()]);
        let around = Surroundings {
            store,
            kernel: self.kernel.clone(),
            engines,
            book: Arc::new(|_, _| None),
            allocator: Allocator::off("nothing is allocated here"),
            networks: Arc::new(DefaultNetworkOnly),
        };
        Attachments::open(around, "mesh").unwrap()
    }

    fn start_router(&self, attachments: &Arc<Attachments>) -> oneshot::Sender<()> {
        let listener = UnixListener::bind(&self.router).unwrap();
        let routes = Router::new().nest_service(
            ROUTER_PATH,
            driver::routes(DriverBackend::Router(attachments.clone())),
        );
        let (stop, stopped) = oneshot::channel();
        let path = self.router.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, routes).into_future() => served.unwrap(),
                _ = stopped => {}
            }
            let _ = std::fs::remove_file(path);
        });
        stop
    }
}

fn endpoint() -> Value {
    json!({"NetworkID": "4e30a1f5", "EndpointID": ID, "SandboxKey": SANDBOX})
}

#[tokio::test]
async fn without_a_router_containers_come_and_go() {
    let s = setup();
    let interface =
        json!({"Interface": {"Address": "10.2.1.1/24", "MacAddress": "02:6d:0a:02:01:01"}});
    assert_eq!(s.create("10.2.1.1/24").await, interface);
    s.kernel.add_sandbox(SANDBOX);
    let joined = s.join().await;
    assert_eq!(joined["InterfaceName"]["SrcName"], "peer0");
    assert_eq!(joined["StaticRoutes"][0]["Destination"], "224.0.0.0/4");
    assert_eq!(s.kernel.plugged_addresses(), ["10.2.1.1/24"]);
    assert_eq!(s.delete().await, json!({}));
    assert!(s.kernel.plugged_addresses().is_empty());
    // Deleting an unknown endpoint succeeds, too; networks are Docker's.
    for call in ["Leave", "DeleteEndpoint", "DeleteNetwork", "CreateNetwork"] {
        let answer = s.call(&format!("NetworkDriver.{call}"), &endpoint()).await;
        assert_eq!(answer, json!({}), "{call}");
    }
}

#[tokio::test]
async fn an_address_in_a_container_is_not_given_to_a_second() {
    let s = setup();
    s.create("10.2.1.1/24").await;
    s.kernel.add_sandbox(SANDBOX);
    s.join().await;
    let arrived = || s.kernel.arrived().unwrap().len() == 1;
    while !arrived() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let other = json!({"NetworkID": "4e30a1f5", "EndpointID": "other",
        "Options": {"mesh.address": "10.2.1.1/24"}});
    let answer = s.call("NetworkDriver.CreateEndpoint", &other).await;
    let error = answer["Err"].as_str().unwrap();
    assert!(error.contains("10.2.1.1 is already used"), "{error}");
    // A pair that no container has received is removed.
    s.kernel.remove_sandbox(SANDBOX);
    s.create("10.2.1.1/24").await;
    let answer = s.call("NetworkDriver.CreateEndpoint", &other).await;
    assert!(answer.get("Err").is_none(), "{answer}");
}

#[tokio::test]
async fn a_container_without_an_address_starts_without_an_interface() {
    let s = setup();
    let body = json!({"NetworkID": "4e30a1f5", "EndpointID": ID, "Options": {}});
    let answer = s.call("NetworkDriver.CreateEndpoint", &body).await;
    assert_eq!(answer, json!({"Interface": {}}));
    assert_eq!(s.join().await["InterfaceName"]["SrcName"], "");
    assert!(s.kernel.plugged_addresses().is_empty());
}

#[tokio::test]
async fn a_router_that_hangs_costs_docker_a_moment_once() {
    let s = setup();
    // Accepts connections and never answers.
    let hung = UnixListener::bind(&s.router).unwrap();
    let began = Instant::now();
    s.create("10.2.1.1/24").await;
    s.kernel.add_sandbox(SANDBOX);
    s.join().await;
    let first = began.elapsed();
    assert!(
        first > Duration::from_millis(500) && first < SOON,
        "{first:?}"
    );
    let began = Instant::now();
    for _ in 0..20 {
        s.delete().await;
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop(hung);
}

#[tokio::test]
async fn a_router_that_comes_back_in_the_middle_of_a_start_does_not_fail_it() {
    let s = setup();
    let docker = FakeEngine::new(Runtime::Docker);
    s.create("10.2.1.1/24").await;
    s.kernel.add_sandbox(SANDBOX);
    let attachments = s.attachments(&docker);
    let stop = s.start_router(&attachments);
    let joined = s.join().await;
    assert_eq!(joined["InterfaceName"]["SrcName"], "peer0", "{joined}");
    s.delete().await;
    assert!(s.kernel.plugged_addresses().is_empty());

    // A new router by then, without a table.
    s.create("10.2.1.2/24").await;
    attachments.delete_endpoint(ID).await;
    let joined = s.join().await;
    assert_ne!(joined["InterfaceName"]["SrcName"], "", "{joined}");
    s.delete().await;
    drop(stop);
}

#[tokio::test]
async fn what_was_made_without_the_router_is_in_its_table_later() {
    let s = setup();
    let docker = FakeEngine::new(Runtime::Docker);
    s.create("10.2.1.1/24").await;
    s.kernel.add_sandbox(SANDBOX);
    s.join().await;
    let container = EngineContainer {
        id: "c0".into(),
        name: "web".into(),
        running: true,
        sandbox: SANDBOX.into(),
        connections: vec![BTreeMap::from([(
            "mesh.address".to_owned(),
            "10.2.1.1/24".to_owned(),
        )])],
        ..EngineContainer::default()
    };
    {
        let mut world = docker.world();
        world.networks.insert("mesh".into());
        let end = NetworkEndpoint {
            endpoint: ID.into(),
            container: "c0".into(),
            name: "web".into(),
        };
        world.endpoints.insert("mesh".into(), vec![end]);
        world.containers.insert("c0".into(), container);
    }
    let attachments = s.attachments(&docker);
    attachments.reconcile(false).await;
    let ps = attachments.ps();
    assert_eq!(ps[0].name, "web");
    assert_eq!(ps[0].interfaces[0].address, "10.2.1.1/24");

    // A running router handles the call, and ends the container's attachment.
    let stop = s.start_router(&attachments);
    s.delete().await;
    assert!(attachments.ps().is_empty());
    // The router ends in the middle of a start.
    s.create("10.2.1.2/24").await;
    assert_eq!(attachments.ps()[0].interfaces[0].address, "10.2.1.2/24");
    stop.send(()).unwrap();
    while s.router.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(s.join().await["InterfaceName"]["SrcName"], "peer0");
    s.delete().await;
    assert!(s.kernel.plugged_addresses().is_empty());
}

/// Docker's own networks: what a container had it has again, and nothing else is given.
#[tokio::test]
async fn a_container_of_a_users_network_starts_again_without_the_router() {
    let s = setup();
    let docker = FakeEngine::new(Runtime::Docker);
    let attachments = s.attachments(&docker);
    let stop = s.start_router(&attachments);
    let pool = json!({"Pool": "10.40.0.0/16", "V6": false});
    let pool = s.call("IpamDriver.RequestPool", &pool).await;
    let id = pool["PoolID"].as_str().unwrap();
    let network = json!({"NetworkID": "4e30a1f5", "Options": null, "IPv4Data":
        [{"Pool": "10.40.0.0/16", "Gateway": "10.40.0.1/16"}]});
    s.call("NetworkDriver.CreateNetwork", &network).await;
    attachments.docker().users.named("4e30a1f5", "mesh").await;
    let ask = async |address: &str| {
        let body = json!({"PoolID": id, "Address": address});
        s.call("IpamDriver.RequestAddress", &body).await
    };
    let create = json!({"NetworkID": "4e30a1f5", "EndpointID": ID, "Options": {},
        "Interface": {"Address": "10.40.0.9/16", "AddressIPv6": "", "MacAddress": ""}});
    let create = async || s.call("NetworkDriver.CreateEndpoint", &create).await;
    let made = json!({"Interface": {"MacAddress": "02:6d:0a:28:00:09"}});
    assert_eq!(ask("10.40.0.9").await["Address"], "10.40.0.9/16");
    assert_eq!(create().await, made);
    s.kernel.add_sandbox(SANDBOX);
    stop.send(()).unwrap();
    while s.router.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let joined = s.join().await;
    assert_eq!(joined["DisableGatewayService"], false, "{joined}");

    let no_other = async || {
        for address in ["", "10.40.0.8"] {
            let refused = ask(address).await;
            let error = refused["Error"].as_str().unwrap();
            assert!(error.contains("start it with mesh launch"), "{refused}");
        }
    };
    no_other().await;
    s.delete().await;
    let release = json!({"PoolID": id, "Address": "10.40.0.9"});
    let release = async || s.call("IpamDriver.ReleaseAddress", &release).await;
    assert_eq!(release().await, json!({}));
    assert_eq!(ask("").await["Address"], "10.40.0.9/16");
    no_other().await;
    assert_eq!(create().await, made);
    assert_eq!(s.join().await["DisableGatewayService"], false);
    assert_eq!(s.kernel.plugged_addresses(), ["10.40.0.9/16"]);
    let unknown = json!({"NetworkID": "4e30a1f5", "EndpointID": "other", "Options": {},
        "Interface": {"Address": "10.40.0.8/16"}});
    let refused = s.call("NetworkDriver.CreateEndpoint", &unknown).await;
    assert!(refused["Err"].as_str().is_some(), "{refused}");

    // A router that answers gives addresses itself.
    s.delete().await;
    release().await;
    let stop = s.start_router(&attachments);
    s.delete().await;
    stop.send(()).unwrap();
    while s.router.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    no_other().await;
}

#[tokio::test]
async fn another_takes_its_place_without_a_gap() {
    let s = setup();
    let before = PluginConnection::connect(&s.path).await.unwrap();
    let endless = s.path.clone();
    let (stop, mut stopped) = oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let mut answers = 0;
        while stopped.try_recv().is_err() {
            let peer = PluginConnection::connect(&endless)
                .await
                .expect("somebody listens");
            let answer = peer.ask("NetworkDriver.Leave", Bytes::from(endpoint().to_string()));
            assert_eq!(answer.await.expect("an answer"), json!({}));
            answers += 1;
        }
        answers
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    s.serve();
    before.ask(END, Bytes::new()).await.unwrap();
    tokio::time::sleep(3 * LAST_CALLERS).await;
    stop.send(()).unwrap();
    assert!(asking.await.unwrap() > 1);
    assert!(s.path.exists(), "the first one leaves it to the second");
    let described: Described = serde_json::from_value(s.call(DESCRIBE, &json!({})).await).unwrap();
    assert_eq!(described.settings, s.settings());
    assert!(end(&s.path).await.unwrap());
    assert!(!s.path.exists());
    assert!(!end(&s.path).await.unwrap());
}
