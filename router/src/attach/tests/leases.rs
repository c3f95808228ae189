//! Addresses of the shared range: who gets which, who keeps it, when it is free.

use std::net::IpAddr;
use std::sync::Mutex;

use ipnet::IpNet;
use mesh_allocator::call::{ContainerLease, NotGiven};
use mesh_host::docker::driver_options;
use mesh_host::leases::container_names::ContainerNames;
use mesh_ipam::{AddressPool, AddressQuery};
use mesh_proto::network::NetworkId;
use tokio::sync::mpsc;

use super::*;
use crate::ipam::AllocatorRequest;

/// Addresses and their holders, as the allocator has them; 10.32.7.7 is held elsewhere.
pub(super) type Book = Arc<Mutex<BTreeMap<IpAddr, String>>>;

/// An allocator in memory.
pub(super) fn pool() -> (Allocator, Book) {
    let pool = AddressPool {
        range6: None,
        range: "10.32.0.0/16".parse().unwrap(),
        default_subnet: "10.32.0.0/24".parse().unwrap(),
    };
    let (sender, mut requests) = mpsc::channel(8);
    let book = Book::default();
    let entries = book.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            answer(&mut entries.lock().unwrap(), request);
        }
    });
    (
        Allocator::new(pool, sender, ContainerNames::default()),
        book,
    )
}

fn answer(book: &mut BTreeMap<IpAddr, String>, request: AllocatorRequest) {
    match request {
        AllocatorRequest::Acquire {
            acquire: asked,
            answer,
            ..
        } => {
            let _ = answer.send(acquire(book, &asked.owner, asked.query));
        }
        AllocatorRequest::Release { addr, owner, .. } => {
            if book.get(&addr) == Some(&owner) {
                book.remove(&addr);
            }
        }
        AllocatorRequest::Leases(answer) => {
            let held = book.iter().map(|(addr, owner)| ContainerLease {
                network: NetworkId::DEFAULT,
                addr: *addr,
                owner: owner.clone(),
            });
            let _ = answer.send(held.collect());
        }
        other => panic!("{other:?}"),
    }
}

fn acquire(
    book: &mut BTreeMap<IpAddr, String>,
    holder: &str,
    want: AddressQuery,
) -> Result<IpNet, NotGiven> {
    let in_use = |text| NotGiven {
        is_in_use: true,
        text,
    };
    let address = match want {
        AddressQuery::Exactly(net) if net.addr() == IpAddr::from([10, 32, 7, 7]) => {
            let text = format!("{} is already used by a container on host9", net.addr());
            return Err(in_use(text));
        }
        AddressQuery::Exactly(net) => net,
        AddressQuery::AnyOf(subnet) => {
            let mut hosts = subnet.hosts();
            let free = hosts.find(|addr| !book.contains_key(addr));
            let free = free.ok_or("full".to_owned())?;
            IpNet::new(free, subnet.prefix_len()).unwrap()
        }
    };
    let addr = address.addr();
    let holds = book.entry(addr).or_insert_with(|| holder.to_owned());
    match holds == holder {
        true => Ok(address),
        false => Err(in_use(format!(
            "{addr} is already used by container {holds}"
        ))),
    }
}

/// In order with what was asked of the allocator before.
pub(super) async fn held(s: &Setup) -> Vec<String> {
    let held = s.allocator.leases().await.into_iter();
    held.map(|held| held.addr.to_string()).collect()
}

/// A stopped container of Docker that was prepared with these networks.
fn stop_in_docker(s: &Setup, name: &str, networks: &[String]) {
    s.docker.add(name, 0);
    let options = networks.iter().map(|network| {
        let options = network.split(",driver-opt=").skip(1);
        let pairs = options.map(|o| o.split_once('=').unwrap());
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    });
    s.docker.update(name, |c| c.connections = options.collect());
}

/// Docker plugs what was prepared.
async fn plug(s: &Setup, id: &str, network: &str) -> Result<(), String> {
    let options = network.split(",driver-opt=").skip(1);
    let pairs = options.map(|o| o.split_once('=').unwrap());
    let options = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let (address, lease_owner) = driver_options::promise(&options).unwrap();
    let wanted = EndpointOptions {
        lease_owner,
        ..super::options(&address.to_string())
    };
    let made = s
        .attachments
        .docker()
        .endpoints
        .create(id, "mesh", Some(wanted), None)
        .await;
    made.map(drop).map_err(|e| e.to_string())
}

