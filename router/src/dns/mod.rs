//! The DNS server: sockets around [`mesh_proto::names::answer`], and a forwarder for what is not of the mesh.
//!
//! It has a thread of its own, so that a container that asks without end does not hold up the control plane, and the
//! view of all names is that thread's: it is told what changed ([`Told`]), and nobody else touches it.

mod counters;
mod forward;
mod places;
mod tcp;
mod told;
mod udp;
mod upstreams;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use mesh_proto::limits::{
    MAX_DNS_CONNECTIONS, MAX_DNS_CONNECTIONS_PER_SOURCE, MAX_DNS_FORWARDS,
    MAX_DNS_FORWARDS_PER_SOURCE, MAX_DNS_TOLD,
};
use mesh_proto::names::{Names, Settings, Verdict, Way, answer};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::clock::{Clock, OsEntropy};
use counters::Counters;
use places::Places;

pub use counters::Counts;
pub use told::{Shown, Told};
pub use upstreams::Upstreams;

/// What a server is started with.
pub struct Config {
    /// The names known at the start.
    pub names: Names,
    /// Domain and time to live.
    pub settings: Settings,
    /// Whether somebody with this address is answered: containers of this host, and the host.
    pub clients: Clients,
    /// Who is asked for the rest.
    pub upstreams: Upstreams,
    /// Time.
    pub clock: Clock,
}

/// Says who is answered.
pub type Clients = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Why an address is not listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer DNS queries on {address}: {}{}", .source, hint(.source))]
pub struct ListenError {
    /// Which one.
    pub address: SocketAddr,
    /// The system's reason.
    pub source: io::Error,
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

/// A running server; it ends when this is dropped.
pub struct Dns {
    shared: Arc<Shared>,
    /// Sockets for the thread; closed to end it.
    sockets: Option<mpsc::UnboundedSender<Opened>>,
    told: mpsc::Sender<Told>,
    thread: Option<JoinHandle<()>>,
}

/// What the tasks of the server share.
struct Shared {
    /// Locked by tasks of the thread only, of which one runs at a time.
    names: RwLock<Names>,
    settings: Settings,
    clients: Clients,
    upstreams: Upstreams,
    clock: Clock,
    counters: Counters,
    /// By the address that was asked for: where it listens in truth, and how to end that.
    listening: Mutex<BTreeMap<SocketAddr, Listening>>,
    forwards: Arc<Places>,
    connections: Arc<Places>,
}

struct Listening {
    address: SocketAddr,
    tasks: Vec<AbortHandle>,
}

/// Sockets of one address on their way to the thread.
struct Opened {
    wanted: SocketAddr,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Dns {
    /// Starts the thread, which listens nowhere yet.
    ///
    /// # Errors
    /// When there can be no thread.
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
        let (told, news) = mpsc::channel(MAX_DNS_TOLD);
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

    /// Listens on these addresses, UDP and TCP, and on no others. What was listened on before stays open meanwhile. With port 0
    /// the system chooses one, see [`Dns::listening`].
    ///
    /// Give addresses of interfaces, not unspecified ones: answers leave from the address the system prefers.
    pub fn listen(&self, wanted: &[SocketAddr]) -> Vec<ListenError> {
        let mut listening = self.shared.listening();
        listening.retain(|address, old| {
            let stays = wanted.contains(address);
            if !stays {
                old.tasks.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        let mut errors = Vec::new();
        for address in wanted {
            if listening.contains_key(address) {
                continue;
            }
            match open(*address) {
                Ok((opened, truth)) => {
                    let entry = Listening {
                        address: truth,
                        tasks: Vec::new(),
                    };
                    listening.insert(*address, entry);
                    let sent = self.sockets.as_ref().map(|s| s.send(opened));
                    debug_assert!(matches!(sent, Some(Ok(()))), "the thread ends last");
                }
                Err(source) => errors.push(ListenError {
                    address: *address,
                    source,
                }),
            }
        }
        errors
    }

    /// Where news of names are told.
    pub fn told(&self) -> mpsc::Sender<Told> {
        self.told.clone()
    }

    /// Where queries are answered.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.shared
            .listening()
            .values()
            .map(|l| l.address)
            .collect()
    }

    /// Who is asked for what is not of the mesh, in order.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.shared.upstreams()
    }

    /// What happened since the start.
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

/// Both sockets of an address, and the address with its port.
fn open(wanted: SocketAddr) -> io::Result<(Opened, SocketAddr)> {
    let udp = std::net::UdpSocket::bind(wanted)?;
    let truth = udp.local_addr()?;
    let tcp = std::net::TcpListener::bind(truth)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((Opened { wanted, udp, tcp }, truth))
}

async fn run(
    shared: Arc<Shared>,
    mut opened: mpsc::UnboundedReceiver<Opened>,
    news: mpsc::Receiver<Told>,
) {
    tokio::spawn(told::learn(shared.clone(), news));
    while let Some(opened) = opened.recv().await {
        let wanted = opened.wanted;
        if let Err(source) = serve(&shared, opened) {
            let address = wanted;
            tracing::error!("{}", ListenError { address, source });
            shared.listening().remove(&wanted);
        }
    }
}

/// Begins to answer on an address, if that is still wanted.
fn serve(shared: &Arc<Shared>, opened: Opened) -> io::Result<()> {
    let udp = tokio::net::UdpSocket::from_std(opened.udp)?;
    let tcp = tokio::net::TcpListener::from_std(opened.tcp)?;
    let mut listening = shared.listening();
    if let Some(entry) = listening.get_mut(&opened.wanted) {
        let udp = tokio::spawn(udp::serve(udp, shared.clone()));
        let tcp = tokio::spawn(tcp::serve(tcp, shared.clone()));
        entry.tasks = vec![udp.abort_handle(), tcp.abort_handle()];
    }
    Ok(())
}

impl Shared {
    /// Answers a query of a client into `out`, or says what else becomes of it.
    fn answer(&self, query: &[u8], way: Way, out: &mut Vec<u8>) -> Verdict {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        answer(
            query,
            way,
            &names,
            &self.settings,
            self.clock.now(),
            &mut OsEntropy,
            out,
        )
    }

    fn is_client(&self, from: IpAddr) -> bool {
        (self.clients)(from)
    }

    fn listening(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Listening>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers to ask, none of which is this one.
    fn upstreams(&self) -> Vec<SocketAddr> {
        let mut servers = self.upstreams.now();
        let listening = self.listening();
        servers.retain(|server| !listening.values().any(|l| l.address == *server));
        servers
    }

    /// Whether what is sent to `server` from `local` comes back here: an address of this host at a port we listen on.
    fn is_ours(&self, server: SocketAddr, local: IpAddr) -> bool {
        let at = |l: &Listening| l.address.ip() == server.ip() || l.address.ip().is_unspecified();
        let is_port = |l: &Listening| l.address.port() == server.port();
        let listening = self.listening();
        local == server.ip() && listening.values().any(|l| at(l) && is_port(l))
    }
}
