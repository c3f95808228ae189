//! Real devices, in namespaces of their own. They need root.

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
use mesh_sys::bridge::{self, PortKind};
use mesh_sys::netlink::Netlink;
use mesh_sys::netns::Netns;
use mesh_sys::socket::packet::PacketSocket;
use mesh_sys::udp::Udp;

use super::super::latency::Latency;
use super::super::port;
use super::super::{LANE_EVENTS, LaneContext, Lanes, Reported, Spare};
use super::*;
use crate::clock::{Clock, OsEntropy};

const A: NetworkId = NetworkId([0xaa; 16]);
const B: NetworkId = NetworkId([0xbb; 16]);
/// EtherType for local experiments (IEEE 802).
const TYPE: u16 = 0x88b5;
const DEADLINE: Duration = Duration::from_secs(30);
/// Time in which nothing arrives that must not.
const SILENCE: Duration = Duration::from_millis(200);

/// Returns true, and prints a message, if the test must be skipped because it does not run as root.
fn needs_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("{test}: skipped, it needs root");
    }
    !root
}

/// Namespace that ends with the test.
struct TestNetns {
    name: String,
    netns: Netns,
}

impl TestNetns {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-lanes-test-{}-{number}", std::process::id());
        let netns = Netns::create_named(&name).unwrap();
        Self { name, netns }
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run_in(f).unwrap()
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        let _ = Netns::delete_named(&self.name);
    }
}

/// Router's data plane without other routers, a member of the networks A and B.
struct LaneHost {
    netns: TestNetns,
    ports: NetworkPorts,
    shared: LaneContext,
    domains: BTreeMap<NetworkId, Arc<BroadcastDomain>>,
    lanes: Option<Lanes>,
    _events: tokio::sync::mpsc::Receiver<Reported>,
}

