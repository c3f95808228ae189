//! The DNS server: sockets around [`mesh_names::answer`], and a forwarder for names outside the mesh.
//!
//! It has its own thread, so that a container that sends many queries does not delay the control plane. The thread owns
//! the view of all names and receives updates ([`DnsCommand`]).

mod command;
mod forward;
mod framing;
mod listeners;
mod tcp;
mod udp;
mod upstreams;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use mesh_dns::server::counters::{DnsCounters, DnsCounts};
use mesh_dns::server::forwarding::Attempts;
use mesh_dns::server::permits::Permits;
use mesh_names::{AnswerSettings, Asker, AskerNetworks, Forwarded, Names, QueryOutcome, answer};
use mesh_proto::limits::{
    MAX_DNS_COMMANDS, MAX_DNS_CONNECTIONS, MAX_DNS_CONNECTIONS_PER_SOURCE, MAX_DNS_FORWARDS,
    MAX_DNS_FORWARDS_PER_SOURCE,
};
use mesh_sys::netns::NetnsId;
use tokio::sync::mpsc;

use crate::clock::{Clock, OsEntropy};
use forward::UpstreamServer;
use listeners::{
    AskingClient, ClientKey, Listener, ListenerKey, ListenerSockets, ListenerState, open,
};

pub use command::DnsCommand;
pub use listeners::EmbeddedResolver;
pub use upstreams::{UpstreamSource, read_resolv_conf};

/// Configuration of a server.
pub struct DnsConfig {
    /// Names known at the start.
    pub names: Names,
    /// Domain and TTL.
    pub settings: AnswerSettings,
    /// Decides which source addresses are answered, and about which networks: containers of this host, and the host.
    pub clients: ClientFilter,
    /// Servers for other names.
    pub upstreams: UpstreamSource,
    /// Decides which addresses of networks Docker's Swarm gives.
    pub swarm: SwarmFilter,
    /// Clock of the router.
    pub clock: Clock,
}

/// True for an address that Docker's Swarm gives in one of these networks.
pub type SwarmFilter = Arc<dyn Fn(&AskerNetworks, IpAddr) -> bool + Send + Sync>;

/// Networks of the client with a source address; `None` if it is not answered.
pub type ClientFilter = Arc<dyn Fn(IpAddr) -> Option<AskerNetworks> + Send + Sync>;

/// Failure to listen on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer DNS queries on {address}: {}{}", .source, hint(.source))]
pub struct ListenError {
    /// Address that failed.
    pub address: SocketAddr,
    /// Error of the system.
    pub source: io::Error,
}

impl ListenError {
    /// Returns true if the host does not have the address at this moment.
    pub fn is_absent(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrNotAvailable
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another DNS server has it: choose another address (--dns-listen), or do without (--no-dns)"
        }
        io::ErrorKind::AddrNotAvailable => "; that is no address of this host (--dns-listen)",
        _ => "",
    }
}

