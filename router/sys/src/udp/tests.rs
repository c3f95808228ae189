use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::str::FromStr as _;

use super::*;
use crate::testing::{NamedNetns, needs_root};

const WAIT: Duration = Duration::from_millis(500);

fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn collect(receiver: &mut UdpReceiver, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count && receiver.recv(WAIT).unwrap() > 0 {
        all.extend(receiver.datagrams().map(|(a, d)| (a.from, d.to_vec())));
    }
    all
}

#[test]
fn a_batch_arrives_whole_and_in_order() {
    let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
    let to = localhost(b.local_port().unwrap());
    let buffer: Vec<u8> = (0..=255).collect();
    let batch: Vec<_> = (0..100).map(|i| Run::one(to, i..i + 100)).collect();
    assert_eq!(
        a.sender().send(&buffer, &batch),
        SendReport {
            sent: 100,
            ..SendReport::default()
        }
    );
    let got = collect(&mut b.receiver(32), 100);
    assert_eq!(got.len(), 100);
    for (i, (from, datagram)) in got.iter().enumerate() {
        assert_eq!(*from, localhost(a.local_port().unwrap()), "IPv4 as IPv4");
        assert_eq!(datagram[..], buffer[i..i + 100]);
    }
}

#[test]
fn one_wake_up_takes_what_is_waiting() {
    let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
    for i in 0..10 {
        assert!(a.send_to(localhost(b.local_port().unwrap()), &[i; 10]));
    }
    let mut receiver = b.receiver(8);
    assert_eq!(receiver.recv(WAIT).unwrap(), 8);
    assert_eq!(receiver.recv(WAIT).unwrap(), 2);
    assert_eq!(receiver.recv(Duration::from_millis(20)).unwrap(), 0);
    assert_eq!(receiver.datagrams().count(), 0);
}

#[test]
fn a_refused_datagram_does_not_hold_up_the_rest() {
    let v4 = Udp::bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
    let b = Udp::bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
    let good = localhost(b.local_port().unwrap());
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    let unreachable = SocketAddr::from((Ipv4Addr::new(255, 255, 255, 255), 9));
    let batch = [
        Run::one(good, 0..4),
        Run::one(v6, 0..4),
        Run::one(unreachable, 0..4),
        Run::one(good, 90..120),
        Run::one(good, 4..8),
    ];
    let sent = v4.sender().send(&[5; 100], &batch);
    assert_eq!(
        sent,
        SendReport {
            sent: 2,
            dropped: 3,
            singly: 0
        }
    );
    assert_eq!(collect(&mut b.receiver(8), 2).len(), 2);
}

#[test]
fn a_refused_port_is_no_error() {
    let a = Udp::bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
    let closed = Udp::bind(None, 0).unwrap().local_port().unwrap();
    let mut receiver = a.receiver(4);
    for _ in 0..3 {
        a.send_to(localhost(closed), b"x");
        assert_eq!(receiver.recv(Duration::from_millis(5)).unwrap(), 0);
    }
}

#[test]
fn datagrams_larger_than_a_packet_pass_in_fragments() {
    let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
    let to = localhost(b.local_port().unwrap());
    let max = mesh_proto::limits::MAX_DATAGRAM;
    assert!(a.send_to(to, &vec![1; max]));
    assert!(a.send_to(to, &vec![2; max + 1]));
    assert!(a.send_to(to, &[3]));
    let mut receiver = b.receiver(4);
    let got = collect(&mut receiver, 2);
    let lengths: Vec<_> = got.iter().map(|(_, d)| d.len()).collect();
    assert_eq!(lengths, [max, 1], "the longer one is dropped");
    assert_eq!(receiver.oversized(), 1);
}

#[test]
fn a_taken_port_is_named() {
    let a = Udp::bind(None, 0).unwrap();
    let port = a.local_port().unwrap();
    let error = Udp::bind(None, port).unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert_eq!(error.raw(), Some(Errno::EADDRINUSE));
}

#[test]
fn works_where_ipv6_is_switched_off() {
    if needs_root("works_where_ipv6_is_switched_off") {
        return;
    }
    NamedNetns::new().run(|| {
        let _ = crate::interface::sysctl::set_if_present(
            crate::interface::sysctl::SysctlGroup::Ipv6Conf,
            "all",
            "disable_ipv6",
            "1",
        );
        let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
        assert!(a.send_to(localhost(b.local_port().unwrap()), b"x"));
        assert_eq!(collect(&mut b.receiver(4), 1).len(), 1);
    });
}

#[test]
fn mapped_addresses_become_ipv4() {
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:5".parse().unwrap();
    assert_eq!(normalise(mapped), "10.0.0.1:5".parse().unwrap());
    let v6: SocketAddr = "[fd00::1]:5".parse().unwrap();
    assert_eq!(normalise(v6), v6);
}

