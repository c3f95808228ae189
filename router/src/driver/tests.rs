use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mesh_engine::network::NetworkEndpoint;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::*;
use crate::attach::Surroundings;
use crate::attach::fake::DefaultNetworkOnly;
use crate::attach::fake::FakeKernel;
use crate::engine::Engines;
use crate::engine::fake::FakeEngine;
use crate::ipam::Allocator;
use crate::state::Store;

struct Setup {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    kernel: Arc<FakeKernel>,
    docker: Arc<FakeEngine>,
    attachments: Arc<Attachments>,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

const ID: &str = "5b0c43e433f2ff5e2271633e882134e15debfafffa9f792d174187ce59851c3d";
const SANDBOX: &str = "/var/run/docker/netns/6ad91c1e61e2";

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("plugins/mesh.sock");
    let (kernel, docker) = (FakeKernel::new(), FakeEngine::new(Runtime::Docker));
    let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
    let engines = Engines::new(vec![docker.clone()]);
    let book = Arc::new(|_: NetworkId, ip: std::net::IpAddr| {
        (ip.to_string() == "10.9.9.9").then(|| "container db on 7a::1(host2)".to_owned())
    });
    let around = Surroundings {
        store,
        kernel: kernel.clone(),
        engines,
        book,
        allocator: Allocator::off("nothing is allocated here"),
        networks: Arc::new(DefaultNetworkOnly),
    };
    let attachments = Attachments::open(around, "mesh").unwrap();
    let bound = PluginSocket::bind(&socket).unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(bound.serve(
        routes(DriverBackend::Router(attachments.clone())),
        async {
            let _ = stopped.await;
        },
    ));
    Setup {
        _dir: dir,
        socket,
        kernel,
        docker,
        attachments,
        stop,
        serving,
    }
}

