//! One router's networks over a real file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mesh_networks::{HostNetworks, NetworksConfig, NewNetwork};
use mesh_proto::network::NetworkId;
use mesh_state::files::NETWORKS;

use super::*;
use crate::clock::Clock;
use crate::ipam::Allocator;
use crate::state::Store;
use crate::testing::control;
use crate::warnings::Warnings;

/// A router that serves until this is dropped.
struct ServedNetworks {
    client: NetworksClient,
    open: watch::Sender<HostNetworks>,
    warnings: Warnings,
    serving: tokio::task::JoinHandle<()>,
}

impl ServedNetworks {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let mut control = control(clock);
        let warnings = Warnings::default();
        let store = Arc::new(Store::open(dir)?);
        let config = NetworksConfig {
            mtu: 1376,
            default_subnets: Vec::new(),
        };
        let allocator = Allocator::off("nothing is allocated here");
        let (mut networks, client) = open(
            &store,
            config,
            b"blue",
            &allocator,
            &control,
            &warnings,
            clock.now(),
        )?;
        let (open, receiver) = watch::channel(HostNetworks::default());
        networks.follow(receiver);
        let serving = tokio::spawn(async move {
            loop {
                while let Some(output) = control.poll_output() {
                    networks.on_control_output(&output, &control, clock.now());
                }
                while networks.carry_out(&mut control, clock.now()) {}
                let deadline = clock.to_tokio(networks.next_deadline());
                tokio::select! {
                    event = networks.event() => networks.handle(event, &control, clock.now()),
                    () = tokio::time::sleep_until(deadline) => {
                        networks.handle_timeout(&control, clock.now());
                    }
                }
            }
        });
        Ok(Self {
            client,
            open,
            warnings,
            serving,
        })
    }

    async fn create(&self, name: &str) -> Result<NetworkId, String> {
        let new = NewNetwork {
            name: name.to_owned(),
            ipv4: true,
            ..NewNetwork::default()
        };
        self.client.create(new).await.map(|created| created.id)
    }

    async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

#[tokio::test]
async fn what_is_answered_survives() {
    let dir = tempfile::tempdir().unwrap();
    let router = ServedNetworks::start(dir.path()).unwrap();
    let web = router.create("web").await.unwrap();
    let db = router.create("db").await.unwrap();
    router.client.remove("db", false).await.unwrap();
    router.client.join(web).await.unwrap();
    assert_eq!(router.client.resolve("web"), Ok(web));
    let (summary, warnings) = router.client.summary().await;
    assert_eq!((summary.unwrap().used, warnings.len()), (1, 0));
    router.stop().await;
    let router = ServedNetworks::start(dir.path()).unwrap();
    assert_eq!(router.client.resolve("web"), Ok(web));
    assert!(router.client.definition(&web).is_some());
    assert!(router.client.resolve("db").is_err());
    assert!(router.client.directory().borrow().is_removed(&db));
    // Its containers are still there.
    let used = BTreeSet::from([web]);
    router.open.send_replace(HostNetworks {
        used,
        ..HostNetworks::default()
    });
    let is_member = |all: &[mesh_proto::api::NetworkReport]| all[1].hosts.len() == 1;
    while !is_member(&router.client.list().await.unwrap()) {
        tokio::task::yield_now().await;
    }
    let refused = router.client.remove("web", false).await.unwrap_err();
    assert!(refused.text(&[]).contains("on this host"));
    let all = router.client.list().await.unwrap();
    assert_eq!(
        all.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
        ["default", "web"]
    );
    let inspected = router.client.inspect(&web.to_string()).await.unwrap();
    assert!(inspected.hosts[0].is_self);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, away) = (dir.path().join("state"), dir.path().join("away"));
    let router = ServedNetworks::start(&inside).unwrap();
    let web = router.create("web").await.unwrap();
    fs::rename(&inside, &away).unwrap();
    let error = router.create("db").await.unwrap_err();
    assert!(
        error.contains("that cannot be stored: cannot write"),
        "{error}"
    );
    let error = router.create("app").await.unwrap_err();
    assert!(
        error.starts_with("the networks cannot be stored: "),
        "{error}"
    );
    assert!(router.client.join(web).await.is_err());
    assert!(
        router
            .warnings
            .lines()
            .concat()
            .contains("cannot store the networks")
    );
    fs::rename(&away, &inside).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while router.create("app").await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(router.warnings.lines().is_empty());
    router.client.join(web).await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_stops_the_start_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let router = ServedNetworks::start(dir.path()).unwrap();
    router.create("web").await.unwrap();
    router.stop().await;
    let path = dir.path().join(NETWORKS);
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&path, &content).unwrap();
    let error = ServedNetworks::start(dir.path())
        .map(drop)
        .unwrap_err()
        .to_string();
    for part in [
        path.to_str().unwrap(),
        "its checksum does not match",
        "remove it",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), content);
    // With a right checksum, and a format that nobody knows.
    fs::write(&path, mesh_state::sealed::seal(&[9])).unwrap();
    let error = ServedNetworks::start(dir.path())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("format 9"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(ServedNetworks::start(dir.path()).is_ok());
}
