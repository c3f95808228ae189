//! The DNS server: sockets around [`mesh_proto::names::answer`], and a forwarder for names outside the mesh.
//!
//! It has its own thread, so that a container that sends many queries does not delay the control plane. The thread owns
//! the view of all names and receives updates ([`Told`]).

mod counters;
mod forward;
mod framing;
mod places;
mod spots;
mod tcp;
mod told;
mod udp;
mod upstreams;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use mesh_proto::limits::{
    MAX_DNS_COMMANDS, MAX_DNS_CONNECTIONS, MAX_DNS_CONNECTIONS_PER_SOURCE, MAX_DNS_FORWARDS,
    MAX_DNS_FORWARDS_PER_SOURCE,
};
use mesh_proto::names::{AnswerSettings, Forwarded, Names, QueryOutcome, QueryTransport, answer};
use mesh_sys::netns::NetnsId;
use tokio::sync::mpsc;

use crate::clock::{Clock, OsEntropy};
use counters::Counters;
use places::Places;
use spots::{Client, Listening, Opened, Spot, open};

pub use counters::Counts;
pub use spots::Within;
pub use told::{Own, Shown, Told};
pub use upstreams::{Upstreams, read_resolv_conf};

/// Configuration of a server.
pub struct Config {
    /// Names known at the start.
    pub names: Names,
    /// Domain and TTL.
    pub settings: AnswerSettings,
    /// Decides which source addresses are answered: containers of this host, and the host.
    pub clients: Clients,
    /// Servers for other names.
    pub upstreams: Upstreams,
    /// Clock of the router.
    pub clock: Clock,
}

/// Predicate on the source address of a client: true if it is answered.
pub type Clients = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

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
    /// True if the host does not have the address at this moment.
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
    shared: Arc<Shared>,
    /// New sockets for the thread; closed to end it.
    sockets: Option<mpsc::UnboundedSender<Opened>>,
    told: mpsc::Sender<Told>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by the tasks of the server.
struct Shared {
    /// Locked only by tasks of the server's thread, of which one runs at a time.
    names: RwLock<Names>,
    settings: AnswerSettings,
    clients: Clients,
    upstreams: Upstreams,
    clock: Clock,
    counters: Counters,
    listening: Mutex<BTreeMap<Spot, Listening>>,
    forwards: Arc<Places>,
    connections: Arc<Places>,
}