impl LaneHost {
    fn new(datapath: Datapath, lanes: usize) -> Self {
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

    fn open(&self, network: NetworkId) {
        self.netns
            .run(|| self.ports.open(network, 0, "mesh network x").unwrap());
    }

    fn close(&self, network: NetworkId) {
        self.netns.run(|| self.ports.close(network).unwrap());
    }

    /// Adds a container to a network; all have the same MAC and IP address.
    fn add(&self, network: NetworkId) -> MemberSocket {
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
    fn knows(&self, network: NetworkId, mac: Mac) -> bool {
        let now = self.shared.clock.now();
        let fdb = match self.domains.get(&network) {
            Some(domain) => domain.fdb(),
            None => self.shared.forwarder.fdb(),
        };
        fdb.lookup(mac, now).is_some()
    }

    /// Waits until a frame of the container enters in this network.
    fn hears(&self, network: NetworkId, container: &MemberSocket) {
        let mac = next_mac();
        let heard = wait(|| {
            container.send(mac);
            self.knows(network, mac)
        });
        assert!(heard, "{network}");
    }

    /// Waits until a frame that is delivered to the network reaches the container.
    fn reaches(&self, network: NetworkId, container: &MemberSocket) {
        let mac = next_mac();
        let reached = wait(|| {
            self.deliver(network, mac);
            container.received(mac)
        });
        assert!(reached, "{network}");
    }

    fn deliver(&self, network: NetworkId, source: Mac) {
        let mut delivery = NetworkDelivery::new(self.ports.clone());
        let frame = InnerFrame {
            bytes: &frame(source),
            partial: false,
        };
        delivery.inject(network, frame);
        delivery.flush();
    }

    fn ip(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let done = self.netns.run(|| Command::new("ip").args(words).output());
        assert!(done.as_ref().unwrap().status.success(), "{line}: {done:?}");
    }

    fn links(&self) -> BTreeSet<String> {
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
fn context(
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

struct MemberSocket {
    socket: PacketSocket,
    _netns: TestNetns,
}

impl MemberSocket {
    fn send(&self, source: Mac) {
        self.socket.send(&frame(source)).unwrap();
    }

    /// Returns true if a frame of this source arrives; takes all others that came before.
    fn received(&self, source: Mac) -> bool {
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
fn frame(source: Mac) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[2, 0xff, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&TYPE.to_be_bytes());
    frame
}

/// Returns an address that was not used before.
fn next_mac() -> Mac {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Mac([2, 0x77, a, b, c, d])
}

fn wait(mut is_so: impl FnMut() -> bool) -> bool {
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

fn on_both_datapaths(test: &str, run: impl Fn(Datapath)) {
    if needs_root(test) {
        return;
    }
    run(Datapath::Tap);
    run(Datapath::Pcap);
}

#[test]
fn two_networks_with_equal_addresses_stay_apart() {
    on_both_datapaths("two_networks_with_equal_addresses_stay_apart", |datapath| {
        let host = LaneHost::new(datapath, 1);
        host.open(A);
        host.open(B);
        host.open(A);
        let all = [NetworkId::DEFAULT, A, B];
        let containers = all.map(|network| (network, host.add(network)));
        for (network, container) in &containers {
            host.hears(*network, container);
        }
        for (network, container) in &containers {
            let mac = next_mac();
            let heard = wait(|| {
                container.send(mac);
                host.knows(*network, mac)
            });
            assert!(heard, "{network}");
            for other in all.iter().filter(|other| *other != network) {
                assert!(!host.knows(*other, mac), "{network} is heard in {other}");
            }
        }
        for network in [A, B] {
            let mac = next_mac();
            host.deliver(network, mac);
            for (other, container) in &containers {
                assert_eq!(
                    container.received(mac),
                    *other == network,
                    "{network} {other}"
                );
            }
        }
    });
}

#[test]
fn a_network_that_floods_does_not_starve_others() {
    on_both_datapaths("a_network_that_floods_does_not_starve_others", |datapath| {
        let host = LaneHost::new(datapath, 1);
        host.open(A);
        host.open(B);
        let (loud, quiet) = (host.add(A), host.add(B));
        let main = host.add(NetworkId::DEFAULT);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let bytes = frame(next_mac());
                while !stop.load(Ordering::Relaxed) {
                    // Fails while the queue of the interface is full.
                    let _ = loud.socket.send(&bytes);
                }
            });
            let begin = Instant::now();
            for _ in 0..20 {
                let (mac, other) = (next_mac(), next_mac());
                quiet.send(mac);
                main.send(other);
                let both = || host.knows(B, mac) && host.knows(NetworkId::DEFAULT, other);
                // Sent once: what a port has is not lost because of another port.
                let heard = wait(both);
                if !heard {
                    stop.store(true, Ordering::Relaxed);
                }
                assert!(heard);
            }
            println!(
                "20 frames beside a flood ({datapath:?}): {:?}",
                begin.elapsed()
            );
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_port_is_opened_again_after_its_devices_were_deleted_or_set_down() {
    let test = "a_port_is_opened_again_after_its_devices_were_deleted_or_set_down";
    on_both_datapaths(test, |datapath| {
        let host = LaneHost::new(datapath, 1);
        host.open(A);
        host.open(B);
        let (container, other) = (host.add(A), host.add(B));
        host.hears(A, &container);
        let bridge = host.ports.bridge(A);
        let port = match datapath {
            Datapath::Tap => ifname::tap_port(&bridge),
            _ => ifname::port_pair(&bridge).1,
        };
        for damage in [format!("link del {port}"), format!("link set {port} down")] {
            host.ip(&damage);
            host.netns.run(|| host.ports.mend().unwrap());
            host.hears(A, &container);
            host.reaches(A, &container);
            host.hears(B, &other);
        }
        let sound = host.netns.run(|| host.ports.mend().unwrap());
        assert_eq!(sound, MendedNetworks::default());
        let main = match datapath {
            Datapath::Tap => "mesh-t",
            _ => "mesh-r",
        };
        host.ip(&format!("link set {main} down"));
        host.ip(&format!("link set {main} up"));
        let first = host.add(NetworkId::DEFAULT);
        host.hears(NetworkId::DEFAULT, &first);
        if datapath == Datapath::Tap {
            host.ip("link del mesh-t");
            host.hears(NetworkId::DEFAULT, &first);
        }
        host.hears(A, &container);
    });
}

#[test]
fn a_network_is_closed_and_opened_while_frames_flow() {
    on_both_datapaths(
        "a_network_is_closed_and_opened_while_frames_flow",
        |datapath| {
            let host = LaneHost::new(datapath, 2);
            let before = host.links();
            host.open(B);
            let quiet = host.add(B);
            let stop = AtomicBool::new(false);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        host.deliver(A, next_mac());
                        host.deliver(B, next_mac());
                    }
                });
                for _ in 0..5 {
                    host.open(A);
                    let loud = host.add(A);
                    for _ in 0..100 {
                        let _ = loud.socket.send(&frame(next_mac()));
                    }
                    host.hears(A, &loud);
                    host.close(A);
                    host.close(A);
                    host.hears(B, &quiet);
                }
                stop.store(true, Ordering::Relaxed);
            });
            assert!(host.netns.run(|| host.ports.strays()).is_empty());
            host.close(B);
            drop(quiet);
            assert!(wait(|| host.links() == before), "{:?}", host.links());
        },
    );
}

#[test]
fn what_an_earlier_run_left_is_found_and_removed_or_used() {
    if needs_root("what_an_earlier_run_left_is_found_and_removed_or_used") {
        return;
    }
    let host = LaneHost::new(Datapath::Tap, 1);
    host.open(A);
    let (a, b) = (host.ports.bridge(A), host.ports.bridge(B));
    host.netns.run(|| {
        let config = BridgeConfig {
            name: b.clone(),
            mtu: 1_376,
            mac: None,
            port: PortKind::Tap,
        };
        let left = NetworkMark::new("mesh", B, "mesh network b");
        ensure_network_bridge(&config, &left).unwrap();
        assert_eq!(host.ports.strays(), std::slice::from_ref(&b));
        host.ports.open(B, 1_200, "mesh network b").unwrap();
        assert!(host.ports.strays().is_empty());
        assert!(host.ports.remove_stray(&a).is_err());
        let mtu = |name: &str| Netlink::open().unwrap().link().require(name).unwrap().mtu;
        assert_eq!((mtu(&a), mtu(&b)), (1_376, 1_200));
        host.ports.open(B, 9_000, "mesh network b").unwrap();
        assert_eq!((mtu(&b), mtu(&ifname::tap_port(&b))), (1_376, 1_376));
        host.ports.close(B).unwrap();
        ensure_network_bridge(&config, &left).unwrap();
        host.ports.remove_stray(&b).unwrap();
        assert!(host.ports.strays().is_empty());
    });
}

/// Memory of this process and of the kernel, in KiB.
#[derive(Clone, Copy, Debug)]
struct Memory {
    process: u64,
    /// Slabs that cannot be reclaimed, memory of each processor, and virtually contiguous memory.
    kernel: u64,
}

fn memory() -> Memory {
    let field = |text: &str, name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let host = std::fs::read_to_string("/proc/meminfo").unwrap();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let kernel = ["SUnreclaim:", "Percpu:", "VmallocUsed:"];
    Memory {
        process: field(&own, "VmRSS:"),
        kernel: kernel.iter().map(|name| field(&host, name)).sum(),
    }
}

#[test]
fn a_hundred_idle_networks_cost_little_memory_and_no_thread() {
    let test = "a_hundred_idle_networks_cost_little_memory_and_no_thread";
    on_both_datapaths(test, |datapath| {
        let host = LaneHost::new(datapath, 2);
        host.open(A);
        let before = memory();
        let begin = Instant::now();
        let count = u64::try_from(MAX_NETWORKS_HERE).unwrap() - 1;
        for number in 0..count {
            host.open(NetworkId(u128::from(number + 1).to_be_bytes()));
        }
        let opened = begin.elapsed();
        let after = memory();
        let each = |of: fn(&Memory) -> u64| of(&after).saturating_sub(of(&before)) / count;
        let (process, kernel) = (each(|m| m.process), each(|m| m.kernel));
        // The ring buffer of a port through libpcap consists of whole pages, which none of these figures includes.
        let rings = match datapath {
            Datapath::Tap => 0,
            _ => 256 + 64,
        };
        println!(
            "{datapath:?}: an idle network costs {process} KiB of the router, {kernel} KiB of the kernel, {rings} KiB of \
             ring buffers; opened in {:?} each",
            opened / u32::try_from(count).unwrap()
        );
        assert!(process + kernel + rings < 1_024);
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
        assert!(names.filter(|name| name.starts_with("networks")).count() < 10);
        let refused = host
            .netns
            .run(|| host.ports.open(B, 0, "one too many"))
            .unwrap_err();
        assert!(refused.to_string().contains("no more may"), "{refused}");
        let begin = Instant::now();
        host.netns.run(|| host.ports.mend().unwrap());
        println!("{datapath:?}: mended in {:?}", begin.elapsed());
        let container = host.add(A);
        host.hears(A, &container);
        host.reaches(A, &container);
    });
}
