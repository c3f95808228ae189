//! UDP socket of the router, read and written in batches.
//!
//! One socket serves both address families if the host has IPv6; IPv4 addresses are passed as IPv4, never in their
//! v4-mapped form. The kernel may fragment: a mesh datagram must arrive over a path with a smaller MTU, too.
//!
//! Datagrams of equal length to one address pass the kernel as one packet, which it or the network card segments
//! (`UDP_SEGMENT`, Linux 4.18) and merges (`UDP_GRO`, Linux 5.0); older kernels get them one by one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::message::PacketInfo;

use crate::SysError;

mod message;
mod receive;
mod send;

pub use mesh_proto::forward::Run;
pub use receive::{MAX_SLOTS, UdpArrival, UdpReceiver};
pub use send::{MAX_SEGMENTS, SendReport, UdpSender};

/// Requested buffer in each direction, in bytes; the kernel may grant less, and doubles it for its overhead. More
/// would only be a queue: at 5 Gbit/s this is a millisecond.
const SOCKET_BUFFER: usize = 512 * 1024;
/// Longest time for which a full send buffer blocks the sender, after which the datagram is dropped.
const SEND_WAIT: Duration = Duration::from_millis(100);

/// Bound UDP socket.
#[derive(Clone, Debug)]
pub struct Udp {
    socket: Arc<Socket>,
    families: Families,
}

/// Address families to which a socket can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    V4,
    V6,
    Both,
}

impl Udp {
    /// Binds to `ip` (`None`: all addresses of both families, or of IPv4 if IPv6 is disabled) and `port` (0: any).
    /// The address need not be configured yet.
    ///
    /// # Errors
    /// EADDRINUSE if the port is taken.
    pub fn bind(ip: Option<IpAddr>, port: u16) -> Result<Self, SysError> {
        let Some(ip) = ip else {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            return match bind_to(any) {
                Err(e) if has_no_ipv6(&e) => Self::bind(Some(Ipv4Addr::UNSPECIFIED.into()), port),
                other => Self::named(other, any),
            };
        };
        let address = SocketAddr::from((ip, port));
        Self::named(bind_to(address), address)
    }

    /// Binds `count` sockets, at least one, to the same address and port. The kernel distributes datagrams by
    /// addresses and ports, so that those of one sender and port always go to the same socket (SO_REUSEPORT,
    /// socket(7)).
    ///
    /// # Errors
    /// Like [`Udp::bind`].
    pub fn bind_group(ip: Option<IpAddr>, port: u16, count: usize) -> Result<Vec<Self>, SysError> {
        if count <= 1 {
            return Ok(vec![Self::bind(ip, port)?]);
        }
        let any = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        let ips = ip.map_or(any.to_vec(), |ip| vec![ip]);
        let mut result = Ok(Vec::new());
        for ip in ips {
            let address = SocketAddr::from((ip, port));
            let group = group(address, count);
            let next = group.as_ref().is_err_and(has_no_ipv6);
            result = group.map_err(|e| SysError::new(format!("bind UDP {address}"), e));
            if !next {
                break;
            }
        }
        result
    }

    fn named(bound: io::Result<Self>, address: SocketAddr) -> Result<Self, SysError> {
        bound.map_err(|e| SysError::new(format!("bind UDP {address}"), e))
    }