impl Dns {
    /// Starts the thread. It does not listen yet.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(config: Config) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            names: RwLock::new(config.names),
            settings: config.settings,
            clients: config.clients,
            upstreams: config.upstreams,
            clock: config.clock,
            counters: Counters::default(),
            listening: Mutex::default(),
            forwards: Places::new(MAX_DNS_FORWARDS, MAX_DNS_FORWARDS_PER_SOURCE),
            connections: Places::new(MAX_DNS_CONNECTIONS, MAX_DNS_CONNECTIONS_PER_SOURCE),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (sockets, opened) = mpsc::unbounded_channel();
        let (told, news) = mpsc::channel(MAX_DNS_COMMANDS);
        let server = shared.clone();
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            .spawn(move || runtime.block_on(run(server, opened, news)))?;
        Ok(Self {
            shared,
            sockets: Some(sockets),
            told,
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
        listening.retain(|spot, old| {
            let stays = match spot {
                Spot::Host(address) => wanted.contains(address),
                Spot::Inside(_) => true,
            };
            if !stays {
                old.end();
            }
            stays
        });
        let mut errors = Vec::new();
        for address in wanted {
            if listening.contains_key(&Spot::Host(*address)) {
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

    /// Answers all queries on these non-blocking sockets in a network namespace, until [`Dns::leave`]. Names outside
    /// the mesh are forwarded to `within` first, if given.
    ///
    /// # Errors
    /// The sockets are no longer valid.
    pub fn serve_inside(
        &self,
        netns: NetnsId,
        udp: UdpSocket,
        tcp: TcpListener,
        within: Option<Within>,
    ) -> io::Result<()> {
        let address = udp.local_addr()?;
        let spot = Spot::Inside(netns);
        let mut listening = self.shared.listening();
        if let Some(old) = listening.remove(&spot) {
            old.end();
        }
        self.begin(&mut listening, Opened { spot, udp, tcp }, address);
        if let Some(begun) = listening.get_mut(&spot) {
            begun.within = within;
        }
        Ok(())
    }

    /// True if the server answers in the namespace, or is about to.
    pub fn is_inside(&self, netns: NetnsId) -> bool {
        let listening = self.shared.listening();
        listening.contains_key(&Spot::Inside(netns))
    }

    /// Closes the sockets in a namespace, and aborts its pending queries.
    pub fn leave(&self, netns: NetnsId) {
        if let Some(old) = self.shared.listening().remove(&Spot::Inside(netns)) {
            old.end();
        }
    }

    fn begin(
        &self,
        listening: &mut BTreeMap<Spot, Listening>,
        opened: Opened,
        address: SocketAddr,
    ) {
        listening.insert(opened.spot, Listening::new(address));
        let sent = self.sockets.as_ref().map(|s| s.send(opened));
        debug_assert!(matches!(sent, Some(Ok(()))), "the thread ends last");
    }

    /// Returns a sender for updates of names.
    pub fn told(&self) -> mpsc::Sender<Told> {
        self.told.clone()
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
    pub fn counts(&self) -> Counts {
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
    shared: Arc<Shared>,
    mut opened: mpsc::UnboundedReceiver<Opened>,
    news: mpsc::Receiver<Told>,
) {
    tokio::spawn(told::learn(shared.clone(), news));
    while let Some(opened) = opened.recv().await {
        let spot = opened.spot;
        if let Err(source) = serve(&shared, opened)
            && let Some(Listening { address, .. }) = shared.listening().remove(&spot)
        {
            tracing::error!("{}", ListenError { address, source });
        }
    }
}

/// Starts to answer on new sockets, unless they are no longer wanted.
fn serve(shared: &Arc<Shared>, opened: Opened) -> io::Result<()> {
    let udp = tokio::net::UdpSocket::from_std(opened.udp)?;
    let tcp = tokio::net::TcpListener::from_std(opened.tcp)?;
    let mut listening = shared.listening();
    if let Some(entry) = listening.get_mut(&opened.spot) {
        let udp = tokio::spawn(udp::serve(udp, opened.spot, shared.clone()));
        let tcp = tokio::spawn(tcp::serve(tcp, opened.spot, shared.clone()));
        entry.tasks = vec![udp.abort_handle(), tcp.abort_handle()];
    }
    Ok(())
}

impl Shared {
    /// Writes the answer to a query into `out`, or returns how else to handle it.
    fn answer(&self, query: &[u8], transport: QueryTransport, out: &mut Vec<u8>) -> QueryOutcome {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        answer(
            query,
            transport,
            &names,
            &self.settings,
            self.clock.now(),
            &mut OsEntropy,
            out,
        )
    }

    /// Returns the client for a source address; `None` if it is not served.
    fn client(&self, spot: Spot, from: SocketAddr) -> Option<Client> {
        match spot {
            Spot::Inside(netns) => Some(Client::Inside(netns)),
            Spot::Host(_) => {
                let ip = from.ip().to_canonical();
                (self.clients)(ip).then_some(Client::Address(ip))
            }
        }
    }

    fn listening(&self) -> std::sync::MutexGuard<'_, BTreeMap<Spot, Listening>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the upstream servers, without this server itself.
    fn upstreams(&self) -> Vec<SocketAddr> {
        let mut servers = self.upstreams.now();
        let listening = self.listening();
        servers.retain(|server| !on_host(&listening).any(|l| l.address == *server));
        servers
    }

    /// Returns the servers for names outside the mesh for queries received at `spot`, in order.
    fn servers(&self, spot: Spot) -> Vec<forward::Server> {
        let within = self.listening().get(&spot).and_then(|l| l.within.clone());
        let within = within.map(forward::Server::Within);
        let upstreams = self.upstreams().into_iter().map(forward::Server::Host);
        within.into_iter().chain(upstreams).collect()
    }

    /// True if the answer contains the mesh address of a container on this host.
    fn leads_here(&self, answer: &[u8]) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        Forwarded::leads_to(answer, |ip| names.is_here(ip))
    }

    /// True if a query to `server` from `local` would come back here: a local address and a port we listen on.
    fn is_ours(&self, server: SocketAddr, local: IpAddr) -> bool {
        let at = |l: &Listening| l.address.ip() == server.ip() || l.address.ip().is_unspecified();
        let is_port = |l: &Listening| l.address.port() == server.port();
        let listening = self.listening();
        local == server.ip() && on_host(&listening).any(|l| at(l) && is_port(l))
    }
}

/// Returns the listeners on host addresses. Equal addresses in namespaces are different ones.
fn on_host(all: &BTreeMap<Spot, Listening>) -> impl Iterator<Item = &Listening> {
    let here = all.iter().filter(|(spot, _)| matches!(spot, Spot::Host(_)));
    here.map(|(_, listening)| listening)
}
