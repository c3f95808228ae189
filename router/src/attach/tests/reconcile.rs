//! The kernel is made to agree with the table again.

use super::*;

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
    assert_eq!(place, Some(kernel::NetnsRef::Pid(21)));
    s.kernel.end_process(21);
    s.docker.remove("web");
    s.reconcile().await;
    assert!(
        s.attachments
            .base
            .table
            .read(|t| t.members.iter().next().is_none())
    );
}

#[tokio::test]
async fn an_address_that_another_took_is_not_taken_back() {
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
    assert!(
        s.attachments
            .base
            .table
            .read(|t| t.members.get("id-web").is_none())
    );
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
async fn a_bridge_that_cannot_be_mended_stops_nothing_else() {
    let s = setup();
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    s.kernel.fail("ensure_bridge", 0);
    s.kernel.world().interfaces.clear();
    s.reconcile().await;
    assert_eq!(s.plugged(), ["10.2.1.1/24"]);
}
