//! One router's addresses over a real journal: what is granted survives, whatever happens to the file.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_allocator::call::Acquire;
use mesh_ipam::{AddressQuery, NetworkPlan, SubnetPlan};
use mesh_options::ipalloc::{Ipalloc, IpallocOptions, IpallocPlan};
use mesh_proto::network::NetworkId;

use super::*;
use crate::clock::Clock;
use crate::testing::control;
use mesh_state::files::{ADDRESSES, ADDRESSES_SET_ASIDE, NETWORK_ADDRESSES};

fn plan(range: &str) -> IpallocPlan {
    let options = IpallocOptions {
        range: Some(range),
        ..IpallocOptions::default()
    };
    match Ipalloc::new(&options).unwrap() {
        Ipalloc::On(plan, _) => plan,
        Ipalloc::Off => panic!("no range"),
    }
}

/// A router that serves until this is dropped.
struct Router {
    allocator: Allocator,
    serving: tokio::task::JoinHandle<()>,
}

impl Router {
    fn start(dir: &Path, epoch: u64) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let mut control = control(clock);
        let plan = plan("10.32.0.0/16");
        let (mut addresses, allocator) = open(&plan, dir, epoch, &control, false, clock.now())?;
        let serving = tokio::spawn(async move {
            loop {
                while addresses.carry_out(&mut control, clock.now()) {}
                let deadline = clock.to_tokio(addresses.next_deadline());
                tokio::select! {
                    event = addresses.event() => addresses.handle(event, &control, clock.now()),
                    () = tokio::time::sleep_until(deadline) => addresses.handle_timeout(clock.now()),
                }
            }
        });
        Ok(Self { allocator, serving })
    }

    async fn acquire(&self, owner: &str, typed: &str) -> Result<String, String> {
        self.acquire_in(NetworkId::DEFAULT, owner, typed).await
    }

    async fn acquire_in(
        &self,
        network: NetworkId,
        owner: &str,
        typed: &str,
    ) -> Result<String, String> {
        let query = match typed.strip_prefix("net:") {
            Some(net) => AddressQuery::AnyOf(net.parse().unwrap()),
            None => {
                let address: IpAddr = typed.parse().unwrap();
                AddressQuery::Exactly(IpNet::new(address, 24).unwrap())
            }
        };
        let acquire = Acquire {
            network,
            owner: owner.to_owned(),
            query,
            patience: Duration::from_secs(10),
            caller: 1,
        };
        let acquired = self
            .allocator
            .acquire(acquire)
            .await
            .map_err(|why| why.text)?;
        Ok(acquired.addr().to_string())
    }

    /// Ends it; what waited is on disk then.
    async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

const NET: &str = "net:10.32.5.0/24";

#[tokio::test]
async fn what_was_granted_is_held_after_a_restart_and_claims_are_told_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path(), 1).unwrap();
    assert_eq!(
        router.acquire("docker:web:1", NET).await.unwrap(),
        "10.32.5.1"
    );
    assert_eq!(
        router.acquire("docker:db:2", NET).await.unwrap(),
        "10.32.5.2"
    );
    router.stop().await;
    let router = Router::start(dir.path(), 2).unwrap();
    assert_eq!(
        router.acquire("docker:web:1", NET).await.unwrap(),
        "10.32.5.1"
    );
    let refused = router.acquire("docker:c:3", "10.32.5.2").await.unwrap_err();
    assert_eq!(
        refused,
        "10.32.5.2 is already used by container db on this host"
    );
    router
        .allocator
        .release(NetworkId::DEFAULT, [10, 32, 5, 2].into(), "docker:c:3")
        .await;
    assert_eq!(
        router.allocator.leases().await.len(),
        2,
        "it was not its own"
    );
    router
        .allocator
        .release(NetworkId::DEFAULT, [10, 32, 5, 2].into(), "docker:db:2")
        .await;
    assert_eq!(
        router.acquire("docker:c:3", NET).await.unwrap(),
        "10.32.5.2"
    );
    let report = router.allocator.report().await;
    assert_eq!(
        (report.owners[0].peer.as_str(), report.owners.len()),
        ("host1", 1)
    );
    assert_eq!(report.allocations[0].container, "web");
    assert_eq!(report.advice, Vec::<String>::new());
    let alone = router.allocator.remove("host1", true).await.unwrap_err();
    assert!(alone.contains("cannot remove itself"), "{alone}");
    assert!(router.allocator.remove("host7", true).await.is_err());
    let left = router.allocator.leave().await;
    assert_eq!((left.others, left.orphaned), (0, 256));
    assert!(
        router
            .acquire("docker:d:4", NET)
            .await
            .unwrap_err()
            .contains("handing")
    );
}

