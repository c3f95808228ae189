//! Endpoints that Docker plugs, and the networks it is asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

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
    let wanted = options("10.2.1.1/24");
    let error = s
        .attachments
        .docker()
        .endpoints
        .create("e2", "mesh", Some(wanted.clone()), None)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "10.2.1.1 is already used by container web on this host"
    );
    s.kernel.remove_sandbox("/docker/sandbox");
    s.attachments
        .docker()
        .endpoints
        .create("e2", "mesh", Some(wanted), None)
        .await
        .unwrap();
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
    s.attachments.reconciler.revive().await;
    assert_eq!(s.docker.world().log, ["start id-lost"]);
}

#[tokio::test]
async fn the_driver_answers_while_a_user_waits_for_docker() {
    let s = setup();
    let _guard = s.attachments.base.operations.begin().await;
    let done = Arc::new(AtomicBool::new(false));
    let wanted = options("10.2.1.1/24");
    let create = async {
        s.attachments
            .docker()
            .endpoints
            .create("e1", "mesh", Some(wanted), None)
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
