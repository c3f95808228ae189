use super::*;
use crate::testing::{NamedNetns, needs_root};

const WAIT: Duration = Duration::from_millis(500);

fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn collect(receiver: &mut UdpReceiver, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count && receiver.recv(WAIT).unwrap() > 0 {
        all.extend(receiver.datagrams().map(|(from, d)| (from, d.to_vec())));
    }
    all
}

#[test]
fn a_batch_arrives_whole_and_in_order() {
    let (a, b) = (Udp::bind(None, 0).unwrap(), Udp::bind(None, 0).unwrap());
    let to = localhost(b.local_port().unwrap());
    let buffer: Vec<u8> = (0..=255).collect();
    let batch: Vec<_> = (0..100).map(|i| (to, i..i + 100)).collect();
    assert_eq!(
        a.sender().send(&buffer, &batch),
        Sent {
            sent: 100,
            dropped: 0
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
        (good, 0..4),
        (v6, 0..4),
        (unreachable, 0..4),
        (good, 90..120),
        (good, 4..8),
    ];
    let sent = v4.sender().send(&[5; 100], &batch);
    assert_eq!(
        sent,
        Sent {
            sent: 2,
            dropped: 3
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
    let got = collect(&mut b.receiver(4), 2);
    let lengths: Vec<_> = got.iter().map(|(_, d)| d.len()).collect();
    assert_eq!(lengths, [max, 1], "the longer one is dropped");
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
        let _ = crate::sysctl::set_if_present(
            crate::sysctl::Table::Ipv6Conf,
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