/// Creates two namespaces joined by a veth pair with an MTU of 1,500: 10.8.0.1 and fd08::1, 10.8.0.2 and fd08::2.
fn joined() -> (NamedNetns, NamedNetns) {
    let (left, right) = (NamedNetns::new(), NamedNetns::new());
    left.run(|| {
        let mut netlink = crate::netlink::Netlink::open().unwrap();
        let spec = crate::netlink::VethSpec {
            name: "a",
            peer_name: "a",
            peer_netns: Some(right.netns.as_fd()),
            peer_mac: None,
            mtu: 1500,
        };
        netlink.link().create_veth(&spec).unwrap();
    });
    for (number, side) in [(1, &left), (2, &right)] {
        side.run(|| {
            let mut netlink = crate::netlink::Netlink::open().unwrap();
            let index = netlink.link().require("a").unwrap().index;
            netlink.link().set_up(index).unwrap();
            for address in [format!("10.8.0.{number}/24"), format!("fd08::{number}/64")] {
                let mut command = std::process::Command::new("ip");
                command.args(["address", "add", &address, "dev", "a"]);
                if address.contains(':') {
                    command.arg("nodad");
                }
                assert!(command.status().unwrap().success());
            }
        });
    }
    for to in ["10.8.0.2", "fd08::2"] {
        wait_until_passing(&left, &right, to.parse().unwrap());
    }
    (left, right)
}

/// Waits until the pair has carrier and the neighbour is known; datagrams sent earlier may be lost.
fn wait_until_passing(left: &NamedNetns, right: &NamedNetns, to: IpAddr) {
    let a = left.run(|| Udp::bind(None, 0).unwrap());
    let b = right.run(|| Udp::bind(None, 0).unwrap());
    let mut receiver = b.receiver(1);
    let passes = (0..500).any(|_| {
        a.send_to(SocketAddr::new(to, b.local_port().unwrap()), b"?");
        receiver.recv(Duration::from_millis(20)).unwrap() > 0
    });
    assert!(passes, "nothing reaches {to}");
}

fn pattern(length: usize) -> Vec<u8> {
    let byte = |i: usize| (i / 7 + i % 251).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

/// Returns the datagrams of the runs, as they should arrive.
fn cut(buffer: &[u8], runs: &[Run]) -> Vec<Vec<u8>> {
    let pieces = |run: &Run| match run.segment {
        0 => vec![buffer[run.range.clone()].to_vec()],
        segment => buffer[run.range.clone()]
            .chunks(segment)
            .map(<[u8]>::to_vec)
            .collect(),
    };
    runs.iter().flat_map(pieces).collect()
}

fn run(to: SocketAddr, range: Range<usize>, segment: usize) -> Run {
    Run { to, range, segment }
}

#[test]
fn runs_are_cut_merged_and_arrive_in_order() {
    if needs_root("runs_are_cut_merged_and_arrive_in_order") {
        return;
    }
    let (left, right) = joined();
    let a = left.run(|| Udp::bind(None, 0).unwrap());
    let b = right.run(|| Udp::bind(None, 0).unwrap());
    let port = b.local_port().unwrap();
    let buffer = pattern(300_000);
    for to in ["10.8.0.2", "fd08::2"] {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let runs = [
            run(to, 0..10_000, 1_400),
            Run::one(to, 10_000..10_100),
            run(to, 10_100..10_101, 1_000),
            run(to, 10_101..160_101, 1_444),
            run(to, 160_101..163_000, 33),
            run(to, 163_000..165_000, 1_000),
        ];
        let mut receiver = b.receiver(16);
        let sent = a.sender().send(&buffer, &runs);
        let expected = cut(&buffer, &runs);
        let all = SendReport {
            sent: expected.len(),
            ..SendReport::default()
        };
        assert_eq!(sent, all, "{to}");
        assert_eq!(runs.iter().map(Run::datagrams).sum::<usize>(), all.sent);
        let mut calls = 0;
        let mut got = Vec::new();
        while got.len() < all.sent && receiver.recv(WAIT).unwrap() > 0 {
            calls += 1;
            let from = |from: SocketAddr| assert_eq!(from.ip().is_ipv4(), to.is_ipv4());
            got.extend(receiver.datagrams().map(|(a, d)| {
                from(a.from);
                d.to_vec()
            }));
        }
        assert!(got == expected, "{to}: {} of {}", got.len(), all.sent);
        assert!(calls <= 3, "{calls} calls for {} datagrams", all.sent);
    }
}

#[test]
fn runs_not_segmented_by_the_kernel_are_sent_one_by_one() {
    if needs_root("runs_not_segmented_by_the_kernel_are_sent_one_by_one") {
        return;
    }
    let (left, right) = joined();
    let a = left.run(|| Udp::bind(None, 0).unwrap());
    let b = right.run(|| Udp::bind(None, 0).unwrap());
    let to = SocketAddr::from(([10, 8, 0, 2], b.local_port().unwrap()));
    let buffer = pattern(40_000);
    let runs = [
        run(to, 0..3_000, 1_000),
        run(to, 3_000..10_500, 2_000),
        run(to, 10_500..13_000, 1_000),
    ];
    let mut receiver = b.receiver(16);
    let mut sender = a.sender();
    let sent = SendReport {
        sent: 10,
        dropped: 0,
        singly: 4,
    };
    assert_eq!(sender.send(&buffer, &runs), sent);
    assert!(collected(&mut receiver, 10) == cut(&buffer, &runs));
    assert!(sender.cuts, "only that run did not fit");

    sender.cuts = false;
    let sent = SendReport { singly: 10, ..sent };
    assert_eq!(sender.send(&buffer, &runs), sent);
    assert!(collected(&mut receiver, 10) == cut(&buffer, &runs));
}

fn collected(receiver: &mut UdpReceiver, count: usize) -> Vec<Vec<u8>> {
    let all = collect(receiver, count).into_iter();
    all.map(|(_, datagram)| datagram).collect()
}

#[test]
fn only_datagrams_that_may_be_fragmented_outgrow_the_mtu() {
    if needs_root("only_datagrams_that_may_be_fragmented_outgrow_the_mtu") {
        return;
    }
    let (left, right) = joined();
    let a = left.run(|| Udp::bind(None, 0).unwrap());
    let b = right.run(|| Udp::bind(None, 0).unwrap());
    let mut receiver = b.receiver(4);
    for to in ["10.8.0.2", "fd08::2"] {
        let to = SocketAddr::new(to.parse().unwrap(), b.local_port().unwrap());
        a.set_dont_fragment(true).unwrap();
        assert!(!a.send_to(to, &[1; 2_000]) && a.send_to(to, &[1; 1_400]));
        let sent = a.sender().send(&[1; 4_000], &[run(to, 0..4_000, 2_000)]);
        let none = SendReport {
            sent: 0,
            dropped: 2,
            singly: 2,
        };
        assert_eq!(sent, none);
        a.set_dont_fragment(false).unwrap();
        assert!(a.send_to(to, &[1; 2_000]));
        let lengths: Vec<_> = collected(&mut receiver, 2).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1_400, 2_000]);
    }
}