/// The plan of a network that this router created.
fn network(n: u8) -> NetworkPlan {
    let subnet = "10.32.5.0/24".parse().unwrap();
    NetworkPlan {
        network: NetworkId([n; 16]),
        founder: control(Clock::start()).me(),
        subnets: vec![SubnetPlan {
            subnet,
            range: subnet,
            gateway: None,
        }],
    }
}

#[tokio::test]
async fn addresses_of_networks_are_held_after_a_restart_until_the_network_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let [red, blue] = [7, 8].map(|n| NetworkId([n; 16]));
    let file = dir.path().join(NETWORK_ADDRESSES);
    let router = Router::start(dir.path(), 1).unwrap();
    router.acquire("docker:web:1", NET).await.unwrap();
    router.allocator.leases().await;
    assert!(!file.exists(), "as without networks");
    for n in [7, 8] {
        router.allocator.define(network(n), true).await;
        let network = NetworkId([n; 16]);
        let web = router.acquire_in(network, "docker:web:1", NET).await;
        assert_eq!(web.unwrap(), "10.32.5.1");
    }
    let db = router.acquire_in(red, "docker:db:2", NET).await;
    assert_eq!(db.unwrap(), "10.32.5.2");
    router.stop().await;
    assert!(file.exists());
    let router = Router::start(dir.path(), 2).unwrap();
    assert_eq!(router.allocator.leases().await.len(), 4);
    for n in [7, 8] {
        router.allocator.define(network(n), false).await;
    }
    let refused = router.acquire_in(red, "docker:c:3", "10.32.5.2").await;
    assert_eq!(
        refused.unwrap_err(),
        "10.32.5.2 is already used by container db on this host"
    );
    router.allocator.remove_network(red).await;
    router.allocator.leases().await;
    router.stop().await;
    let good = fs::read(&file).unwrap();
    let router = Router::start(dir.path(), 3).unwrap();
    let held = router.allocator.leases().await;
    let networks: Vec<NetworkId> = held.iter().map(|lease| lease.network).collect();
    assert_eq!(networks, [NetworkId::DEFAULT, blue]);
    router.stop().await;
    let mut bad = good;
    bad[20] ^= 1;
    fs::write(&file, bad).unwrap();
    let router = Router::start(dir.path(), 4).unwrap();
    assert_eq!(router.allocator.leases().await.len(), 1, "that of default");
    let report = router.allocator.report().await;
    assert!(
        report.advice.concat().contains("network-addresses.bad-4"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_caller_that_hung_up_leaves_nothing_held() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path(), 1).unwrap();
    for n in 0..50 {
        let owner = format!("docker::{n}");
        let acquired = router.acquire(&owner, NET);
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), acquired).await;
        // Granted or not in that time: an address that was given is released.
        router
            .allocator
            .release(NetworkId::DEFAULT, [10, 32, 5, 1].into(), &owner)
            .await;
    }
    let mut held = router.allocator.leases().await;
    for _ in 0..500 {
        if held.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        held = router.allocator.leases().await;
    }
    panic!("{held:?}");
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_and_a_foreign_range_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path(), 1).unwrap();
    router.acquire("docker:web:1", NET).await.unwrap();
    router.stop().await;
    let path = dir.path().join(ADDRESSES);
    let good = fs::read(&path).unwrap();
    // Each byte and each length through the whole start; the codec's own tests say what each must lead to.
    for n in (0..good.len()).step_by(5) {
        let mut changed = good.clone();
        changed[n] ^= 0x40;
        for bytes in [&changed[..], &good[..n]] {
            fs::write(&path, bytes).unwrap();
            let clock = Clock::start();
            let control = control(clock);
            let plan = plan("10.32.0.0/16");
            let opened = open(&plan, dir.path(), 2, &control, false, clock.now());
            let (addresses, _) = opened.unwrap();
            let held = addresses.desk.leases().len();
            let aside = dir.path().join(format!("{ADDRESSES_SET_ASIDE}2"));
            assert!(held <= 1);
            assert_eq!(
                addresses.desk.notice().is_some(),
                aside.exists(),
                "byte {n}"
            );
            drop(addresses);
            let _ = fs::remove_file(aside);
        }
    }
    fs::write(&path, &good).unwrap();
    let clock = Clock::start();
    let other = plan("10.64.0.0/16");
    let refused = open(&other, dir.path(), 3, &control(clock), false, clock.now());
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains("launch with --ipalloc-range 10.32.0.0/16"),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), good, "untouched");
}

