//! Containers, the host and bridges in networks other than `default`.

use mesh_networks::{NetworkName, NetworkSubnet, NetworkVersion};
use mesh_proto::api::{ExposeRequest, HideRequest};
use mesh_proto::ids::PeerId;

use super::*;

const WEB: NetworkId = NetworkId([7; 16]);
const DB: NetworkId = NetworkId([8; 16]);
const WEB_HEX: &str = "07070707070707070707070707070707";

/// Networks `web` and `db` with the same subnet 10.40.0.0/16; the gateway is 10.40.0.254.
fn with_networks() -> Setup {
    let s = setup();
    s.define(WEB, "web", false);
    s.define(DB, "db", false);
    s
}

impl Setup {
    fn define(&self, id: NetworkId, name: &str, internal: bool) {
        let subnet = NetworkSubnet {
            gateway: Some("10.40.0.254".parse().unwrap()),
            ..NetworkSubnet::new("10.40.0.0/16".parse().unwrap())
        };
        let definition = NetworkDefinition {
            id,
            version: NetworkVersion {
                counter: 1,
                author: PeerId([1; 16]),
            },
            stamp: 1,
            name: NetworkName::parse(name).unwrap(),
            subnets: vec![subnet],
            internal,
            mtu: Some(1_300),
            labels: Vec::new(),
            extension: Vec::new(),
        };
        let mut defined = self.networks.defined.lock().unwrap();
        defined.insert(id, Arc::new(definition));
    }

    fn remove_network(&self, id: NetworkId) {
        self.networks.defined.lock().unwrap().remove(&id);
    }

    fn used(&self) -> Vec<NetworkId> {
        let open = self.attachments.open_networks().borrow().clone();
        open.used.into_iter().chain(open.idle).collect()
    }

    fn open_networks(&self) -> Vec<NetworkId> {
        self.kernel.world().open.keys().copied().collect()
    }

    /// `interface address network`, each.
    fn listed(&self) -> Vec<String> {
        let rows = self.attachments.ps();
        let all = rows.iter().flat_map(|row| &row.interfaces);
        all.map(|i| format!("{} {} '{}'", i.name, i.address, i.network))
            .collect()
    }

    async fn expose_in(
        &self,
        network: &str,
        address: &str,
        masquerade: bool,
    ) -> Result<Vec<String>, String> {
        let request = ExposeRequest {
            addresses: strings(&[address]),
            masquerade,
            caller_pid: 1000,
            network: network.into(),
            ..ExposeRequest::default()
        };
        let done = self.attachments.expose(&request, None).await;
        done.map(|done| done.addresses.into_iter().map(|a| a.network).collect())
            .map_err(|e| e.to_string())
    }

    async fn hide_in(&self, network: &str, addresses: &[&str]) -> Vec<String> {
        let request = HideRequest {
            addresses: strings(addresses),
            network: network.into(),
        };
        self.attachments.hide(&request).await.unwrap().addresses
    }
}

#[tokio::test]
async fn a_container_is_in_several_networks() {
    let s = with_networks();
    let given = s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    assert_eq!(given.addresses, ["10.40.0.1"]);
    s.attach_in("db", "web", &["10.40.0.2/16"]).await.unwrap();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(s.used(), [WEB, DB]);
    assert_eq!(*s.networks.joined.lock().unwrap(), [WEB, DB]);
    assert_eq!(
        s.kernel.world().open.get(&WEB),
        Some(&(Some(1_300), "web".to_owned()))
    );
    assert_eq!(
        s.listed(),
        [
            "mesh0 10.40.0.1/16 'web'",
            "mesh1 10.40.0.2/16 'db'",
            "mesh2 10.2.1.1/24 ''",
        ]
    );
    let networks: Vec<NetworkId> = {
        let announced = s.attachments.announced();
        let all = announced.borrow();
        all.iter().map(|a| a.network).collect()
    };
    assert_eq!(networks, [NetworkId::DEFAULT, WEB, DB]);
    let in_networks: Vec<_> = s.attachments.network_addresses();
    assert_eq!(
        in_networks
            .iter()
            .map(|(_, ip, network)| (ip.to_string(), *network))
            .collect::<Vec<_>>(),
        [("10.40.0.1".to_owned(), WEB), ("10.40.0.2".to_owned(), DB)]
    );

    // Addresses without a network are those of default; without addresses, all is meant.
    let error = s.detach_in("", "web", &["10.40.0.2/16"]).await.unwrap_err();
    assert_eq!(
        error,
        "container web has 10.40.0.2 in the network db; add --net db"
    );
    let error = s.detach_in("web", "web", &["10.40.0.2"]).await.unwrap_err();
    assert!(error.contains("add --net db"), "{error}");
    let gone = s.detach_in("db", "web", &["10.40.0.2"]).await.unwrap();
    assert_eq!(gone.addresses, ["10.40.0.2"]);
    let gone = s.detach_in("web", "web", &[]).await.unwrap();
    assert_eq!(gone.addresses, ["10.40.0.1"]);
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    assert_eq!(s.detach("web", &[]).await.unwrap().len(), 2);
    assert!(s.plugged().is_empty());
}