#[test]
fn a_zero_wait_returns_at_once() {
    let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
    let mut receiver = b.receiver(4);
    assert_eq!(receiver.recv(Duration::ZERO).unwrap(), 0);
    assert!(a.send_to(localhost(b.local_port().unwrap()), b"x"));
    assert_eq!(receiver.recv(WAIT).unwrap(), 1);
    assert_eq!(receiver.recv(Duration::ZERO).unwrap(), 0);
    assert_eq!(receiver.datagrams().count(), 0);
}

/// Two addresses of each family; queries to each must be answered from it.
#[test]
fn answers_leave_from_the_address_that_was_asked() {
    if needs_root("answers_leave_from_the_address_that_was_asked") {
        return;
    }
    NamedNetns::new().run(|| {
        let mut netlink = crate::netlink::Netlink::open().unwrap();
        let lo = netlink.link().require("lo").unwrap().index;
        netlink.link().set_up(lo).unwrap();
        let locals = ["192.0.2.1", "192.0.2.2", "fd00::1", "fd00::2"];
        for local in locals {
            let local = IpAddr::from_str(local).unwrap();
            netlink.address().add(lo, local.into()).unwrap();
        }
        for all_families in [true, false] {
            for local in locals.map(|local| IpAddr::from_str(local).unwrap()) {
                let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
                let bind = (!all_families && local.is_ipv4()).then_some(any);
                answers_from(&Udp::bind(bind, 0).unwrap(), local, lo);
            }
        }
    });
}

fn answers_from(server: &Udp, local: IpAddr, link: u32) {
    let mut receiver = server.receiver(4);
    let peer = Udp::bind(None, 0).unwrap();
    let to = SocketAddr::new(local, server.local_port().unwrap());
    // A new IPv6 address works with a delay.
    let asked = (0..20).any(|_| peer.send_to(to, b"asked") && receiver.recv(WAIT).unwrap() > 0);
    assert!(asked, "{local} at {server:?}");
    let (arrival, _) = receiver.datagrams().next().unwrap();
    assert_eq!((arrival.local, arrival.link), (Some(local), link));
    let mut answers = peer.receiver(4);
    let strange = if local.is_ipv4() {
        "198.51.100.1"
    } else {
        "fd01::1"
    };
    // An address of another host cannot be the source: the kernel chooses.
    for (source, expected) in [(local, Some(local)), (strange.parse().unwrap(), None)] {
        let sources = BTreeMap::from([(arrival.from, source)]);
        for segment in [100, 10] {
            let runs = [run(arrival.from, 0..100, segment)];
            let count = runs[0].datagrams();
            let sent = server.sender().send_from(&[7; 100], &runs, &sources);
            assert_eq!((sent.sent, sent.dropped), (count, 0));
            let got = collect(&mut answers, count);
            assert_eq!(got.len(), count);
            let is_right = |ip: IpAddr| expected.is_none_or(|expected| ip == expected);
            assert!(got.iter().all(|(from, _)| is_right(from.ip())), "{got:?}");
        }
    }
}