/// A request as dockerd sends it: HTTP/1.1, empty Host.
async fn call(socket: &Path, method: &str, body: &str) -> Value {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "POST /{method} HTTP/1.1\r\nHost: \r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

fn create_body(options: &BTreeMap<String, String>) -> String {
    let mut all =
        json!({"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []});
    for (key, value) in options {
        all[key] = Value::from(value.clone());
    }
    json!({"NetworkID": "4e30a1f5", "EndpointID": ID, "Options": all,
        "Interface": {"Address": "", "AddressIPv6": "", "MacAddress": ""}})
    .to_string()
}

fn with_address(address: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("mesh.address".to_owned(), address.to_owned())])
}

async fn create(s: &Setup, address: &str) -> Value {
    call(
        &s.socket,
        "NetworkDriver.CreateEndpoint",
        &create_body(&with_address(address)),
    )
    .await
}

#[tokio::test]
async fn it_says_what_it_is() {
    let s = setup();
    assert_eq!(
        call(&s.socket, "Plugin.Activate", "").await,
        json!({"Implements": ["NetworkDriver", "IpamDriver"]})
    );
    let capabilities = call(&s.socket, "NetworkDriver.GetCapabilities", "null").await;
    assert_eq!(capabilities["Scope"], "local");
    for nothing in [
        "DeleteNetwork",
        "DiscoverNew",
        "DiscoverDelete",
        "FreeNetwork",
        "ProgramExternalConnectivity",
        "RevokeExternalConnectivity",
    ] {
        assert_eq!(
            call(&s.socket, &format!("NetworkDriver.{nothing}"), "{}").await,
            json!({})
        );
    }
    let unknown = call(&s.socket, "IpamDriver.Other", "{}").await;
    assert!(unknown["Error"].is_string());
}

#[tokio::test]
async fn a_container_comes_and_goes() {
    let s = setup();
    let answer = create(&s, "10.2.1.1/24").await;
    assert_eq!(
        answer,
        json!({"Interface": {"Address": "10.2.1.1/24", "MacAddress": "02:6d:0a:02:01:01"}})
    );
    s.kernel.add_sandbox(SANDBOX);
    let end = NetworkEndpoint {
        endpoint: ID.into(),
        container: "id-web".into(),
        name: "web".into(),
    };
    s.docker
        .world()
        .endpoints
        .insert("4e30a1f5".into(), vec![end]);
    let body =
        json!({"NetworkID": "4e30a1f5", "EndpointID": ID, "SandboxKey": SANDBOX}).to_string();
    let answer = call(&s.socket, "NetworkDriver.Join", &body).await;
    assert_eq!(
        answer,
        json!({"InterfaceName": {"SrcName": "peer0", "DstPrefix": "mesh"}, "StaticRoutes": [],
            "DisableGatewayService": true})
    );
    let mut announced = s.attachments.announced();
    let named = announced.wait_for(|list| list.iter().any(|a| a.container == "web"));
    tokio::time::timeout(Duration::from_secs(5), named)
        .await
        .unwrap()
        .unwrap();
    let ps = s.attachments.ps();
    assert_eq!(
        (ps[0].container.as_str(), ps[0].interfaces[0].name.as_str()),
        ("id-web", "mesh0")
    );
    for method in ["EndpointOperInfo", "Leave", "DeleteEndpoint"] {
        let answer = call(&s.socket, &format!("NetworkDriver.{method}"), &body).await;
        assert!(answer.get("Err").is_none(), "{method}: {answer}");
    }
    assert!(s.attachments.announced().borrow().is_empty());
    assert!(s.kernel.plugged_addresses().is_empty());
}

#[tokio::test]
async fn multicast_is_a_route_and_a_late_address_is_not_told() {
    let s = setup();
    let mut options = with_address("10.2.1.1/24");
    options.insert("mesh.multicast".into(), "true".into());
    options.insert("mesh.late".into(), "true".into());
    let answer = call(
        &s.socket,
        "NetworkDriver.CreateEndpoint",
        &create_body(&options),
    )
    .await;
    assert_eq!(
        answer,
        json!({"Interface": {"MacAddress": "02:6d:0a:02:01:01"}})
    );
    options.insert("mesh.late".into(), "subnet".into());
    let body = json!({"EndpointID": ID}).to_string();
    call(&s.socket, "NetworkDriver.DeleteEndpoint", &body).await;
    let body = create_body(&options);
    let answer = call(&s.socket, "NetworkDriver.CreateEndpoint", &body).await;
    assert_eq!(answer["Interface"]["Address"], "10.2.1.1/32");

    let body = json!({"EndpointID": ID, "SandboxKey": SANDBOX}).to_string();
    let answer = call(&s.socket, "NetworkDriver.Join", &body).await;
    assert_eq!(
        answer["StaticRoutes"],
        json!([{"Destination": "224.0.0.0/4", "RouteType": 1}])
    );
}

#[tokio::test]
async fn a_container_waits_until_its_interface_is_finished() {
    let s = setup();
    create(&s, "10.2.1.1/24").await;
    let body = json!({"EndpointID": ID, "SandboxKey": SANDBOX}).to_string();
    let finished = || s.attachments.ps()[0].interfaces[0].name == "mesh0";
    // Before the namespace is there, Docker is not kept waiting.
    s.kernel.fail("finish_endpoint", 0);
    call(&s.socket, "NetworkDriver.Join", &body).await;
    let ask = || call(&s.socket, "NetworkDriver.EndpointOperInfo", &body);
    assert_eq!(ask().await, json!({"Value": {}}));
    assert!(!finished());
    s.kernel.add_sandbox(SANDBOX);
    call(&s.socket, "NetworkDriver.Join", &body).await;
    assert_eq!(ask().await, json!({"Value": {}}));
    assert!(finished());
}

#[tokio::test]
async fn ipv6_has_its_own_field() {
    let s = setup();
    let answer = create(&s, "fd00::5/64").await;
    assert_eq!(answer["Interface"]["AddressIPv6"], "fd00::5/64");
    assert!(answer["Interface"].get("Address").is_none());
}

#[tokio::test]
async fn errors_reach_the_user_and_leave_nothing() {
    let s = setup();
    let error = |answer: Value| answer["Err"].as_str().unwrap_or_default().to_owned();
    let none = call(
        &s.socket,
        "NetworkDriver.CreateEndpoint",
        &create_body(&BTreeMap::new()),
    )
    .await;
    assert!(error(none).contains("nothing is allocated here"));
    let used = create(&s, "10.9.9.9/24").await;
    assert_eq!(
        error(used),
        "10.9.9.9 is already used by container db on 7a::1(host2)"
    );
    s.kernel.fail("make_endpoint", 0);
    assert!(error(create(&s, "10.2.1.1/24").await).contains("failed as told"));
    assert!(s.attachments.announced().borrow().is_empty());
    for body in [
        "",
        "null",
        "[]",
        "{\"EndpointID\": 7}",
        "{\"EndpointID\": \"../x\", \"NetworkID\": \"n\"}",
    ] {
        let answer = call(&s.socket, "NetworkDriver.CreateEndpoint", body).await;
        assert!(answer["Err"].is_string(), "{body}: {answer}");
    }
    let body = json!({"EndpointID": "unknown", "SandboxKey": SANDBOX}).to_string();
    assert!(error(call(&s.socket, "NetworkDriver.Join", &body).await).contains("does not know"));
}

#[tokio::test]
async fn what_is_unknown_is_deleted_and_left_with_success() {
    let s = setup();
    for method in ["Leave", "DeleteEndpoint", "EndpointOperInfo"] {
        let answer = call(
            &s.socket,
            &format!("NetworkDriver.{method}"),
            "{\"EndpointID\": \"nope\"}",
        )
        .await;
        assert!(answer.get("Err").is_none(), "{method}: {answer}");
    }
}

#[tokio::test]
async fn the_socket_is_taken_over_only_from_the_dead_and_goes_at_the_end() {
    let s = setup();
    let error = PluginSocket::bind(&s.socket).unwrap_err().to_string();
    assert!(error.contains("another router serves it"), "{error}");
    s.stop.send(()).unwrap();
    s.serving.await.unwrap().unwrap();
    assert!(!s.socket.exists());
    drop(std::os::unix::net::UnixListener::bind(&s.socket).unwrap());
    assert!(s.socket.exists(), "left by a router that was killed");
    // A process that another test is just starting holds the dead one's listener until it is executed.
    let taken_over = async {
        loop {
            match PluginSocket::bind(&s.socket) {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    drop(
        tokio::time::timeout(Duration::from_secs(5), taken_over)
            .await
            .unwrap(),
    );
    assert!(!s.socket.exists());
}

#[tokio::test]
async fn pools_are_linked_to_networks_and_addresses_are_asked_of_the_mesh() {
    let s = setup();
    let ask = async |method: &str, body: Value| call(&s.socket, method, &body.to_string()).await;
    let pool = ask(
        "IpamDriver.RequestPool",
        json!({"Pool": "10.40.0.0/16", "V6": false}),
    )
    .await;
    assert_eq!(pool["Pool"], "10.40.0.0/16");
    assert_eq!(pool["Data"]["com.docker.network.gateway"], "0.0.0.0/0");
    let id = pool["PoolID"].as_str().unwrap();
    let gateway = json!({"PoolID": id, "Address": "10.40.0.1",
        "Options": {"RequestAddressType": "com.docker.network.gateway"}});
    let gateway = ask("IpamDriver.RequestAddress", gateway).await;
    assert_eq!(gateway["Address"], "10.40.0.1/16");
    let network = json!({"NetworkID": "4e30", "Options": null, "IPv4Data":
        [{"Pool": "10.40.0.0/16", "Gateway": "10.40.0.1/16"}]});
    assert_eq!(ask("NetworkDriver.CreateNetwork", network).await, json!({}));
    // The mesh of this test has the network `default` alone, and allocates nothing.
    s.attachments.docker().users.named("4e30", "mesh").await;
    let any = ask(
        "IpamDriver.RequestAddress",
        json!({"PoolID": id, "Address": ""}),
    )
    .await;
    let error = any["Error"].as_str().unwrap();
    assert!(error.contains("nothing is allocated here"), "{any}");
    let fixed = json!({"PoolID": id, "Address": "10.40.0.9"});
    let fixed = ask("IpamDriver.RequestAddress", fixed).await;
    assert_eq!(fixed["Address"], "10.40.0.9/16");
    let body = json!({"NetworkID": "4e30", "EndpointID": ID, "Options": {},
        "Interface": {"Address": "10.40.0.9/16", "AddressIPv6": "", "MacAddress": ""}});
    let made = ask("NetworkDriver.CreateEndpoint", body).await;
    assert_eq!(
        made,
        json!({"Interface": {"MacAddress": "02:6d:0a:28:00:09"}})
    );
    let join = json!({"NetworkID": "4e30", "EndpointID": ID, "SandboxKey": SANDBOX});
    let joined = ask("NetworkDriver.Join", join).await;
    assert_eq!(joined["DisableGatewayService"], false);
    let again = json!({"PoolID": id, "Address": "10.40.0.9"});
    let again = ask("IpamDriver.RequestAddress", again).await;
    assert!(
        again["Error"].as_str().unwrap().contains("already used"),
        "{again}"
    );
    for (method, body) in [
        (
            "IpamDriver.ReleaseAddress",
            json!({"PoolID": id, "Address": "10.40.0.9"}),
        ),
        ("NetworkDriver.DeleteNetwork", json!({"NetworkID": "4e30"})),
        ("IpamDriver.ReleasePool", json!({"PoolID": id})),
    ] {
        assert_eq!(ask(method, body).await, json!({}), "{method}");
    }
    let gone = ask(
        "IpamDriver.RequestAddress",
        json!({"PoolID": id, "Address": ""}),
    )
    .await;
    assert!(
        gone["Error"].as_str().unwrap().contains("is not known"),
        "{gone}"
    );
}
