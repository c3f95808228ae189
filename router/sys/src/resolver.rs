//! Docker's DNS resolver in the network namespace of a container, and redirection of queries to it.
//!
//! Docker's resolver is at 127.0.0.11 in each container on a network other than the default one. Its sockets have
//! ephemeral ports, to which rules in the namespace redirect port 53. A chain of the router in front of those rules
//! redirects it to another socket, so that no port of the container is occupied.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::SysError;
use crate::firewall::redirect;
use crate::netns::Netns;

/// Address of Docker's resolver in containers.
pub const DOCKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Port of the queries.
const DNS_PORT: u16 = 53;
/// State of a listening TCP socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Sockets of Docker's resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// UDP socket.
    pub udp: SocketAddr,
    /// TCP socket.
    pub tcp: SocketAddr,
}

/// Returns Docker's resolver in a namespace; `None` if there is none.
///
/// # Errors
/// The namespace cannot be entered.
pub fn find(netns: &Netns) -> Result<Option<Resolver>, SysError> {
    netns.run_in(|| {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
        };
        let udp = port_of(&read("udp"), None)?;
        let tcp = port_of(&read("tcp"), Some(LISTEN))?;
        let at = |port| SocketAddr::new(IpAddr::V4(DOCKER), port);
        Some(Resolver {
            udp: at(udp),
            tcp: at(tcp),
        })
    })
}

/// Returns the port of the first socket at Docker's address in a table of `/proc/net`.
fn port_of(table: &str, state: Option<&str>) -> Option<u16> {
    let address = format!("{:08X}", u32::from_ne_bytes(DOCKER.octets()));
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (ip, port) = words.next()?.split_once(':')?;
        let is_wanted = state.is_none_or(|state| words.nth(1) == Some(state));
        let port = u16::from_str_radix(port, 16).ok()?;
        (ip == address && is_wanted && port != DNS_PORT).then_some(port)
    })
}

/// Redirects queries for Docker's resolver to another address of the namespace. Idempotent; repairs changes made by
/// others.
///
/// # Errors
/// No firewall tool can translate addresses here, or the tool reports an error.
pub fn lead_to(netns: &Netns, to: SocketAddr) -> Result<(), SysError> {
    let from = SocketAddr::new(IpAddr::V4(DOCKER), DNS_PORT);
    netns.run_in(|| redirect::ensure(from, to))?
}

/// Removes the redirection.
///
/// # Errors
/// The error of the firewall tool.
pub fn give_back(netns: &Netns) -> Result<(), SysError> {
    netns.run_in(redirect::remove)?
}

/// Opens a non-blocking UDP socket in a namespace, connected to one server there.
///
/// # Errors
/// The errno of the failed system call.
pub fn udp_to(netns: &Netns, server: SocketAddr) -> io::Result<UdpSocket> {
    let made = netns.run_in(|| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    made.map_err(io::Error::other)?
}

/// Opens a TCP connection to a server in a namespace; the stream is non-blocking.
///
/// # Errors
/// The errno of the failed system call, or a time-out.
pub fn tcp_to(netns: &Netns, server: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let made = netns.run_in(|| {
        let stream = TcpStream::connect_timeout(&server, within)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    made.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::socket::loopback::listen_in;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn queries_for_docker_are_redirected_and_given_back() {
        if needs_root("queries_for_docker_are_redirected_and_given_back") {
            return;
        }
        let named = NamedNetns::new();
        let netns = &named.netns;
        assert_eq!(find(netns).unwrap(), None);
        let (ours, _tcp) = listen_in(netns, "127.0.0.12:0".parse().unwrap()).unwrap();
        let docker = netns.run_in(|| {
            let udp = UdpSocket::bind((DOCKER, 0)).unwrap();
            (udp, TcpListener::bind((DOCKER, 0)).unwrap())
        });
        let (udp, tcp) = docker.unwrap();
        let found = find(netns).unwrap().unwrap();
        assert_eq!(found.udp, udp.local_addr().unwrap());
        assert_eq!(found.tcp, tcp.local_addr().unwrap());
        if let Err(error) = lead_to(netns, ours.local_addr().unwrap()) {
            println!("skipped: {error}");
            return;
        }
        lead_to(netns, ours.local_addr().unwrap()).unwrap();
        let client = netns
            .run_in(|| UdpSocket::bind("127.0.0.1:0").unwrap())
            .unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.send_to(b"asked", (DOCKER, 53)).unwrap();
        ours.set_nonblocking(false).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut heard = [0; 16];
        let (len, from) = ours.recv_from(&mut heard).unwrap();
        assert_eq!(&heard[..len], b"asked");
        // The answer has the address to which the query was sent.
        ours.send_to(b"said", from).unwrap();
        let (len, from) = client.recv_from(&mut heard).unwrap();
        assert_eq!((&heard[..len], from), (&b"said"[..], (DOCKER, 53).into()));
        give_back(netns).unwrap();
        give_back(netns).unwrap();
        let socket = udp_to(netns, found.udp).unwrap();
        socket.send(b"on").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(udp.recv(&mut heard).unwrap(), 2);
        tcp_to(netns, found.tcp, Duration::from_secs(5)).unwrap();
    }
}
