//! Requests of users: attach and detach, and what is refused.

use super::*;

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
async fn answers_say_which_container_it_is() {
    let s = setup();
    let says = |container: &str, name: &str, address: &str| ContainerAddresses {
        container: container.into(),
        name: name.into(),
        addresses: strings(&[address]),
    };
    let web = says("id-web", "web", "10.2.1.1");
    // The second time it has the address already.
    for asked in ["web", "id-web"] {
        let attached = s.ask_attach(asked, &["10.2.1.1/24"]).await;
        assert_eq!(attached.unwrap(), web, "{asked}");
    }
    // A container that is gone from its engine is known here by what it was called.
    s.kernel.end_process(10);
    s.docker.remove("web");
    assert_eq!(s.ask_detach("id-web", &[]).await.unwrap(), web);

    let prepared = s.prepare(Runtime::Process, &["10.2.1.3/24"]).await.unwrap();
    s.kernel.start_process(50);
    s.adopt_process(&prepared.id, 50).await;
    let attached = s.ask_attach(&prepared.id, &["10.2.1.4/24"]).await;
    let sleep = says(&prepared.id, "sleep", "10.2.1.4");
    assert_eq!(attached.unwrap(), sleep);
    let detached = s.ask_detach(&prepared.id, &["10.2.1.4/24"]).await;
    assert_eq!(detached.unwrap(), sleep);
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
        (&[][..], "no addresses are allocated here"),
        (&["net:10.2.1.1/24"][..], "host bits set"),
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
async fn what_cannot_be_stored_is_not_done() {
    let s = setup();
    let trap = s.dir.path().join(".attachments.tmp");
    std::os::unix::fs::symlink("/dev/full", &trap).unwrap();
    let error = s.attach("web", &["10.2.1.1/24"]).await.unwrap_err();
    assert!(error.contains("was no file"), "{error}");
    assert!(s.plugged().is_empty() && s.announced().is_empty());
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
}
