//! The server on sockets: which client hears of which network.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use mesh_names::{Container, Domain, LocalNames, MeshName};
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_sys::netns::Netns;

use super::*;

const DEFAULT: NetworkId = NetworkId::DEFAULT;
const X: NetworkId = NetworkId([0xa1; 16]);
const Y: NetworkId = NetworkId([0xb2; 16]);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a server that knows `web` in three networks, as 10.40.0.1, 2 and 3. Clients are told by their addresses:
/// 127.0.0.2 is in `X`, 127.0.0.3 in `Y`, 127.0.0.23 in both, others in `default`.
fn server() -> Dns {
    let web = |network, last: u8| Container {
        id: "c".to_owned(),
        network,
        names: vec![MeshName::relative("web").unwrap()],
        addresses: vec![[10, 40, 0, last].into()],
        ports: Vec::new(),
    };
    let mut host = LocalNames::default();
    host.set_containers(vec![web(DEFAULT, 1), web(X, 2), web(Y, 3)]);
    let clock = Clock::start();
    let mut names = Names::new(PeerId([1; 16]), clock.now());
    names.set_own(host.entries().clone());
    names.settle();
    let networks = |ip: IpAddr| match ip {
        IpAddr::V4(v4) if v4.octets()[3] == 2 => AskerNetworks::of([X]),
        IpAddr::V4(v4) if v4.octets()[3] == 3 => AskerNetworks::of([Y]),
        IpAddr::V4(v4) if v4.octets()[3] == 23 => AskerNetworks::of([Y, X]),
        _ => AskerNetworks::default(),
    };
    let config = DnsConfig {
        names,
        settings: AnswerSettings {
            domain: Domain::parse("mesh.local").unwrap(),
            ttl: 1,
            ranges: Vec::new(),
        },
        clients: Arc::new(move |ip| Some(networks(ip))),
        swarm: Arc::new(|_, _| false),
        upstreams: UpstreamSource::fixed(Vec::new()),
        clock,
    };
    Dns::start(config).unwrap()
}

/// Returns the query for the A records of `web.mesh.local`.
fn query() -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["web", "mesh", "local"] {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

/// Returns the last byte of the only address in an answer.
fn host_of(answer: &[u8]) -> u8 {
    assert_eq!(answer[6..8], [0, 1], "one record in {answer:?}");
    let [.., 10, 40, 0, last] = *answer else {
        panic!("no address in {answer:?}");
    };
    last
}

fn by_udp(from: u8, server: SocketAddr) -> u8 {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, from), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query(), server).unwrap();
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).unwrap();
    host_of(&answer[..len])
}

fn by_tcp(stream: &mut TcpStream) -> u8 {
    let query = query();
    let len = u16::try_from(query.len()).unwrap();
    stream
        .write_all(&[&len.to_be_bytes(), &query[..]].concat())
        .unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer).unwrap();
    host_of(&answer)
}

#[test]
fn clients_of_an_address_of_the_host_hear_of_their_own_networks() {
    let dns = server();
    assert!(dns.listen(&["127.0.0.1:0".parse().unwrap()]).is_empty());
    let address = dns.listening()[0];
    for _ in 0..3 {
        for (from, host) in [(1, 1), (2, 2), (3, 3), (23, 3), (2, 2)] {
            assert_eq!(by_udp(from, address), host, "127.0.0.{from}");
        }
    }
}

#[test]
fn a_container_that_changes_its_networks_is_answered_about_the_new_ones_at_once() {
    let dns = server();
    let netns = Netns::current().unwrap().id().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    dns.serve_inside(netns, udp, tcp, &AskerNetworks::of([X]), None)
        .unwrap();
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    // The address of the client does not matter within a namespace.
    assert_eq!((by_udp(3, address), by_tcp(&mut open)), (2, 2));
    dns.set_networks(netns, &AskerNetworks::of([Y, X]));
    assert_eq!((by_udp(2, address), by_tcp(&mut open)), (3, 3));
    dns.set_networks(netns, &AskerNetworks::default());
    assert_eq!((by_udp(2, address), by_tcp(&mut open)), (1, 1));
}
