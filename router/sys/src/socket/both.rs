//! A UDP socket and a TCP listener on one port.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Ports that are tried for a free one: a port that is free for UDP can be in use for TCP.
const TRIES: usize = 32;

/// Returns a non-blocking UDP socket and TCP listener on one port of this address; port 0 is any free one.
///
/// # Errors
/// As `bind(2)` does for either, for port 0 after 32 ports.
pub fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = UdpSocket::bind(address)?;
        match TcpListener::bind(udp.local_addr()?) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            tcp => {
                let tcp = tcp?;
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn a_port_that_is_in_use_for_tcp_is_passed_over() {
        if needs_root("a_port_that_is_in_use_for_tcp_is_passed_over") {
            return;
        }
        let named = NamedNetns::new();
        let tried = named.netns.run_in(|| {
            // Sixteen ports, of which eight are in use for TCP alone.
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40015").unwrap();
            let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let taken: Vec<_> = (40_000..40_008)
                .map(|port| TcpListener::bind(at(port)).unwrap())
                .collect();
            for _ in 0..20 {
                let (udp, tcp) = bind_both(at(0)).unwrap();
                assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
            }
            let refused = bind_both(taken[0].local_addr().unwrap()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        });
        tried.unwrap();
    }
}