    /// Returns the local port.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn local_port(&self) -> Result<u16, SysError> {
        let address = self
            .socket
            .local_addr()
            .map_err(|e| SysError::new("read the address of a UDP socket", e))?;
        Ok(address.as_socket().map_or(0, |a| a.port()))
    }

    /// Creates a receiver of up to `slots` packets of up to 64 KiB per system call, 1 to [`MAX_SLOTS`]. At most one
    /// per socket, because the time-out is a property of the socket. From now on the kernel may merge datagrams of
    /// one sender.
    pub fn receiver(&self, slots: usize) -> UdpReceiver {
        UdpReceiver::new(self.clone(), slots)
    }

    /// Creates a sender of batches; one per thread.
    pub fn sender(&self) -> UdpSender {
        UdpSender::new(self.clone())
    }

    /// Sends one datagram without waiting. Returns false if the kernel did not accept it, which for UDP equals a
    /// loss.
    pub fn send_to(&self, to: SocketAddr, datagram: &[u8]) -> bool {
        self.to_kernel(to).is_some_and(|to| {
            let flags = libc::MSG_DONTWAIT;
            self.socket.send_to_with_flags(datagram, &to, flags).is_ok()
        })
    }

    /// Sets the Don't Fragment flag of datagrams (IPv6: no fragmentation here), as a path MTU probe needs; initially
    /// it is off. When on, the path MTU cached by the kernel is ignored, and only datagrams longer than the MTU of
    /// the outgoing interface are refused. The kernel has no such option per message, so it holds for the datagrams
    /// of all threads until it is changed. Segments have the flag, too, and are refused like single datagrams; when
    /// off, the kernel does not segment a run whose datagrams exceed the path MTU ([`SendReport::singly`]).
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_dont_fragment(&self, on: bool) -> Result<(), SysError> {
        // The values are the same for both families.
        let value = if on {
            libc::IP_PMTUDISC_PROBE
        } else {
            libc::IP_PMTUDISC_DONT
        };
        set_mtu_discovery(&self.socket, self.families, value)
            .map_err(|e| SysError::new("set the Don't Fragment flag of the UDP socket", e))
    }

    /// Returns the socket, for an event loop.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&*self.socket)
    }

    fn raw(&self) -> libc::c_int {
        self.socket.as_raw_fd()
    }

    /// Enables metadata with local address and interface for each datagram. If the kernel does not support it,
    /// answers leave from the address chosen by its routes.
    fn ask_for_arrivals(&self) {
        let _ = match self.families {
            Families::V4 => set_option(&self.socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            Families::V6 | Families::Both => {
                let name = libc::IPV6_RECVPKTINFO;
                set_option(&self.socket, libc::IPPROTO_IPV6, name, 1)
            }
        };
    }

    /// Returns the source address in the form of the socket's family; `None` if it cannot be used for packets to
    /// `to`.
    fn source(&self, local: IpAddr, to: SocketAddr) -> Option<PacketInfo> {
        match (local.to_canonical(), to.ip().to_canonical(), self.families) {
            (IpAddr::V4(ip), IpAddr::V4(_), Families::V4) => Some(PacketInfo::v4(ip)),
            (IpAddr::V4(ip), IpAddr::V4(_), Families::Both) => {
                Some(PacketInfo::v6(ip.to_ipv6_mapped()))
            }
            (IpAddr::V6(ip), IpAddr::V6(_), Families::V6 | Families::Both) => {
                Some(PacketInfo::v6(ip))
            }
            _ => None,
        }
    }

    /// Returns the address in the form of the socket's family; `None` if the socket cannot reach it.
    fn to_kernel(&self, to: SocketAddr) -> Option<SockAddr> {
        match (normalise(to), self.families) {
            (SocketAddr::V4(v4), Families::Both) => {
                let mapped = v4.ip().to_ipv6_mapped();
                Some(SocketAddr::from((mapped, v4.port())).into())
            }
            (v4 @ SocketAddr::V4(_), Families::V4) => Some(v4.into()),
            (v6 @ SocketAddr::V6(_), Families::V6 | Families::Both) => Some(v6.into()),
            (SocketAddr::V4(_), Families::V6) | (SocketAddr::V6(_), Families::V4) => None,
        }
    }
}

/// Returns the address, converted to IPv4 if it is v4-mapped.
pub fn normalise(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPROTONOSUPPORT)
    )
}

fn group(mut address: SocketAddr, count: usize) -> io::Result<Vec<Udp>> {
    let mut sockets: Vec<Udp> = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bind_as(address, true)?;
        let bound = socket.socket.local_addr()?.as_socket();
        address.set_port(bound.map_or(address.port(), |a| a.port()));
        sockets.push(socket);
    }
    Ok(sockets)
}

fn bind_to(address: SocketAddr) -> io::Result<Udp> {
    bind_as(address, false)
}

fn bind_as(address: SocketAddr, shared: bool) -> io::Result<Udp> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    let families = match address.ip() {
        IpAddr::V4(_) => Families::V4,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Families::Both,
        IpAddr::V6(_) => Families::V6,
    };
    if families != Families::V4 {
        socket.set_only_v6(families == Families::V6)?;
    }
    set_mtu_discovery(&socket, families, libc::IP_PMTUDISC_DONT)?;
    enlarge(&socket);
    socket.set_write_timeout(Some(SEND_WAIT))?;
    socket.set_reuse_port(shared)?;
    crate::socket::tcp::bind_early(&socket, address)?;
    Ok(Udp {
        socket: Arc::new(socket),
        families,
    })
}

fn set_mtu_discovery(socket: &Socket, families: Families, value: libc::c_int) -> io::Result<()> {
    if families != Families::V4 {
        let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
        set_option(socket, level, name, value)?;
    }
    if families != Families::V6 {
        let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
        set_option(socket, level, name, value)?;
    }
    Ok(())
}

fn enlarge(socket: &Socket) {
    let size = libc::c_int::try_from(SOCKET_BUFFER).unwrap_or(libc::c_int::MAX);
    // With CAP_NET_ADMIN beyond the system's limit, otherwise up to it. Small buffers only cost speed.
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size).is_err() {
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    }
    if set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size).is_err() {
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    }
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe one initialised integer that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests;
