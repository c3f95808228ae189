//! Where the server listens, and whom it takes a client for because of that.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::resolver::Resolver;
use tokio::task::AbortHandle;

/// A place to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// The address of this host that was asked for.
    Host(SocketAddr),
    /// Within the network namespace of a container, of which everybody is served.
    Inside(NetnsId),
}

/// Who asks, as far as bounds for each client go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// Somebody with this address.
    Address(IpAddr),
    /// Somebody in this namespace.
    Inside(NetnsId),
}

/// What is kept of a spot.
pub(super) struct Listening {
    /// Where it listens in truth, if the system chose the port.
    pub(super) address: SocketAddr,
    /// How to end that; empty until the thread has begun.
    pub(super) tasks: Vec<AbortHandle>,
    /// Who is asked first there for what is not of the mesh.
    pub(super) within: Option<Within>,
}

/// A resolver within the namespace of a container, which knows more than the servers of the host.
#[derive(Clone, Debug)]
pub struct Within {
    /// The namespace.
    pub netns: Arc<Netns>,
    /// Its sockets there.
    pub resolver: Resolver,
}

/// Sockets of one spot on their way to the thread.
pub(super) struct Opened {
    pub(super) spot: Spot,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

impl Listening {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tasks: Vec::new(),
            within: None,
        }
    }

    pub(super) fn end(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Both sockets of an address of this host, and the address with its port.
pub(super) fn open(wanted: SocketAddr) -> io::Result<(Opened, SocketAddr)> {
    let udp = UdpSocket::bind(wanted)?;
    let truth = udp.local_addr()?;
    let tcp = TcpListener::bind(truth)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let spot = Spot::Host(wanted);
    Ok((Opened { spot, udp, tcp }, truth))
}
