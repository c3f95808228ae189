//! The host's own addresses.

use mesh_names::MeshName;
use mesh_proto::api::{EXPOSE, ExposeRequest, HideRequest};

use super::leases::{held, pool};
use super::*;

impl Setup {
    async fn expose(&self, addresses: &[&str]) -> Result<Vec<String>, String> {
        self.expose_as(addresses, true, None).await
    }

    async fn expose_as(
        &self,
        addresses: &[&str],
        masquerade: bool,
        name: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let request = ExposeRequest {
            addresses: strings(addresses),
            masquerade,
            caller_pid: 1000,
            ..ExposeRequest::default()
        };
        let name = name.map(|name| MeshName::relative(name).unwrap());
        let done = self.attachments.expose(&request, name).await;
        done.map(|done| done.addresses.into_iter().map(|a| a.address).collect())
            .map_err(|e| e.to_string())
    }

    async fn hide(&self, addresses: &[&str]) -> Result<Vec<String>, String> {
        let request = HideRequest {
            addresses: strings(addresses),
            network: String::new(),
        };
        let done = self.attachments.hide(&request).await;
        done.map(|done| done.addresses).map_err(|e| e.to_string())
    }

    /// The addresses of the bridge, and for which of them addresses are translated.
    fn of_host(&self) -> (Vec<String>, Vec<bool>) {
        let world = self.kernel.world();
        let host = world.host.iter().map(ToString::to_string).collect();
        (host, world.rules.addresses.values().copied().collect())
    }

    fn names(&self) -> Vec<String> {
        let names = self.attachments.exposed_names().borrow().clone();
        let shown = |(_, name, to): &ExposedName| format!("{name} {to:?}");
        names.iter().map(shown).collect()
    }
}

#[tokio::test]
async fn the_host_is_exposed_once_and_hidden() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    for _ in 0..2 {
        assert_eq!(s.expose(&[]).await.unwrap(), ["10.32.0.1/24"]);
        let two = ["10.2.1.254/24", "net:10.32.5.0/24"];
        let got = s.expose(&two).await.unwrap();
        assert_eq!(got, ["10.2.1.254/24", "10.32.5.1/24"]);
    }
    assert_eq!(held(&s).await, ["10.32.0.1", "10.32.5.1"]);
    let all = ["10.2.1.254/24", "10.32.0.1/24", "10.32.5.1/24"];
    assert_eq!(s.of_host(), (strings(&all), vec![true; 3]));
    let told: Vec<String> = all.iter().map(|a| format!("{a} {EXPOSE}")).collect();
    assert_eq!(s.announced(), told);
    let ps = s.attachments.ps();
    assert_eq!((ps.len(), ps[0].name.as_str()), (1, EXPOSE));
    assert_eq!(ps[0].interfaces[0].mac, "02:00:00:00:00:01");
    // What nobody else uses is not taken for free.
    s.reconcile().await;
    s.reconcile().await;
    assert_eq!(held(&s).await.len(), 2);

    let gone = s.hide(&["10.2.1.254/24", "net:default"]).await.unwrap();
    assert_eq!(gone, ["10.2.1.254", "10.32.0.1"]);
    assert_eq!(s.hide(&["10.2.1.254/24"]).await.unwrap(), [""; 0]);
    assert_eq!(held(&s).await, ["10.32.5.1"]);
    assert_eq!(s.hide(&[]).await.unwrap(), ["10.32.5.1"]);
    assert_eq!(s.of_host(), (vec![], vec![]));
    assert!(held(&s).await.is_empty() && s.announced().is_empty());
    assert!(s.attachments.ps().is_empty());
}

