//! Real devices, in namespaces of their own. They need root.

mod idle_cost;
mod lane_host;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mesh_options::Datapath;
use mesh_sys::bridge::PortKind;
use mesh_sys::netlink::Netlink;

use super::*;
use lane_host::{LaneHost, frame, needs_root, next_mac, wait};

const A: NetworkId = NetworkId([0xaa; 16]);
const B: NetworkId = NetworkId([0xbb; 16]);
const DEADLINE: Duration = Duration::from_secs(30);

fn on_both_datapaths(test: &str, run: impl Fn(Datapath)) {
    if needs_root(test) {
        return;
    }
    for datapath in [Datapath::Tap, Datapath::Pcap] {
        println!("{datapath:?}");
        run(datapath);
    }
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
            println!("{damage}");
            host.ip(&damage);
            host.netns
                .run(|| host.ports.mend(&HostLinks::read().unwrap()).unwrap());
            host.hears(A, &container);
            host.reaches(A, &container);
            host.hears(B, &other);
        }
        let sound = host
            .netns
            .run(|| host.ports.mend(&HostLinks::read().unwrap()).unwrap());
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
            assert!(
                host.netns
                    .run(|| host.ports.strays(&HostLinks::read().unwrap()))
                    .is_empty()
            );
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
        assert_eq!(
            host.ports.strays(&HostLinks::read().unwrap()),
            std::slice::from_ref(&b)
        );
        host.ports.open(B, 1_200, "mesh network b").unwrap();
        assert!(host.ports.strays(&HostLinks::read().unwrap()).is_empty());
        assert!(host.ports.remove_stray(&a).is_err());
        let mtu = |name: &str| Netlink::open().unwrap().link().require(name).unwrap().mtu;
        assert_eq!((mtu(&a), mtu(&b)), (1_376, 1_200));
        host.ports.open(B, 9_000, "mesh network b").unwrap();
        assert_eq!((mtu(&b), mtu(&ifname::tap_port(&b))), (1_376, 1_376));
        host.ports.close(B).unwrap();
        ensure_network_bridge(&config, &left).unwrap();
        host.ports.remove_stray(&b).unwrap();
        assert!(host.ports.strays(&HostLinks::read().unwrap()).is_empty());
    });
}
