//! TCP sockets: listening, and options.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use mesh_proto::limits::{MAX_LINK_UNSENT, MIN_DATAGRAM};
use socket2::{Domain, SockRef, Socket, Type};

use crate::SysError;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 1_024;

/// Payload bytes of a segment over IPv4 whose packet is no longer than that of [`MIN_DATAGRAM`], less 12 of timestamps.
const SEGMENT: u32 = MIN_DATAGRAM as u32 + 28 - 40 - 12;

/// Listens, without blocking. On an address that is not this host's (yet) nobody is heard until it is; `::` takes IPv4, too.
///
/// # Errors
/// The port is taken; there is no such family.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    bind_early(&socket, address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds, also to an address that this host is yet to get (`IP_FREEBIND`, ip(7)).
pub(crate) fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_unspecified() {
        // An old kernel without the option: then the address must be there.
        let _ = match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true),
            SocketAddr::V6(_) => socket.set_freebind_v6(true),
        };
    }
    socket.bind(&address.into())
}

/// Keeps segments in both directions so short that the narrowest path passes them: the kernel notices late or never that
/// a path shrank whose ICMP messages are filtered. To be called before the socket connects, or on the one that listens,
/// whose connections take it over. `tcp(7)`, `TCP_MAXSEG`.
///
/// # Errors
/// The kernel's.
pub fn limit_segments(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_tcp_mss(SEGMENT)
        .map_err(|e| SysError::new("limit the segments of a TCP socket", e))
}

/// Has the kernel take no more bytes while [`MAX_LINK_UNSENT`] wait to be sent for the first time: on a slow path it would
/// else hold megabytes, which arrive outdated and before any sign of life. Those that are on their way do not count.
/// `TCP_NOTSENT_LOWAT`, Linux 3.12; the kernel's `ip-sysctl` on `tcp_notsent_lowat`.
///
/// # Errors
/// The kernel's.
pub fn limit_unsent(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_tcp_notsent_lowat(MAX_LINK_UNSENT)
        .map_err(|e| SysError::new("limit what waits in a TCP socket", e))
}

/// Tells the other end that nothing more comes, after what was written.
///
/// # Errors
/// The kernel's: the connection has ended.
pub fn finish(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .shutdown(Shutdown::Write)
        .map_err(|e| SysError::new("end a TCP connection", e))
}

/// Has the kernel forget the connection when the socket is closed: nothing that waits is sent, the other end is told by a
/// reset, and no state stays behind. `SO_LINGER` with no time, RFC 9293 section 3.10.5 (ABORT).
///
/// # Errors
/// The kernel's.
pub fn abort_on_close(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_linger(Some(Duration::ZERO))
        .map_err(|e| SysError::new("have a TCP socket reset", e))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_address_may_come_after_the_socket() {
        use crate::testing::{NamedNetns, needs_root};
        if needs_root("an_address_may_come_after_the_socket") {
            return;
        }
        NamedNetns::new().run(|| {
            let ip = |args: &[&str]| {
                assert!(
                    std::process::Command::new("ip")
                        .args(args)
                        .status()
                        .unwrap()
                        .success()
                );
            };
            ip(&["link", "set", "lo", "up"]);
            for address in ["192.0.2.9:6783", "[2001:db8::9]:6783"] {
                let address: SocketAddr = address.parse().unwrap();
                let listener = listen(address).unwrap();
                assert!(TcpStream::connect(address).is_err());
                let bits = if address.is_ipv4() { 32 } else { 128 };
                let with_length = format!("{}/{bits}", address.ip());
                ip(&["addr", "add", &with_length, "dev", "lo", "nodad"]
                    [..5 + usize::from(address.is_ipv6())]);
                let began = std::time::Instant::now();
                // Routes to a new IPv6 address come a moment later.
                while let Err(error) = TcpStream::connect(address) {
                    assert!(began.elapsed().as_secs() < 20, "{error}");
                    std::thread::yield_now();
                }
                assert!(listener.accept().is_ok());
                assert_eq!(
                    listen(address).unwrap_err().kind(),
                    io::ErrorKind::AddrInUse
                );
            }
        });
    }

    fn segment(socket: &impl AsFd) -> u32 {
        SockRef::from(socket).tcp_mss().unwrap()
    }

    #[test]
    fn segments_are_short_on_both_sides_whichever_asks() {
        for (dialler_asks, listener_asks) in [(true, false), (false, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let dialler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if listener_asks {
                limit_segments(&listener).unwrap();
            }
            if dialler_asks {
                limit_segments(&dialler).unwrap();
            }
            let address = listener.local_addr().unwrap();
            dialler.connect(&address.into()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            for side in [&dialler, &accepted.into()] {
                assert!(segment(side) <= SEGMENT, "{}", segment(side));
            }
        }
    }

    #[test]
    fn what_is_aborted_is_reset_and_nothing_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut dialler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        abort_on_close(&accepted).unwrap();
        drop(accepted);
        let error = dialler.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_kernel_holds_little_for_who_does_not_read() {
        let taken = |limited: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_does_not_read, _) = listener.accept().unwrap();
            if limited {
                limit_unsent(&writer).unwrap();
            }
            writer.set_nonblocking(true).unwrap();
            let chunk = [7; 4096];
            core::iter::from_fn(|| writer.write(&chunk).ok()).sum::<usize>()
        };
        let (all, limited) = (taken(false), taken(true));
        println!("{all} bytes, limited {limited}");
        assert!(limited < all / 2);
    }
}
