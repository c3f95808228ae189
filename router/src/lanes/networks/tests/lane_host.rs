//! A host with lanes and devices, in a namespace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mesh_options::{Datapath, LatencyMode};
use mesh_proto::forward::{
    BroadcastDomain, Forwarder, NetworkKeys, Snapshot, SnapshotNetwork, SnapshotNetworks,
};
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::network::NetworkLabel;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::attach::{Plug, plug};
use mesh_sys::bridge;
use mesh_sys::netlink::Netlink;
use mesh_sys::netns::Netns;
use mesh_sys::socket::packet::PacketSocket;
use mesh_sys::udp::Udp;

use super::super::super::latency::Latency;
use super::super::super::port;
use super::super::super::{LANE_EVENTS, LaneContext, Lanes, Reported, Spare};
use super::super::*;
use super::{A, B, DEADLINE};
use crate::clock::{Clock, OsEntropy};

/// EtherType for local experiments (IEEE 802).
const TYPE: u16 = 0x88b5;
/// Time in which nothing arrives that must not.
const SILENCE: Duration = Duration::from_millis(200);

/// Returns true, and prints a message, if the test must be skipped because it does not run as root.
pub(super) fn needs_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("{test}: skipped, it needs root");
    }
    !root
}

/// Namespace that ends with the test.
pub(super) struct TestNetns {
    pub(super) name: String,
    pub(super) netns: Netns,
}

impl TestNetns {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-lanes-test-{}-{number}", std::process::id());
        let netns = Netns::create_named(&name).unwrap();
        Self { name, netns }
    }

    pub(super) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run_in(f).unwrap()
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        let _ = Netns::delete_named(&self.name);
    }
}

/// Router's data plane without other routers, a member of the networks A and B.
pub(super) struct LaneHost {
    pub(super) netns: TestNetns,
    pub(super) ports: NetworkPorts,
    pub(super) shared: LaneContext,
    pub(super) domains: BTreeMap<NetworkId, Arc<BroadcastDomain>>,
    pub(super) lanes: Option<Lanes>,
    pub(super) _events: tokio::sync::mpsc::Receiver<Reported>,
}

impl LaneHost {
    pub(super) fn new(datapath: Datapath, lanes: usize) -> Self {
        let netns = TestNetns::new();
        let made = netns.run(|| {
            let limits = GroupLimits::default();
            let chosen = port::choose(datapath, "mesh", lanes, limits).unwrap();
            let config = BridgeConfig {
                name: "mesh".to_owned(),
                mtu: 1_376,
                mac: None,
                port: chosen.kind,
            };
            bridge::ensure_bridge(&config).unwrap();
            let halves = port::open(chosen, config.clone()).unwrap();
            let ports = NetworkPorts::new(config, limits, halves.len()).unwrap();
            let (shared, domains, events) = context(ports.clone());
            let lanes = Lanes::start(&shared, halves, std::slice::from_ref(&shared.udp)).unwrap();
            (ports, shared, domains, lanes, events)
        });
        let (ports, shared, domains, lanes, _events) = made;
        Self {
            netns,
            ports,
            shared,
            domains,
            lanes: Some(lanes),
            _events,
        }
    }

    pub(super) fn open(&self, network: NetworkId) {
        self.netns
            .run(|| self.ports.open(network, 0, "mesh network x").unwrap());
    }

    pub(super) fn close(&self, network: NetworkId) {
        self.netns.run(|| self.ports.close(network).unwrap());
    }

    /// Adds a container to a network; all have the same MAC and IP address.
    pub(super) fn add(&self, network: NetworkId) -> MemberSocket {
        let netns = TestNetns::new();
        self.netns.run(|| {
            let address = "10.9.0.1/24".parse().unwrap();
            let request = Plug {
                bridge: &self.ports.bridge(network),
                netns: &netns.netns,
                ifname: None,
                mac: Mac([2, 0, 0, 0, 9, 1]),
                mtu: 1_376,
                address,
                second: None,
                multicast_route: false,
                alias: "c",
                offloads_off: true,
            };
            plug(&request).unwrap();
        });
        let socket = netns.run(|| {
            let index = Netlink::open().unwrap().link().require("mesh0").unwrap();
            PacketSocket::open(index.index, TYPE).unwrap()
        });
        MemberSocket {
            socket,
            _netns: netns,
        }
    }

