//! Listening addresses of the server, and the client identity that follows from them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::resolver::Resolver;
use mesh_sys::socket::bind_both;
use tokio::task::AbortHandle;

/// Key of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListenerKey {
    /// Address of this host, as requested.
    Host(SocketAddr),
    /// Network namespace of a container. All queries in it are answered.
    Inside(NetnsId),
}

/// Client, as the key of per-client limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClientKey {
    /// Client with this address.
    Address(IpAddr),
    /// Any client in this namespace.
    Inside(NetnsId),
}

/// State of a listener.
pub(super) struct ListenerState {
    /// Actual address; it differs from the requested one if the system chose the port.
    pub(super) address: SocketAddr,
    /// Tasks to abort; empty until the thread has started them.
    pub(super) tasks: Vec<AbortHandle>,
    /// Resolver in the same namespace that is queried first for names outside the mesh.
    pub(super) embedded: Option<EmbeddedResolver>,
}

/// Resolver in the network namespace of a container, which knows more names than the host's servers.
#[derive(Clone, Debug)]
pub struct EmbeddedResolver {
    /// Namespace to enter.
    pub netns: Arc<Netns>,
    /// Socket addresses of the resolver in the namespace.
    pub sockets: Resolver,
}

/// Sockets of one listener, on their way to the thread.
pub(super) struct ListenerSockets {
    pub(super) key: ListenerKey,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

impl ListenerState {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tasks: Vec::new(),
            embedded: None,
        }
    }

    pub(super) fn end(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Opens both sockets on an address of this host; returns them with the actual address.
pub(super) fn open(wanted: SocketAddr) -> io::Result<(ListenerSockets, SocketAddr)> {
    let (udp, tcp) = bind_both(wanted)?;
    let truth = udp.local_addr()?;
    let key = ListenerKey::Host(wanted);
    Ok((ListenerSockets { key, udp, tcp }, truth))
}
