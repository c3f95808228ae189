//! TCP sockets: listeners and options.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use mesh_proto::limits::{MAX_LINK_UNSENT, MIN_DATAGRAM};
use socket2::{Domain, SockRef, Socket, Type};

use crate::SysError;

/// Connections waiting to be accepted, at most.
const BACKLOG: i32 = 1_024;

/// Payload of a segment over IPv4 whose packet is no longer than that of [`MIN_DATAGRAM`], minus 12 bytes of
/// timestamps.
const SEGMENT: u32 = MIN_DATAGRAM as u32 + 28 - 40 - 12;

/// Opens a non-blocking listener. The address need not be configured yet (`IP_FREEBIND`); `::` accepts IPv4, too.
///
/// # Errors
/// The port is in use; the address family is not supported.
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

/// Binds a socket to an address that may be configured later (`IP_FREEBIND`, ip(7)).
pub(crate) fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_unspecified() {
        // Old kernels lack the option; the address must exist then.
        let _ = match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true),
            SocketAddr::V6(_) => socket.set_freebind_v6(true),
        };
    }
    socket.bind(&address.into())
}

/// Limits segments in both directions to the narrowest path: if ICMP is filtered, the kernel detects late or never
/// that a path MTU shrank. To be called before the socket connects, or on a listener, whose connections inherit it.
/// `tcp(7)`, `TCP_MAXSEG`.
///
/// # Errors
/// The errno of the failed system call.
pub fn limit_segments(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_tcp_mss(SEGMENT)
        .map_err(|e| SysError::new("limit the segments of a TCP socket", e))
}

/// Limits the unsent bytes in the kernel to [`MAX_LINK_UNSENT`]; otherwise it would buffer megabytes on a slow path,
/// which arrive outdated and delay keepalives. Bytes in flight do not count. `TCP_NOTSENT_LOWAT`, Linux 3.12; see
/// `tcp_notsent_lowat` in the kernel's `ip-sysctl`.
///
/// # Errors
/// The errno of the failed system call.
pub fn limit_unsent(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_tcp_notsent_lowat(MAX_LINK_UNSENT)
        .map_err(|e| SysError::new("limit the unsent bytes of a TCP socket", e))
}

/// Closes the sending direction, after the bytes written so far.
///
/// # Errors
/// The errno of the failed system call: the connection has ended.
pub fn finish(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .shutdown(Shutdown::Write)
        .map_err(|e| SysError::new("end a TCP connection", e))
}

/// Makes the kernel abort the connection when the socket is closed: unsent bytes are dropped, the other end gets a
/// reset, and no state remains. `SO_LINGER` with no time, RFC 9293 section 3.10.5 (ABORT).
///
/// # Errors
/// The errno of the failed system call.
pub fn abort_on_close(socket: &impl AsFd) -> Result<(), SysError> {
    SockRef::from(socket)
        .set_linger(Some(Duration::ZERO))
        .map_err(|e| SysError::new("have a TCP socket abort on close", e))
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
                // Routes to a new IPv6 address take a moment to appear.
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
    fn segments_are_short_in_both_directions() {
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
    fn an_aborted_connection_is_reset_and_nothing_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut dialler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        abort_on_close(&accepted).unwrap();
        drop(accepted);
        let error = dialler.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_kernel_buffers_little_for_a_slow_reader() {
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