#[tokio::test]
async fn equal_addresses_in_two_networks_are_two() {
    let s = with_networks();
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    s.attach_in("db", "db", &["10.40.0.1"]).await.unwrap();
    assert_eq!(s.plugged(), ["10.40.0.1/16", "10.40.0.1/16"]);
    let error = s.attach_in("web", "db", &["10.40.0.1"]).await.unwrap_err();
    assert_eq!(
        error,
        "10.40.0.1 is already used by container web on this host"
    );
    let error = s.prepare_in("web", Runtime::Process, &["10.40.0.1"]).await;
    assert!(error.unwrap_err().contains("container web on this host"));
    // After a restart of the router both are as they were.
    let s = s.restart();
    assert_eq!(s.used(), [WEB, DB]);
    s.kernel.world().open.clear();
    s.kernel.world().interfaces.clear();
    s.reconcile().await;
    assert_eq!(s.open_networks(), [WEB, DB]);
    assert_eq!(s.plugged(), ["10.40.0.1/16", "10.40.0.1/16"]);
}

#[tokio::test]
async fn mistakes_are_told_and_leave_nothing() {
    let s = with_networks();
    for (network, addresses, words) in [
        (
            "nope",
            &["10.40.0.1"][..],
            "there is no network 'nope'; `mesh network ls` lists all",
        ),
        (
            "web",
            &["10.41.0.1"][..],
            "10.41.0.1 is outside the network web (10.40.0.0/16)",
        ),
        (
            "web",
            &["10.40.0.254"][..],
            "is the gateway of the network web",
        ),
        ("web", &["10.40.0.1/24"][..], "write 10.40.0.1/16"),
        (
            "web",
            &["net:default"][..],
            "leave out either it or --net web",
        ),
        (
            "web",
            &["net:10.32.5.0/24"][..],
            "leave out either it or --net web",
        ),
        ("default", &["10.40.0.1"][..], "no prefix length"),
    ] {
        let attach = s.attach_in(network, "web", addresses).await.unwrap_err();
        let prepare = s.prepare_in(network, Runtime::Docker, addresses).await;
        for error in [attach, prepare.unwrap_err()] {
            assert!(error.contains(words) && !error.contains('\n'), "{error}");
        }
    }
    let error = s
        .detach_in("web", "web", &["net:default"])
        .await
        .unwrap_err();
    assert!(error.contains("leave out either it or --net"), "{error}");
    assert!(s.detach_in("nope", "web", &[]).await.is_err());
    assert!(s.open_networks().is_empty() && s.used().is_empty());
    // A network that this host cannot join, and one whose bridge cannot be made.
    let refusal = "the network web has no room on this host".to_owned();
    *s.networks.refusal.lock().unwrap() = Some(refusal.clone());
    let error = s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap_err();
    assert_eq!(error, refusal);
    s.kernel.fail("open_network", 0);
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap_err();
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
}

