//! Callers at the desk of one router that is alone, with a disk in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;
use ipnet::IpNet;
use mesh_host::leases::container_names::ContainerNames;
use mesh_ipam::{
    ANY_SUBNET, AddressPool, AddressQuery, Ipam, IpamConfig, IpamSet, NetworkPlan, Slicing,
    SubnetPlan,
};
use mesh_proto::control::{Config, Control};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::forward::Forwarder;
use mesh_proto::ids::PeerName;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::topology::record::Ed25519;

use crate::call::{Acquire, CallAnswer, CallId};
use crate::desk::{AddressDesk, DeskOutput};

struct DeskWorld {
    desk: AddressDesk,
    control: Control,
    now: Instant,
    calls: u64,
}

fn control(now: Instant) -> Control {
    let config = Config {
        identity: Arc::new(Identity::from_seeds([1; 32], [2; 32])),
        secret: Arc::new(MeshSecret::open()),
        epoch: 1,
        name: PeerName([2; 6]),
        nickname: "host1".into(),
        port: 6783,
        endpoints: Vec::new(),
        discovery: false,
        mtu: 1376,
        suites: Suites::AES_FIRST,
        stored_neighbours: Vec::new(),
        forgotten: Vec::new(),
        pins: BTreeMap::new(),
    };
    let forwarder = Arc::new(Forwarder::new(&mut SeededEntropy::new(1)));
    let entropy = Box::new(SeededEntropy::new(2));
    Control::new(config, forwarder, Arc::new(Ed25519), entropy, now).unwrap()
}

impl DeskWorld {
    fn new() -> Self {
        let now = Instant::ZERO + Duration::from_secs(1_000);
        let control = control(now);
        let range = "10.32.0.0/16".parse().unwrap();
        let config = IpamConfig {
            me: control.me(),
            epoch: 1,
            slicing: Slicing::new(range).unwrap(),
            auto_reclaim: None,
        };
        let ipam = Ipam::new(config, std::iter::empty(), now).unwrap();
        let mut ipam = IpamSet::new(&config, ipam, now);
        ipam.set_expecting(false, now);
        let pool = AddressPool {
            range,
            default_subnet: range,
            range6: "fd00:32::/64".parse().ok(),
        };
        let desk = AddressDesk::new(ipam, pool, ContainerNames::default(), None, &control, now);
        Self {
            desk,
            control,
            now,
            calls: 0,
        }
    }

