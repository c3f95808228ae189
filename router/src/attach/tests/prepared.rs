//! Namespaces made before a container or process, and how long they live.

use super::*;

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
    assert!(matches!(error, AttachmentError::NotPrepared(_)) && error.is_callers());
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