#[tokio::test]
async fn a_process_is_prepared_in_a_network() {
    let s = with_networks();
    let prepared = s
        .prepare_in("web", Runtime::Process, &["10.40.0.1", "10.40.0.2"])
        .await;
    let prepared = prepared.unwrap();
    assert_eq!(prepared.addresses, ["10.40.0.1", "10.40.0.2"]);
    s.kernel.start_process(50);
    s.adopt_process(&prepared.id, 50).await;
    assert_eq!(
        s.listed(),
        ["mesh0 10.40.0.1/16 'web'", "mesh1 10.40.0.2/16 'web'"]
    );
    let sites = s.attachments.resolver_sites().borrow().clone();
    assert_eq!(sites[0].networks, [WEB, WEB]);
    s.kernel.end_process(50);
    s.reconcile().await;
    assert!(s.listed().is_empty());
    // Between the end of one container and the start of the next the network stays open.
    assert_eq!((s.used(), s.open_networks()), (vec![WEB], vec![WEB]));
}

#[tokio::test]
async fn dockers_endpoints_say_their_network() {
    let s = with_networks();
    let prepared = s
        .prepare_in("web", Runtime::Docker, &["10.40.0.1", "10.40.0.2"])
        .await;
    let networks = prepared.unwrap().networks;
    let network = format!("driver-opt=mesh.network={WEB_HEX}");
    assert_eq!(
        networks,
        [
            format!(
                "name=mesh-1.web,driver-opt=mesh.address=10.40.0.2/16,driver-opt=mesh.multicast=false,\
                 driver-opt=mesh.late=subnet,{network}"
            ),
            format!(
                "name=mesh.web,driver-opt=mesh.address=10.40.0.1/16,driver-opt=mesh.multicast=true,{network}"
            ),
        ]
    );
    // The image is being fetched: the network is used.
    assert_eq!(s.used(), [WEB]);
    let wanted = EndpointOptions {
        network: WEB,
        ..options("10.40.0.1/16")
    };
    let made = s
        .attachments
        .docker()
        .endpoints
        .create("e1", "net", Some(wanted.clone()), None);
    made.await.unwrap();
    assert_eq!(s.listed(), [" 10.40.0.1/16 'web'"]);
    let again = s
        .attachments
        .docker()
        .endpoints
        .create("e2", "net", Some(wanted.clone()), None);
    assert!(
        again
            .await
            .unwrap_err()
            .to_string()
            .contains("already used")
    );
    let elsewhere = EndpointOptions {
        network: DB,
        ..options("10.40.0.1/16")
    };
    let other = s
        .attachments
        .docker()
        .endpoints
        .create("e3", "net", Some(elsewhere), None);
    other.await.unwrap();
    assert_eq!(s.open_networks(), [WEB, DB]);
    // A stopped container of a network that was removed is not started in another one.
    s.remove_network(WEB);
    let gone = s
        .attachments
        .docker()
        .endpoints
        .create("e4", "net", Some(wanted), None);
    let error = gone.await.unwrap_err().to_string();
    assert!(error.starts_with("there is no network 'web'"), "{error}");
}

#[tokio::test]
async fn a_removed_network_loses_its_containers_and_says_so() {
    let s = with_networks();
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    s.attach_in("web", "db", &["10.40.0.2"]).await.unwrap();
    s.expose_in("web", "10.40.0.254", true).await.unwrap();
    s.kernel.world().bridges.insert("br0".into(), false);
    s.attachments.attach_bridge("web", "br0").await.unwrap();
    s.reconcile().await;
    s.remove_network(WEB);
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    assert!(s.kernel.world().host_in.is_empty());
    assert_eq!(s.kernel.world().bridges.get("br0"), Some(&false));
    let rows = s.attachments.ps();
    let notes: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {} {:?}", row.name, row.interfaces.len(), row.notes))
        .collect();
    let told = |address: &str| {
        format!("[\"the network web was removed, and with it the address {address}\"]")
    };
    assert_eq!(
        notes,
        [
            format!("web 1 {}", told("10.40.0.1")),
            format!("mesh:expose 0 {}", told("10.40.0.254")),
            format!("db 0 {}", told("10.40.0.2")),
        ]
    );
    // It is left at the next look.
    s.reconcile().await;
    assert!(s.used().is_empty() && s.open_networks().is_empty());
    s.attach("db", &["10.2.1.2/24"]).await.unwrap();
    let rows = s.attachments.ps();
    let db = rows.iter().find(|row| row.name == "db").unwrap();
    assert!(db.notes.is_empty(), "it is attached again");
}