#[tokio::test]
async fn a_journal_that_grows_is_compacted_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path(), 1).unwrap();
    let long = "x".repeat(100);
    router
        .acquire(&format!("docker:keep:{long}"), NET)
        .await
        .unwrap();
    let path = dir.path().join(ADDRESSES);
    let (mut longest, mut compacted) = (0, false);
    for n in 0..20_000 {
        let owner = format!("docker:{n}:{long}");
        router.acquire(&owner, NET).await.unwrap();
        router
            .allocator
            .release(NetworkId::DEFAULT, [10, 32, 5, 2].into(), &owner)
            .await;
        let length = fs::metadata(&path).unwrap().len();
        compacted |= length < longest;
        longest = longest.max(length);
        if compacted {
            break;
        }
    }
    assert!(compacted, "{longest} bytes");
    // In order with what was released before.
    router.allocator.leases().await;
    router.stop().await;
    let router = Router::start(dir.path(), 2).unwrap();
    let held = router.allocator.leases().await;
    assert_eq!(
        (held.len(), held[0].addr.to_string().as_str()),
        (1, "10.32.5.1")
    );
}

/// How many addresses one router grants in a second, each synced before it is told. For figures:
/// `cargo test --release -p mesh-router --lib granted_in_a_second -- --nocapture`.
#[tokio::test]
async fn granted_in_a_second() {
    use std::io::Write as _;
    use std::time::Instant as OsInstant;
    const CLIENTS: usize = 4;
    const EACH: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let router = Arc::new(Router::start(dir.path(), 1).unwrap());
    router.acquire("first", NET).await.unwrap();
    let began = OsInstant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let router = router.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for n in 0..EACH {
                    let asked = OsInstant::now();
                    let owner = format!("docker:c{client}:{n}");
                    router.acquire(&owner, "net:10.32.0.0/16").await.unwrap();
                    took.push(asked.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    let all = began.elapsed();
    took.sort_unstable();
    let per_second = (CLIENTS * EACH) as f64 / all.as_secs_f64();
    let p99 = took[took.len() * 99 / 100];
    let _ = writeln!(
        std::io::stderr(),
        "{per_second:.0} addresses granted in a second to {CLIENTS} at once, 99 % within {p99:.1?}, each synced"
    );
    assert_eq!(router.allocator.leases().await.len(), CLIENTS * EACH + 1);
    // Far below what a disk without a battery does; that it is synced at all is what other tests show.
    assert!(per_second > 50.0);
}