/// A running server. It ends on drop.
pub struct Dns {
    shared: Arc<ServerState>,
    /// New sockets for the thread; closed to end it.
    sockets: Option<mpsc::UnboundedSender<ListenerSockets>>,
    commands: mpsc::Sender<DnsCommand>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by the tasks of the server.
struct ServerState {
    /// Locked only by tasks of the server's thread, of which one runs at a time.
    names: RwLock<Names>,
    settings: AnswerSettings,
    clients: ClientFilter,
    upstreams: UpstreamSource,
    swarm: SwarmFilter,
    clock: Clock,
    counters: DnsCounters,
    listening: Mutex<BTreeMap<ListenerKey, ListenerState>>,
    forwards: Arc<Permits<ClientKey>>,
    connections: Arc<Permits<ClientKey>>,
}

impl Dns {
    /// Starts the thread. It does not listen yet.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(config: DnsConfig) -> io::Result<Self> {
        let shared = Arc::new(ServerState {
            names: RwLock::new(config.names),
            settings: config.settings,
            clients: config.clients,
            upstreams: config.upstreams,
            swarm: config.swarm,
            clock: config.clock,
            counters: DnsCounters::default(),
            listening: Mutex::default(),
            forwards: Permits::new(MAX_DNS_FORWARDS, MAX_DNS_FORWARDS_PER_SOURCE),
            connections: Permits::new(MAX_DNS_CONNECTIONS, MAX_DNS_CONNECTIONS_PER_SOURCE),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (sockets, opened) = mpsc::unbounded_channel();
        let (commands, received) = mpsc::channel(MAX_DNS_COMMANDS);
        let server = shared.clone();
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            .spawn(move || runtime.block_on(run(server, opened, received)))?;
        Ok(Self {
            shared,
            sockets: Some(sockets),
            commands,
            thread: Some(thread),
        })
    }

    /// Listens on exactly these addresses of the host, UDP and TCP. Unchanged addresses stay open throughout. With port
    /// 0 the system chooses a port, see [`Dns::listening`].
    ///
    /// Pass addresses of interfaces, not unspecified ones: replies would leave from the address that the system
    /// prefers.
    pub fn listen(&self, wanted: &[SocketAddr]) -> Vec<ListenError> {
        let mut listening = self.shared.listening();
        listening.retain(|key, old| {
            let stays = match key {
                ListenerKey::Host(address) => wanted.contains(address),
                ListenerKey::Inside(_) => true,
            };
            if !stays {
                old.end();
            }
            stays
        });
        let mut errors = Vec::new();
        for address in wanted {
            if listening.contains_key(&ListenerKey::Host(*address)) {
                continue;
            }
            match open(*address) {
                Ok((opened, truth)) => self.begin(&mut listening, opened, truth),
                Err(source) => errors.push(ListenError {
                    address: *address,
                    source,
                }),
            }
        }
        errors
    }

    /// Answers all queries on these non-blocking sockets in the network namespace of a container that is in `networks`,
    /// until [`Dns::leave`]. Names outside the mesh are forwarded to `embedded` first, if given.
    ///
    /// # Errors
    /// The sockets are no longer valid.
    pub fn serve_inside(
        &self,
        netns: NetnsId,
        udp: UdpSocket,
        tcp: TcpListener,
        networks: &AskerNetworks,
        embedded: Option<EmbeddedResolver>,
    ) -> io::Result<()> {
        let address = udp.local_addr()?;
        let key = ListenerKey::Inside(netns);
        let mut listening = self.shared.listening();
        if let Some(old) = listening.remove(&key) {
            old.end();
        }
        self.begin(&mut listening, ListenerSockets { key, udp, tcp }, address);
        if let Some(begun) = listening.get_mut(&key) {
            begun.embedded = embedded;
            begun.set_networks(networks);
        }
        Ok(())
    }

    /// Replaces the networks of the container in a namespace; its next query is answered about those, also on a
    /// connection that it has.
    pub fn set_networks(&self, netns: NetnsId, networks: &AskerNetworks) {
        let listening = self.shared.listening();
        if let Some(inside) = listening.get(&ListenerKey::Inside(netns)) {
            inside.set_networks(networks);
        }
    }

    /// Returns true if the server answers in the namespace, or is about to.
    pub fn is_inside(&self, netns: NetnsId) -> bool {
        let listening = self.shared.listening();
        listening.contains_key(&ListenerKey::Inside(netns))
    }

    /// Closes the sockets in a namespace, and aborts its pending queries.
    pub fn leave(&self, netns: NetnsId) {
        if let Some(old) = self.shared.listening().remove(&ListenerKey::Inside(netns)) {
            old.end();
        }
    }

    fn begin(
        &self,
        listening: &mut BTreeMap<ListenerKey, ListenerState>,
        opened: ListenerSockets,
        address: SocketAddr,
    ) {
        listening.insert(opened.key, ListenerState::new(address));
        let sent = self.sockets.as_ref().map(|s| s.send(opened));
        debug_assert!(matches!(sent, Some(Ok(()))), "the thread ends last");
    }

    /// Returns a sender of commands about names.
    pub fn commands(&self) -> mpsc::Sender<DnsCommand> {
        self.commands.clone()
    }

    /// Returns the host's addresses that the server listens on.
    pub fn listening(&self) -> Vec<SocketAddr> {
        let listening = self.shared.listening();
        on_host(&listening).map(|l| l.address).collect()
    }

    /// Returns the upstream servers for names outside the mesh, in order.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.shared.upstreams()
    }

    /// Returns the counters since the start.
    pub fn counts(&self) -> DnsCounts {
        self.shared.counters.read()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.sockets = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the DNS server ended by itself");
        }
    }
}

async fn run(
    shared: Arc<ServerState>,
    mut opened: mpsc::UnboundedReceiver<ListenerSockets>,
    commands: mpsc::Receiver<DnsCommand>,
) {
    tokio::spawn(command::process(shared.clone(), commands));
    while let Some(opened) = opened.recv().await {
        let key = opened.key;
        if let Err(source) = serve(&shared, opened)
            && let Some(ListenerState { address, .. }) = shared.listening().remove(&key)
        {
            tracing::error!("{}", ListenError { address, source });
        }
    }
}