    fn call(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    fn acquire(&mut self, owner: &str, query: AddressQuery) -> CallId {
        self.acquire_in(NetworkId::DEFAULT, owner, query)
    }

    fn acquire_in(&mut self, network: NetworkId, owner: &str, query: AddressQuery) -> CallId {
        let call = self.call();
        let acquire = Acquire {
            network,
            owner: owner.to_owned(),
            query,
            patience: Duration::from_secs(10),
            caller: 7,
        };
        self.desk.acquire(call, acquire, &self.control, self.now);
        call
    }

    /// Lets time pass until the call is answered.
    fn answer(&mut self, call: CallId) -> CallAnswer {
        for _ in 0..1_000 {
            while let Some(output) = self.desk.poll_output(None) {
                match output {
                    DeskOutput::Answer(answered, answer) if answered == call => return answer,
                    DeskOutput::Persist { position, .. } => {
                        self.desk.persisted(position, self.now);
                    }
                    DeskOutput::PersistSpace { position, .. } => {
                        self.desk.spaces_persisted(position, self.now);
                    }
                    DeskOutput::Statement(bytes) => {
                        let topic = crate::desk::TOPIC;
                        self.control.announce(topic, bytes, self.now).unwrap();
                    }
                    _ => {}
                }
            }
            if self.desk.is_leaving() {
                let me = self.control.me();
                let told = self.control.announcement(me, crate::desk::TOPIC);
                let told = told.map(|told| told.body.to_vec());
                self.desk.finish_leave(told.as_deref(), self.now);
            }
            let deadline = self.desk.next_deadline(false);
            self.now = deadline.max(self.now + Duration::from_millis(10));
            self.desk.handle_timeout(self.now);
            if self.desk.begin_tick(self.now) {
                self.desk.tick(self.now);
            }
        }
        panic!("{call:?} is not answered");
    }

    fn acquired(&mut self, owner: &str, query: AddressQuery) -> Result<String, String> {
        let call = self.acquire(owner, query);
        self.result(call)
    }

    fn acquired_in(&mut self, n: u8, owner: &str, query: AddressQuery) -> Result<String, String> {
        let call = self.acquire_in(NetworkId([n; 16]), owner, query);
        self.result(call)
    }

    fn define(&mut self, n: u8) {
        let subnet = "10.1.0.0/24".parse().unwrap();
        let plan = NetworkPlan {
            network: NetworkId([n; 16]),
            founder: self.control.me(),
            subnets: vec![SubnetPlan {
                subnet,
                range: subnet,
                gateway: Some([10, 1, 0, 1].into()),
            }],
        };
        self.desk.define(plan, true, &self.control, self.now);
    }

    fn result(&mut self, call: CallId) -> Result<String, String> {
        match self.answer(call) {
            CallAnswer::Acquired { result, .. } => match result {
                Ok(net) => Ok(net.to_string()),
                Err(why) => Err(why.text),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn subnet() -> AddressQuery {
    AddressQuery::AnyOf("10.32.5.0/24".parse().unwrap())
}

fn address(text: &str) -> AddressQuery {
    AddressQuery::Exactly(IpNet::new(text.parse().unwrap(), 24).unwrap())
}

#[test]
fn an_address_is_leased_once_and_its_owner_is_named() {
    let mut world = DeskWorld::new();
    let web = world.acquired("docker:web:1", subnet());
    assert_eq!(web.as_deref(), Ok("10.32.5.1/24"));
    let refused = world.acquired("docker:db:2", address("10.32.5.1"));
    let text = "10.32.5.1 is already used by container web on this host";
    assert_eq!(refused, Err(text.to_owned()));
    let leases = world.desk.leases();
    assert_eq!(
        (leases.len(), leases[0].owner.as_str()),
        (1, "docker:web:1")
    );
    let report = world.desk.report(world.control.me(), None, world.now);
    assert_eq!(report.owners[0].peer, "host1");
    assert_eq!(report.allocations[0].container, "web");
    let now = world.now;
    let (network, addr) = (NetworkId::DEFAULT, [10, 32, 5, 1].into());
    world.desk.release(&network, "docker:web:1", addr, now);
    let db = world.acquired("docker:db:2", subnet());
    assert_eq!(db.as_deref(), Ok("10.32.5.1/24"));
}

#[test]
fn a_disk_that_fails_is_shown_with_those_who_wait_for_it() {
    let mut world = DeskWorld::new();
    world.acquire("docker:web:1", subnet());
    let error = Some("disk full");
    let report = world.desk.report(world.control.me(), error, world.now);
    let advice = report.advice.concat();
    assert!(
        advice.contains("cannot be written, so nothing is allocated: disk full"),
        "{advice}"
    );
    let waiting = world.desk.waiting(error, world.now);
    assert_eq!((waiting.len(), waiting[0].caller_pid), (1, 7));
    assert_eq!(waiting[0].container, "web");
    assert!(waiting[0].why.contains("disk full"), "{}", waiting[0].why);
}

#[test]
fn the_range_is_primed_and_the_space_is_handed_over() {
    let mut world = DeskWorld::new();
    let call = world.call();
    world.desk.prime(call, Duration::from_secs(10), world.now);
    assert_eq!(world.answer(call), CallAnswer::Primed(Ok(())));
    let alone = world.desk.remove("host1", true, world.now).unwrap_err();
    assert!(alone.contains("cannot remove itself"), "{alone}");
    assert!(world.desk.remove("host7", true, world.now).is_err());
    let call = world.call();
    world.desk.leave(call, world.now);
    let CallAnswer::Left(left) = world.answer(call) else {
        panic!("another answer");
    };
    assert_eq!((left.others, left.orphaned), (0, 256));
}

#[test]
fn networks_have_addresses_of_their_own() {
    let mut world = DeskWorld::new();
    let any = AddressQuery::AnyOf(ANY_SUBNET);
    let unknown = world.acquired_in(7, "docker:web:1", any).unwrap_err();
    assert!(unknown.contains("is not known on this host"), "{unknown}");
    for n in [7, 8] {
        world.define(n);
        // Not the gateway, and the same in both.
        let web = world.acquired_in(n, "docker:web:1", any);
        assert_eq!(web.as_deref(), Ok("10.1.0.2/24"));
    }
    let refused = world.acquired_in(7, "docker:db:2", address("10.1.0.2"));
    let text = "10.1.0.2 is already used by container web on this host";
    assert_eq!(refused, Err(text.to_owned()));
    let outside = world.acquired_in(7, "docker:db:2", address("10.2.0.2"));
    assert!(outside.unwrap_err().contains("take one of 10.1.0.0/24"));
    assert!(world.acquired("docker:db:2", address("10.32.0.9")).is_ok());
    let networks: Vec<NetworkId> = world.desk.leases().iter().map(|l| l.network).collect();
    let [seven, eight] = [7, 8].map(|n| NetworkId([n; 16]));
    assert_eq!(networks, [NetworkId::DEFAULT, seven, eight]);
    let me = world.control.me();
    let report = world.desk.report(me, None, world.now);
    assert_eq!((report.network.as_str(), report.networks.len()), ("", 2));
    let network = &report.networks[0];
    assert_eq!(network.network, seven.to_string());
    assert_eq!(network.range, "10.1.0.0/24");
    assert_eq!((network.owners[0].addresses, network.free), (256, 252));
    assert_eq!(network.allocations[0].container, "web");
    assert_eq!(world.desk.rightful(&eight, [10, 1, 0, 2].into()), Some(me));
    let beside = "fd00:32::a20:9".parse().unwrap();
    assert_eq!(world.desk.rightful(&NetworkId::DEFAULT, beside), Some(me));
    let other = "fd00:33::a20:9".parse().unwrap();
    assert_eq!(world.desk.rightful(&NetworkId::DEFAULT, other), None);
    assert_eq!(report.range6, "fd00:32::/64");
    world.desk.remove_network(&seven, world.now);
    let addr = [10, 1, 0, 2].into();
    world.desk.release(&eight, "docker:web:1", addr, world.now);
    assert_eq!(world.desk.leases().len(), 1);
    let gone = world.acquired_in(7, "docker:web:1", any).unwrap_err();
    assert!(gone.contains("is not known on this host"), "{gone}");
    let (position, snapshot) = world.desk.spaces_snapshot();
    assert!(position > 0 && !snapshot.is_empty());
    let call = world.call();
    world.desk.leave(call, world.now);
    let CallAnswer::Left(left) = world.answer(call) else {
        panic!("another answer");
    };
    assert_eq!((left.others, left.orphaned), (0, 256 + 16));
}