#[tokio::test]
async fn any_address_of_the_default_subnet_of_a_subnet_and_explicit_ones_mixed() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    let prepared = s.prepare(Runtime::Process, &[]).await.unwrap();
    assert_eq!(prepared.addresses, ["10.32.0.1"]);
    let args = [
        "10.2.1.1/24",
        "net:10.32.5.0/24",
        "net:default",
        "ip:10.32.5.9/24",
    ];
    let attached = s.attach("web", &args).await.unwrap();
    assert_eq!(
        attached,
        ["10.2.1.1", "10.32.5.1", "10.32.0.2", "10.32.5.9"]
    );
    let all = ["10.32.0.1", "10.32.0.2", "10.32.5.1", "10.32.5.9"];
    assert_eq!(held(&s).await, all, "10.2.1.1 is nobody's business");
    let again = s.attach("web", &["net:default", "net:10.32.5.0/24"]).await;
    assert_eq!(
        again.unwrap(),
        ["10.32.0.2", "10.32.5.1"],
        "it has them already"
    );
    let gone = s.detach("web", &["net:10.32.5.0/24", "10.32.0.2/24"]).await;
    assert_eq!(gone.unwrap(), ["10.32.5.1", "10.32.5.9", "10.32.0.2"]);
    s.reconcile().await;
    assert_eq!(held(&s).await, ["10.32.0.1"]);
    let error = s.detach("web", &["net:default"]).await.unwrap_err();
    assert_eq!(error, "net:default is not attached to container web");
}

#[tokio::test]
async fn a_failure_leaves_nothing_held() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    for args in [
        &["net:default", "10.32.7.7/24"][..],
        &["net:default", "10.9.9.9/24"],
        &["net:default", "net:fd00::/64"],
    ] {
        let error = s.prepare(Runtime::Docker, args).await.unwrap_err();
        assert!(
            error.contains("already used") || error.contains("only IPv4"),
            "{error}"
        );
        s.attach("web", args).await.unwrap_err();
    }
    s.kernel.fail("plug", 0);
    s.attach("web", &["net:default"]).await.unwrap_err();
    s.docker.set_down(true);
    s.prepare(Runtime::Docker, &[]).await.unwrap_err();
    s.docker.set_down(false);
    s.attach("nobody", &["net:default"]).await.unwrap_err();
    assert_eq!(held(&s).await, Vec::<String>::new());
}

#[tokio::test]
async fn where_nothing_is_allocated_explicit_addresses_work_and_others_say_why() {
    let s = setup();
    for args in [&[][..], &["net:default"], &["net:10.32.0.0/24"]] {
        let error = s.attach("web", args).await.unwrap_err();
        let words = "no addresses are allocated here; give an address like 10.2.1.1/24";
        assert_eq!(error, words);
    }
    assert_eq!(
        s.attach("web", &["10.32.0.1/24"]).await.unwrap(),
        ["10.32.0.1"]
    );
}

