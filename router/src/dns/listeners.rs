//! Listening addresses of the server, and the client identity that follows from them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mesh_names::AskerNetworks;
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

/// Client of a query, and its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskingClient {
    pub(super) key: ClientKey,
    /// Networks that it is in at this moment.
    pub(super) networks: AskerNetworks,
}

/// Listener, as its tasks know it.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) key: ListenerKey,
    /// Networks of the container in whose namespace it is; those of clients of the host are told by their addresses.
    pub(super) networks: Arc<ArcSwap<AskerNetworks>>,
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
    /// Networks of the container in whose namespace it is; its tasks read them at each query.
    pub(super) networks: Arc<ArcSwap<AskerNetworks>>,
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
            networks: Arc::default(),
        }
    }

    pub(super) fn set_networks(&self, networks: &AskerNetworks) {
        if **self.networks.load() != *networks {
            self.networks.store(Arc::new(networks.clone()));
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