#[tokio::test]
async fn a_network_that_is_not_known_yet_keeps_its_containers() {
    let s = with_networks();
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    let s = s.restart();
    s.remove_network(WEB);
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.40.0.1/16"]);
    assert_eq!(s.listed(), [format!("mesh0 10.40.0.1/16 '{WEB_HEX}'")]);
    s.define(WEB, "web", false);
    s.reconcile().await;
    assert_eq!(s.listed(), ["mesh0 10.40.0.1/16 'web'"]);
}

#[tokio::test]
async fn the_host_is_exposed_in_a_network_of_its_choice() {
    let s = with_networks();
    s.define(DB, "db", true);
    let shown = s.expose_in("web", "10.40.0.254", true).await.unwrap();
    assert_eq!(shown, ["web"]);
    assert_eq!(s.expose_in("", "10.2.1.254/24", true).await.unwrap(), [""]);
    {
        let world = s.kernel.world();
        let plan = world.rules_in.get(&WEB).unwrap();
        assert_eq!(plan.inside.len(), 1, "its own subnet");
        assert!(!plan.internal);
        assert_eq!((world.host.len(), world.host_in.len()), (1, 1));
    }
    let ps = s.listed();
    assert_eq!(
        ps,
        ["mesh 10.2.1.254/24 ''", "mn0707070707 10.40.0.254/16 'web'"]
    );
    let error = s.expose_in("db", "10.40.0.1", true).await.unwrap_err();
    assert!(
        error.contains("the network db is internal") && error.contains("--without-masquerade"),
        "{error}"
    );
    s.expose_in("db", "10.40.0.1", false).await.unwrap();
    assert!(s.kernel.world().rules_in.get(&DB).unwrap().internal);
    let error = s.expose_in("web", "10.40.0.1", true).await.unwrap_err();
    assert!(
        error.starts_with("this host has 10.40.0.1/16 in another network"),
        "{error}"
    );

    assert!(s.hide_in("web", &["10.2.1.254/24"]).await.is_empty());
    assert!(s.hide_in("", &["10.40.0.254/16"]).await.is_empty());
    assert_eq!(s.hide_in("db", &[]).await, ["10.40.0.1"]);
    assert_eq!(s.hide_in("", &[]).await, ["10.2.1.254", "10.40.0.254"]);
    let world = s.kernel.world();
    assert!(world.host.is_empty() && world.host_in.is_empty());
    assert!(
        world
            .rules_in
            .values()
            .all(|plan| plan.addresses.is_empty())
    );
}

#[tokio::test]
async fn a_bridge_is_on_one_network() {
    let s = with_networks();
    s.kernel.world().bridges.insert("br0".into(), false);
    s.attachments.attach_bridge("web", "br0").await.unwrap();
    s.attachments.attach_bridge("web", "br0").await.unwrap();
    assert_eq!(s.kernel.world().joined_to.get("br0"), Some(&WEB));
    assert_eq!(s.used(), [WEB]);
    for other in ["", "db"] {
        let error = s.attachments.attach_bridge(other, "br0").await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("attached to the network web"), "{error}");
    }
    assert!(s.attachments.attach_bridge("nope", "br0").await.is_err());
    let reports = s.attachments.host_report().bridges;
    assert_eq!(reports[0].network, "web");
    let s = s.restart();
    s.kernel.world().joined_to.clear();
    s.reconcile().await;
    assert_eq!(s.kernel.world().joined_to.get("br0"), Some(&WEB));
    s.attachments.detach_bridge("br0").await.unwrap();
    s.attachments.attach_bridge("db", "br0").await.unwrap();
    assert_eq!(s.kernel.world().joined_to.get("br0"), Some(&DB));
}

#[tokio::test]
async fn a_stopped_container_comes_back_to_its_network() {
    let s = with_networks();
    s.attach_in("web", "web", &["10.40.0.1"]).await.unwrap();
    s.kernel.end_process(10);
    s.docker.update("web", |c| {
        c.running = false;
        c.pid = 0;
    });
    s.reconcile().await;
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    assert_eq!(s.used(), [WEB]);
    s.kernel.start_process(30);
    s.docker.update("web", |c| {
        c.running = true;
        c.pid = 30;
    });
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.40.0.1/16"]);
    assert_eq!(s.listed(), ["mesh0 10.40.0.1/16 'web'"]);
}