#[tokio::test]
async fn a_container_of_docker_keeps_its_address_until_it_is_destroyed() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    let prepared = s.prepare(Runtime::Docker, &[]).await.unwrap();
    let networks = &prepared.networks;
    assert!(
        networks[0].contains("mesh.address=10.32.0.1/24"),
        "{networks:?}"
    );
    s.reconcile().await;
    assert_eq!(held(&s).await, ["10.32.0.1"], "its caller lives");
    plug(&s, "e1", &networks[0]).await.unwrap();
    s.kernel.end_process(1000);
    s.reconcile().await;
    // Stopped: another container may not have it, not even explicitly.
    stop_in_docker(&s, "kept", networks);
    // Docker takes its endpoint away before it calls it stopped.
    s.docker.update("kept", |c| c.running = true);
    s.attachments.delete_endpoint("e1").await;
    s.reconcile().await;
    assert_eq!(held(&s).await, ["10.32.0.1"]);
    s.docker.update("kept", |c| c.running = false);
    s.reconcile().await;
    assert_eq!(held(&s).await, ["10.32.0.1"]);
    let error = s.attach("web", &["10.32.0.1/24"]).await.unwrap_err();
    assert!(error.contains("already used"), "{error}");
    // Docker cannot be asked: who knows.
    s.docker.set_down(true);
    s.reconcile().await;
    assert_eq!(held(&s).await, ["10.32.0.1"]);
    s.docker.set_down(false);
    // Started again, by Docker alone, and as another endpoint.
    plug(&s, "e2", &networks[0]).await.unwrap();
    s.attachments.delete_endpoint("e2").await;
    s.docker.remove("kept");
    s.reconcile().await;
    assert_eq!(held(&s).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stopped_container_has_the_name_of_now_whenever_it_is_renamed() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    let prepared = s.prepare(Runtime::Docker, &[]).await.unwrap();
    s.kernel.end_process(1000);
    stop_in_docker(&s, "shop", &prepared.networks);
    // It is renamed after Docker's answer and before that is taken.
    let attachments = s.attachments.clone();
    let rename = move || attachments.rename("id-shop", "store");
    s.docker.world().after_inspect = Some(Box::new(rename));
    s.reconcile().await;
    s.docker.update("shop", |c| c.name = "store".into());
    let owner = s.allocator.leases().await.remove(0).owner;
    let name = || s.allocator.container_names().display_name(&owner);
    s.reconcile().await;
    assert_eq!(name(), "store");
    // Its events are missed.
    s.docker.update("shop", |c| c.name = "depot".into());
    s.reconcile().await;
    assert_eq!(name(), "store", "Docker is not asked for nothing");
    s.attachments.docker_connected();
    s.reconcile().await;
    assert_eq!(name(), "depot");
}

#[tokio::test]
async fn after_a_restart_and_a_lost_journal_all_is_claimed_again() {
    let (allocator, book) = pool();
    let s = setup_with(allocator);
    let run = s.prepare(Runtime::Docker, &[]).await.unwrap();
    plug(&s, "e1", &run.networks[0]).await.unwrap();
    let stopped = s.prepare(Runtime::Docker, &[]).await.unwrap();
    stop_in_docker(&s, "stopped", &stopped.networks);
    s.attach("web", &["net:default"]).await.unwrap();
    let before = book.lock().unwrap().clone();
    assert_eq!(before.len(), 3);
    book.lock().unwrap().clear();
    s.kernel.add_sandbox("/docker/sandbox");
    let idle = Arc::strong_count(&s.attachments.docker.endpoints);
    s.attachments.join("e1", "/docker/sandbox".into()).unwrap();
    // What Docker asked for is finished in the background.
    while Arc::strong_count(&s.attachments.docker.endpoints) > idle {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let s = s.restart();
    s.reconcile().await;
    let web = |holder: &str| holder.to_owned();
    let after: BTreeMap<_, _> = book
        .lock()
        .unwrap()
        .iter()
        .map(|(a, h)| (*a, web(h)))
        .collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_was_held_for_a_caller_that_died_is_free_in_time_and_abandoned_at_once() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    let prepared = s.prepare(Runtime::Docker, &[]).await.unwrap();
    let abandon = AbandonRequest {
        id: prepared.id.clone(),
    };
    s.attachments.abandon(&abandon).await.unwrap();
    assert_eq!(held(&s).await, Vec::<String>::new());
    s.prepare(Runtime::Docker, &[]).await.unwrap();
    s.kernel.end_process(1000);
    s.reconcile().await;
    assert_eq!(
        held(&s).await,
        ["10.32.0.1"],
        "it may be a container that is not seen yet"
    );
}

#[tokio::test]
async fn who_leaves_is_off_the_mesh_and_takes_nothing_on() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    s.attach("web", &["net:default", "10.2.1.1/24"])
        .await
        .unwrap();
    assert_eq!(s.plugged().len(), 2);
    s.attachments.retire().await.unwrap();
    s.reconcile().await;
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    let error = s.attach("web", &["net:default"]).await.unwrap_err();
    assert_eq!(error, "mesh is being reset");
}