#[tokio::test]
async fn what_is_used_is_refused_and_named() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    s.attach("web", &["10.2.1.1/24"]).await.unwrap();
    for (address, words) in [
        (
            "10.2.1.1/24",
            "is already used by container web on this host",
        ),
        ("10.9.9.9/24", "container far on 7a::1(host2)"),
        ("10.32.7.7/24", "is already used by a container on host9"),
        ("10.2.1.1", "no prefix length"),
        ("net:10.2.1.1/24", "host bits set"),
    ] {
        let error = s.expose(&["10.32.0.9/24", address]).await.unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(held(&s).await.is_empty(), "{address}");
        assert!(s.of_host().0.is_empty(), "{address}");
    }
    s.expose(&["10.2.1.254/24"]).await.unwrap();
    let error = s.attach("db", &["10.2.1.254/24"]).await.unwrap_err();
    assert_eq!(
        error,
        "10.2.1.254 is already used by this host itself (mesh expose)"
    );
    let error = s.expose(&["10.2.1.254/16"]).await.unwrap_err();
    assert!(error.contains("mesh hide 10.2.1.254/24"), "{error}");
}

#[tokio::test]
async fn of_an_attempt_that_fails_nothing_is_left() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    s.expose_as(&["10.2.1.254/24"], true, Some("gateway"))
        .await
        .unwrap();
    let before = (s.of_host(), s.names(), s.announced(), held(&s).await);
    for step in ["check_exposure", "expose", "expose at its end"] {
        s.kernel.fail(step, 0);
        let args = ["10.2.1.254/24", "net:default", "10.3.1.1/24"];
        let error = s.expose_as(&args, false, Some("other")).await.unwrap_err();
        assert!(error.contains("failed as told"), "{step}: {error}");
        let after = (s.of_host(), s.names(), s.announced(), held(&s).await);
        assert_eq!(after, before, "{step}");
    }
    // What cannot be hidden is exposed as before, and can be hidden again.
    for step in ["hide", "expose"] {
        s.kernel.fail(step, 0);
        s.hide(&[]).await.unwrap_err();
        assert_eq!(s.names(), before.1, "{step}");
    }
    assert_eq!(s.hide(&[]).await.unwrap(), ["10.2.1.254"]);
    assert!(s.names().is_empty() && s.of_host().0.is_empty());
}

#[tokio::test]
async fn names_lead_to_the_addresses_they_were_given_with() {
    let s = setup();
    s.expose_as(&["10.2.1.254/24", "10.3.1.254/24"], true, Some("gw"))
        .await
        .unwrap();
    s.expose_as(&["10.3.1.254/24"], true, Some("three"))
        .await
        .unwrap();
    assert_eq!(
        s.names(),
        ["gw [10.2.1.254, 10.3.1.254]", "three [10.3.1.254]"]
    );
    s.hide(&["10.3.1.254/24"]).await.unwrap();
    assert_eq!(s.names(), ["gw [10.2.1.254]"]);
}

#[tokio::test]
async fn a_router_that_starts_again_exposes_what_it_had() {
    let (allocator, _) = pool();
    let s = setup_with(allocator);
    s.expose_as(&[], false, Some("gw")).await.unwrap();
    s.kernel.world().host.clear();
    let s = s.restart();
    assert!(
        s.announced().is_empty(),
        "the bridge's MAC is not known yet"
    );
    let keeper = tokio::spawn(s.attachments.clone().keep_exposed());
    let mut announced = s.attachments.announced();
    let known = announced.wait_for(|list| !list.is_empty());
    tokio::time::timeout(Duration::from_secs(5), known)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(s.of_host(), (strings(&["10.32.0.1/24"]), vec![false]));
    assert_eq!(s.names(), ["gw [10.32.0.1]"]);
    assert_eq!(s.attachments.host_report().restored, 0);
    // Somebody takes it away.
    s.kernel.world().host.clear();
    s.attachments.exposer.wake();
    let deadline = Instant::now() + Duration::from_secs(5);
    while s.attachments.host_report().restored == 0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(s.of_host().0.len(), 1);
    keeper.abort();
    s.attachments.retire().await.unwrap();
    assert!(s.of_host().0.is_empty() && held(&s).await.is_empty());
    assert!(s.expose(&["10.2.1.1/24"]).await.is_err());
}
