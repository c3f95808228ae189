//! Podman containers in namespaces of ours: stopped ones, and those that others take the place of.

use super::*;

/// A container of podman on the mesh, with the pid 60 and the id `id-pod`; the id of its preparation.
async fn with_pod(s: &Setup, address: &str) -> String {
    let prepared = s.prepare(Runtime::Podman, &[address]).await.unwrap();
    s.podman.add("pod", 60);
    let request = AdoptRequest {
        id: prepared.id.clone(),
        container: Some("id-pod".into()),
        pid: None,
        name: "pod".into(),
    };
    s.attachments.adopt(&request).await.unwrap();
    s.reconcile().await;
    prepared.id
}

fn set_running(s: &Setup, running: bool) {
    s.podman.update("pod", |c| {
        c.running = running;
        c.pid = if running { 60 } else { 0 };
    });
}

#[tokio::test]
async fn a_stopped_pod_keeps_its_interface_and_nothing_else() {
    let s = setup();
    let id = with_pod(&s, "10.2.1.1/24").await;
    assert_eq!(s.announced(), ["10.2.1.1/24 pod"]);
    set_running(&s, false);
    s.reconcile().await;
    assert!(s.announced().is_empty() && s.attachments.ps().is_empty());
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    assert_eq!(s.kernel.world().resting.len(), 1);

    // Also after a restart of the router; podman that cannot be asked changes nothing.
    s.podman.set_down(true);
    let s = s.restart();
    s.reconcile().await;
    assert!(s.announced().is_empty() && s.kernel.world().resting.len() == 1);
    s.podman.set_down(false);
    set_running(&s, true);
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 pod"]);
    assert!(s.kernel.world().resting.is_empty());
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);

    s.podman.remove("pod");
    s.reconcile().await;
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    let netns = format!("/run/netns/mesh-ns-{id}");
    assert!(
        !s.kernel
            .world()
            .namespaces
            .contains(std::path::Path::new(&netns))
    );
}

#[tokio::test]
async fn a_pod_that_wakes_does_without_what_was_taken() {
    let s = setup();
    with_pod(&s, "10.2.1.1/24").await;
    set_running(&s, false);
    s.reconcile().await;
    assert_eq!(
        s.attach("web", &["10.2.1.1/24"]).await,
        Ok(strings(&["10.2.1.1"]))
    );
    set_running(&s, true);
    s.reconcile().await;
    assert_eq!(s.announced(), ["10.2.1.1/24 web"]);
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
}

#[tokio::test]
async fn who_has_an_address_is_asked_before_anybody_is_refused() {
    let s = setup();
    with_pod(&s, "10.2.1.1/24").await;
    let refused = s.attach("web", &["10.2.1.1/24"]).await.unwrap_err();
    assert!(refused.contains("container pod"), "{refused}");
    // Nobody looked since it ended.
    set_running(&s, false);
    s.prepare(Runtime::Podman, &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(s.kernel.world().resting.len(), 1);

    let s = setup();
    with_pod(&s, "10.2.1.1/24").await;
    s.podman.remove("pod");
    assert_eq!(
        s.attach("web", &["10.2.1.1/24"]).await,
        Ok(strings(&["10.2.1.1"]))
    );
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
}

#[tokio::test]
async fn a_pod_that_was_started_and_is_attached_at_once_is_plugged_once() {
    let s = setup();
    with_pod(&s, "10.2.1.1/24").await;
    set_running(&s, false);
    s.reconcile().await;
    set_running(&s, true);
    s.kernel.start_process(60);
    assert_eq!(
        s.attach("pod", &["10.2.1.1/24"]).await,
        Ok(strings(&["10.2.1.1"]))
    );
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
    assert_eq!(s.announced(), ["10.2.1.1/24 pod"]);
    // Stopped or not, it is taken off.
    set_running(&s, false);
    s.reconcile().await;
    assert_eq!(s.detach("pod", &[]).await, Ok(strings(&["10.2.1.1"])));
    assert!(s.plugged().is_empty());
}

#[tokio::test]
async fn names_that_are_somebody_elses_are_left_to_them() {
    let s = setup();
    s.docker.world().base = Some("mesh-net");
    let addresses = ["10.2.1.1/24", "10.3.1.1/24"];
    let prepared = s.prepare(Runtime::Docker, &addresses).await.unwrap();
    let names: Vec<&str> = prepared
        .networks
        .iter()
        .filter_map(|n| n.split(',').next())
        .collect();
    assert_eq!(names, ["name=mesh-net", "name=mesh-net-1"]);
}

#[tokio::test]
async fn what_others_change_at_ports_is_told() {
    let s = setup();
    assert_eq!(s.attachments.interference(), None);
    s.kernel.world().changed = vec!["hairpin on at mesh-t".into()];
    s.reconcile().await;
    s.reconcile().await;
    let told = s.attachments.interference().unwrap();
    assert!(
        told.contains("hairpin on at mesh-t") && told.contains("1 times in all"),
        "{told}"
    );
}
