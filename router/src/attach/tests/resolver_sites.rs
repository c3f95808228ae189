//! In which namespaces names are to be answered.

use mesh_host::member::NetnsPlace;

use super::*;

impl Setup {
    /// `name place`, each.
    fn sites(&self) -> Vec<String> {
        let list = self.attachments.resolver_sites().borrow().clone();
        let place = |place: &NetnsPlace| match place {
            NetnsPlace::Named(name) => name.replace("mesh-ns-", ""),
            NetnsPlace::Process(process) => format!("of {}", process.pid),
        };
        let shown = list
            .iter()
            .map(|c| format!("{} {}", c.name, place(&c.netns)));
        shown.collect()
    }
}

#[tokio::test]
async fn a_process_is_answered_from_its_preparation_to_its_end() {
    let s = setup();
    assert!(s.sites().is_empty());
    let id = s
        .prepare(Runtime::Process, &["10.2.1.1/24"])
        .await
        .unwrap()
        .id;
    assert_eq!(s.sites(), [format!("{id} {id}")]);
    s.kernel.start_process(50);
    s.adopt_process(&id, 50).await;
    assert_eq!(s.sites(), [format!("sleep {id}")]);
    let s = s.restart();
    assert_eq!(s.sites(), [format!("sleep {id}")], "known from the start");
    s.kernel.end_process(50);
    s.reconcile().await;
    assert!(s.sites().is_empty());
}

#[tokio::test]
async fn a_podman_container_is_answered_while_it_runs_and_is_attached() {
    let s = setup();
    s.podman.add("pod", 20);
    s.kernel.start_process(20);
    s.attach("pod", &["10.2.1.1/24", "10.3.1.1/24"])
        .await
        .unwrap();
    assert_eq!(s.sites(), ["pod of 20"]);
    s.detach("pod", &["10.2.1.1/24"]).await.unwrap();
    assert_eq!(s.sites(), ["pod of 20"], "it has another address");
    s.kernel.end_process(20);
    s.podman.update("pod", |c| (c.running, c.pid) = (false, 0));
    s.reconcile().await;
    assert!(s.sites().is_empty());
    s.kernel.start_process(21);
    s.podman.update("pod", |c| (c.running, c.pid) = (true, 21));
    s.reconcile().await;
    assert_eq!(s.sites(), ["pod of 21"]);
    s.detach("pod", &[]).await.unwrap();
    assert!(s.sites().is_empty());
}

#[tokio::test]
async fn docker_has_servers_of_its_own() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    s.plug_by_docker("e1", "db", "10.2.1.3/24", "/docker/sandbox")
        .await;
    assert!(s.sites().is_empty());
}

#[tokio::test]
async fn who_asks_for_no_names_is_left_alone_also_after_a_restart() {
    let s = setup();
    let prepare = PrepareRequest {
        runtime: Runtime::Process,
        addresses: strings(&["10.2.1.1/24"]),
        multicast_route: true,
        caller_pid: 1000,
        name: "dns".into(),
        without_dns: true,
        timeout: None,
        network: String::new(),
    };
    s.attachments.prepare(&prepare).await.unwrap();
    s.podman.add("pod", 20);
    s.kernel.start_process(20);
    let attach = AttachRequest {
        container: "pod".into(),
        addresses: strings(&["10.2.1.2/24"]),
        runtime: None,
        multicast_route: true,
        caller_pid: 1000,
        without_dns: true,
        timeout: None,
        no_rewrite_hosts: false,
        add_host: Vec::new(),
        network: String::new(),
    };
    s.attachments.attach(&attach).await.unwrap();
    assert!(s.sites().is_empty());
    let s = s.restart();
    assert!(s.sites().is_empty());
    assert_eq!(s.announced().len(), 2);
}
