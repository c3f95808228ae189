//! Sockets at a loopback address of another network namespace, which can be reached only from inside it.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::SysError;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::socket::bind_both;

/// Index of the loopback interface, in every namespace.
const LOOPBACK: u32 = 1;

/// Returns a non-blocking UDP socket and TCP listener at one address of a namespace, whose loopback is brought up.
/// They work from any thread, and keep the namespace alive.
///
/// # Errors
/// [`SysError::is_in_use`] if the port is in use there, on this address or on all.
pub fn listen_in(netns: &Netns, address: SocketAddr) -> Result<(UdpSocket, TcpListener), SysError> {
    netns.run_in(|| {
        Netlink::open()?.link().set_up(LOOPBACK)?;
        bind_both(address).map_err(|e| {
            let path = netns.path().display();
            SysError::new(format!("listen on {address} in {path}"), e)
        })
    })?
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;
    use crate::testing::{NamedNetns, needs_root, soon};

    const ADDRESS: &str = "127.0.0.12:53";

    fn address() -> SocketAddr {
        ADDRESS.parse().unwrap()
    }

    #[test]
    fn only_the_inside_of_the_namespace_reaches_the_sockets() {
        if needs_root("only_the_inside_of_the_namespace_reaches_the_sockets") {
            return;
        }
        let (named, other) = (NamedNetns::new(), NamedNetns::new());
        let (udp, tcp) = listen_in(&named.netns, address()).unwrap();
        // Each namespace has its own such address.
        let (_udp, _tcp) = listen_in(&other.netns, address()).unwrap();
        named
            .netns
            .run_in(|| {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.send_to(b"inside", ADDRESS).unwrap();
                std::net::TcpStream::connect(ADDRESS)
                    .unwrap()
                    .write_all(b"by tcp")
                    .unwrap();
            })
            .unwrap();
        udp.set_nonblocking(false).unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut heard = [0; 16];
        assert_eq!(udp.recv(&mut heard).unwrap(), 6);
        assert_eq!(&heard[..6], b"inside");
        tcp.set_nonblocking(false).unwrap();
        let (mut stream, _) = tcp.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by tcp");
        udp.set_nonblocking(true).unwrap();
        assert!(udp.recv(&mut heard).is_err(), "once is enough");
    }

    #[test]
    fn a_port_in_use_is_distinguished() {
        if needs_root("a_port_in_use_is_distinguished") {
            return;
        }
        let named = NamedNetns::new();
        let everywhere = || UdpSocket::bind("0.0.0.0:53").unwrap();
        let taken = named.netns.run_in(everywhere).unwrap();
        let error = listen_in(&named.netns, address()).unwrap_err();
        assert!(error.is_in_use(), "{error}");
        drop(taken);
        let mut first = None;
        assert!(soon(|| {
            first = listen_in(&named.netns, address()).ok();
            first.is_some()
        }));
        assert!(listen_in(&named.netns, address()).unwrap_err().is_in_use());
        drop(first);
        assert!(soon(|| listen_in(&named.netns, address()).is_ok()));
    }
}