/// Starts to answer on new sockets, unless they are no longer wanted.
fn serve(shared: &Arc<ServerState>, opened: ListenerSockets) -> io::Result<()> {
    let udp = tokio::net::UdpSocket::from_std(opened.udp)?;
    let tcp = tokio::net::TcpListener::from_std(opened.tcp)?;
    let mut listening = shared.listening();
    if let Some(entry) = listening.get_mut(&opened.key) {
        let listener = Listener {
            key: opened.key,
            networks: entry.networks.clone(),
        };
        let udp = tokio::spawn(udp::serve(udp, listener.clone(), shared.clone()));
        let tcp = tokio::spawn(tcp::serve(tcp, listener, shared.clone()));
        entry.tasks = vec![udp.abort_handle(), tcp.abort_handle()];
    }
    Ok(())
}

impl ServerState {
    /// Writes the answer to a query into `out`, or returns how else to handle it.
    fn answer(&self, query: &[u8], asker: Asker<'_>, out: &mut Vec<u8>) -> QueryOutcome {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        answer(
            query,
            asker,
            &names,
            &self.settings,
            self.clock.now(),
            &mut OsEntropy,
            out,
        )
    }

    /// Returns the client for a source address; `None` if it is not served.
    fn client(&self, listener: &Listener, from: SocketAddr) -> Option<AskingClient> {
        match listener.key {
            ListenerKey::Inside(netns) => Some(AskingClient {
                key: ClientKey::Inside(netns),
                networks: AskerNetworks::clone(&listener.networks.load()),
            }),
            ListenerKey::Host(_) => {
                let ip = from.ip().to_canonical();
                (self.clients)(ip).map(|networks| AskingClient {
                    key: ClientKey::Address(ip),
                    networks,
                })
            }
        }
    }

    fn listening(&self) -> std::sync::MutexGuard<'_, BTreeMap<ListenerKey, ListenerState>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the upstream servers, without this server itself.
    fn upstreams(&self) -> Vec<SocketAddr> {
        let mut servers = self.upstreams.servers(self.clock.now());
        let listening = self.listening();
        servers.retain(|server| !on_host(&listening).any(|l| l.address == *server));
        servers
    }

    /// Returns the attempts at servers for names outside the mesh, for queries received at `key`.
    fn attempts(&self, key: ListenerKey) -> Attempts<UpstreamServer> {
        let embedded = self.listening().get(&key).and_then(|l| l.embedded.clone());
        let upstreams = self.upstreams().into_iter().map(UpstreamServer::Host);
        let upstreams: Vec<UpstreamServer> = upstreams.collect();
        Attempts::new(embedded.map(UpstreamServer::Embedded), &upstreams)
    }

    /// Returns true if the answer contains the address of a container on this host in one of these networks.
    fn leads_here(&self, answer: &[u8], networks: &AskerNetworks) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        Forwarded::leads_to(answer, |ip| names.is_here(networks, ip))
    }

    /// Returns true if the answer contains an address that Swarm gives in one of these networks.
    fn leads_to_swarm(&self, answer: &[u8], networks: &AskerNetworks) -> bool {
        Forwarded::leads_to(answer, |ip| (self.swarm)(networks, ip))
    }

    /// Returns the addresses of an answer that containers have now.
    fn alive(&self, answer: &[u8], networks: &AskerNetworks) -> Vec<Ipv4Addr> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.alive(networks, answer, &mut OsEntropy)
    }

    /// Returns true if a query to `server` from `local` would come back here: a local address and a port we listen on.
    fn is_ours(&self, server: SocketAddr, local: IpAddr) -> bool {
        let at =
            |l: &ListenerState| l.address.ip() == server.ip() || l.address.ip().is_unspecified();
        let is_port = |l: &ListenerState| l.address.port() == server.port();
        let listening = self.listening();
        local == server.ip() && on_host(&listening).any(|l| at(l) && is_port(l))
    }
}

/// Returns the listeners on host addresses. Equal addresses in namespaces are different ones.
fn on_host(all: &BTreeMap<ListenerKey, ListenerState>) -> impl Iterator<Item = &ListenerState> {
    let here = all
        .iter()
        .filter(|(key, _)| matches!(key, ListenerKey::Host(_)));
    here.map(|(_, listening)| listening)
}

#[cfg(test)]
mod tests;