    /// Returns true if the router learnt the address in this network.
    pub(super) fn knows(&self, network: NetworkId, mac: Mac) -> bool {
        let now = self.shared.clock.now();
        let fdb = match self.domains.get(&network) {
            Some(domain) => domain.fdb(),
            None => self.shared.forwarder.fdb(),
        };
        fdb.lookup(mac, now).is_some()
    }

    /// Waits until a frame of the container enters in this network.
    #[track_caller]
    pub(super) fn hears(&self, network: NetworkId, container: &MemberSocket) {
        let mac = next_mac();
        let heard = wait(|| {
            container.send(mac);
            self.knows(network, mac)
        });
        assert!(heard, "{network}");
    }

    /// Waits until a frame that is delivered to the network reaches the container.
    #[track_caller]
    pub(super) fn reaches(&self, network: NetworkId, container: &MemberSocket) {
        let mac = next_mac();
        let reached = wait(|| {
            self.deliver(network, mac);
            container.received(mac)
        });
        assert!(reached, "{network}");
    }

    pub(super) fn deliver(&self, network: NetworkId, source: Mac) {
        let mut delivery = NetworkDelivery::new(self.ports.clone());
        let frame = InnerFrame {
            bytes: &frame(source),
            partial: false,
        };
        delivery.inject(network, frame);
        delivery.flush();
    }

    pub(super) fn ip(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let done = self.netns.run(|| Command::new("ip").args(words).output());
        assert!(done.as_ref().unwrap().status.success(), "{line}: {done:?}");
    }

    pub(super) fn links(&self) -> BTreeSet<String> {
        let links = self.netns.run(|| Netlink::open().unwrap().link().list());
        links.unwrap().into_iter().map(|link| link.name).collect()
    }
}

impl Drop for LaneHost {
    fn drop(&mut self) {
        self.lanes.take().unwrap().stop();
    }
}

/// What a lane needs, with the networks A and B.
pub(super) fn context(
    networks: NetworkPorts,
) -> (
    LaneContext,
    BTreeMap<NetworkId, Arc<BroadcastDomain>>,
    tokio::sync::mpsc::Receiver<Reported>,
) {
    let clock = Clock::start();
    let forwarder = Arc::new(Forwarder::new(&mut OsEntropy));
    let mut domains = BTreeMap::new();
    let mut memberships = Vec::new();
    for (network, label) in [(A, 1), (B, 2)] {
        let domain = forwarder.join(network, &mut OsEntropy).unwrap();
        domains.insert(network, domain.clone());
        memberships.push(Arc::new(SnapshotNetwork {
            domain,
            label: NetworkLabel(label),
            peers: BTreeMap::new(),
            keys: NetworkKeys::default(),
        }));
    }
    let mut snapshot = Snapshot::alone(PeerId([1; 16]), 1, 1_376, clock.now());
    snapshot.networks = Arc::new(SnapshotNetworks::new(memberships).unwrap());
    let (events, receiver) = tokio::sync::mpsc::channel(LANE_EVENTS);
    let shared = LaneContext {
        latency: Latency::start(LatencyMode::Off, &forwarder),
        forwarder,
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        udp: Udp::bind(None, 0).unwrap(),
        inside: Arc::default(),
        networks,
        spare: Arc::new(Spare::new(None)),
        events,
        events_lost: Arc::new(AtomicU64::new(0)),
        clock,
        stop: Arc::new(AtomicBool::new(false)),
    };
    (shared, domains, receiver)
}

pub(super) struct MemberSocket {
    pub(super) socket: PacketSocket,
    pub(super) _netns: TestNetns,
}

impl MemberSocket {
    pub(super) fn send(&self, source: Mac) {
        self.socket.send(&frame(source)).unwrap();
    }

    /// Returns true if a frame of this source arrives; takes all others that came before.
    pub(super) fn received(&self, source: Mac) -> bool {
        let until = Instant::now() + SILENCE;
        let mut buffer = [0; 128];
        while Instant::now() < until {
            match self.socket.recv(&mut buffer).unwrap() {
                Some(got) if got.get(6..12) == Some(&source.0[..]) => return true,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        false
    }
}

/// Returns a unicast frame for an address that nobody has.
pub(super) fn frame(source: Mac) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[2, 0xff, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&TYPE.to_be_bytes());
    frame
}

/// Returns an address that was not used before.
pub(super) fn next_mac() -> Mac {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Mac([2, 0x77, a, b, c, d])
}

pub(super) fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + DEADLINE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
