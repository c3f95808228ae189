//! Forwarding of queries to upstream servers.
//!
//! Each attempt has its own socket, and thus an unpredictable port. If a server is slow, the next one is queried as
//! well; the first answer wins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_dns::server::counters::count;
use mesh_dns::server::forwarding::{JudgedReply, write_reply};
use mesh_names::{AskerNetworks, Forwarded, Judgement, QueryTransport};
use mesh_proto::entropy::Entropy;
use mesh_proto::limits::{DNS_DEADLINE, DNS_PATIENCE, MAX_DNS_STRAYS};
use mesh_sys::resolver::{tcp_to, udp_to};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ServerState;
use super::framing::{read_message, write_message};
use super::listeners::{EmbeddedResolver, ListenerKey};
use crate::clock::OsEntropy;

/// Longest reply accepted, in bytes. Queries advertise [`mesh_proto::limits::MAX_DNS_UDP`] only.
const MAX_REPLY: usize = 4_096;

/// Upstream server.
#[derive(Clone, Debug)]
pub(super) enum UpstreamServer {
    /// Server that the host uses, too.
    Host(SocketAddr),
    /// Resolver in the network namespace of a container.
    Embedded(EmbeddedResolver),
}

/// Listener that received a query, and the networks of its client.
#[derive(Clone, Debug)]
pub(super) struct AskedBy {
    pub(super) key: ListenerKey,
    pub(super) networks: AskerNetworks,
}

/// Writes the reply for the client into `out`, at the latest at the deadline.
pub(super) async fn ask(
    shared: &Arc<ServerState>,
    forwarded: &Forwarded,
    by: &AskedBy,
    out: &mut Vec<u8>,
) {
    count(&shared.counters.forwarded);
    let deadline = Instant::now() + DNS_DEADLINE;
    let asking = ask_all(shared, forwarded, by);
    let reply = timeout_at(deadline, asking).await.unwrap_or_default();
    if !write_reply(forwarded, reply, out) {
        count(&shared.counters.failed);
    }
}

/// Returns the first answer; else the last failure that a server replied with; `None` without any reply.
async fn ask_all(
    shared: &Arc<ServerState>,
    forwarded: &Forwarded,
    by: &AskedBy,
) -> Option<JudgedReply> {
    let mut attempts = shared.attempts(by.key);
    let mut tries: JoinSet<io::Result<JudgedReply>> = JoinSet::new();
    loop {
        let server = attempts.next_server();
        let may_wait = server.is_some();
        if let Some(server) = server {
            let networks = by.networks.clone();
            tries.spawn(ask_one(shared.clone(), forwarded.clone(), networks, server));
        }
        let patience = Instant::now() + DNS_PATIENCE;
        tokio::select! {
            reply = tries.join_next() => match reply {
                Some(Ok(Ok(reply))) => {
                    if let Some(reply) = attempts.take(reply) {
                        return Some(reply);
                    }
                }
                // Query the next server at once.
                Some(_) => {}
                None => return attempts.failure(),
            },
            () = sleep_until(patience), if may_wait => {}
        }
    }
}

async fn ask_one(
    shared: Arc<ServerState>,
    forwarded: Forwarded,
    networks: AskerNetworks,
    server: UpstreamServer,
) -> io::Result<JudgedReply> {
    match server {
        UpstreamServer::Host(server) => ask_host(&shared, &forwarded, server).await,
        UpstreamServer::Embedded(embedded) => {
            let said = ask_embedded(&forwarded, &embedded).await?;
            if shared.leads_to_swarm(&said.1, &networks) {
                return of_service(&shared, &forwarded, &networks, &embedded, &said.1).await;
            }
            // Docker's resolver knows only part of the addresses in the mesh; the mesh knows all.
            if shared.leads_here(&said.1, &networks) {
                return Err(io::Error::other("the address is of the mesh"));
            }
            Ok(said)
        }
    }
}

/// Returns the answer about a service of Swarm with the tasks that run. Docker's resolver also says those that have ended, or
/// a virtual address that leads nowhere in a network of the mesh.
async fn of_service(
    shared: &ServerState,
    forwarded: &Forwarded,
    networks: &AskerNetworks,
    embedded: &EmbeddedResolver,
    said: &[u8],
) -> io::Result<JudgedReply> {
    let mut alive = shared.alive(said, networks);
    if alive.is_empty()
        && let Some(tasks) = forwarded.of_tasks()
    {
        let (_, said) = ask_embedded(&tasks, embedded).await?;
        alive = shared.alive(&said, networks);
    }
    let answer = forwarded.with_addresses(alive, shared.settings.ttl);
    let answer = answer.ok_or_else(|| io::Error::other("no answer can be written"))?;
    Ok((Judgement::Answer, answer))
}

async fn ask_embedded(
    forwarded: &Forwarded,
    embedded: &EmbeddedResolver,
) -> io::Result<JudgedReply> {
    let (netns, server) = (embedded.netns.clone(), embedded.sockets.udp);
    // Entering a namespace requires a separate thread.
    let made = tokio::task::spawn_blocking(move || udp_to(&netns, server)).await;
    let socket = UdpSocket::from_std(made.map_err(io::Error::other)??)?;
    let judged = converse(forwarded, &socket).await?;
    if judged.0 != Judgement::Truncated || forwarded.transport() != QueryTransport::Tcp {
        return Ok(judged);
    }
    let (netns, server) = (embedded.netns.clone(), embedded.sockets.tcp);
    let made = tokio::task::spawn_blocking(move || tcp_to(&netns, server, DNS_DEADLINE)).await;
    let stream = TcpStream::from_std(made.map_err(io::Error::other)??)?;
    ask_by_tcp(forwarded, stream).await
}

async fn ask_host(
    shared: &ServerState,
    forwarded: &Forwarded,
    server: SocketAddr,
) -> io::Result<JudgedReply> {
    let socket = UdpSocket::bind(any_address(server.ip())).await?;
    // From now on the kernel accepts datagrams of this server only.
    socket.connect(server).await?;
    if shared.is_ours(server, socket.local_addr()?.ip()) {
        return Err(io::Error::other("the upstream is this server"));
    }
    let judged = converse(forwarded, &socket).await?;
    // A client over UDP gets the truncated reply and retries over TCP.
    if judged.0 == Judgement::Truncated && forwarded.transport() == QueryTransport::Tcp {
        return ask_by_tcp(forwarded, TcpStream::connect(server).await?).await;
    }
    Ok(judged)
}

/// Sends the query over UDP, and returns the first reply that matches it.
async fn converse(forwarded: &Forwarded, socket: &UdpSocket) -> io::Result<JudgedReply> {
    let id = random_id();
    socket.send(&forwarded.query(id)).await?;
    let mut reply = vec![0; MAX_REPLY];
    for _ in 0..MAX_DNS_STRAYS {
        let len = socket.recv(&mut reply).await?;
        let message = reply.get(..len).unwrap_or_default();
        match forwarded.judge(id, message) {
            Judgement::Other => {}
            judgement => return Ok((judgement, message.to_vec())),
        }
    }
    Err(io::Error::other("too many forged replies"))
}

async fn ask_by_tcp(forwarded: &Forwarded, mut stream: TcpStream) -> io::Result<JudgedReply> {
    let id = random_id();
    write_message(&mut stream, &forwarded.query(id)).await?;
    let mut reply = vec![0; usize::from(u16::MAX)];
    let len = read_message(&mut stream, &mut reply).await?;
    reply.truncate(len);
    match forwarded.judge(id, &reply) {
        Judgement::Other => Err(io::Error::other("not what was asked for")),
        judgement => Ok((judgement, reply)),
    }
}

fn random_id() -> u16 {
    let mut id = [0; 2];
    OsEntropy.fill(&mut id);
    u16::from_be_bytes(id)
}

/// Returns the unspecified address of the same family, for binding.
fn any_address(like: IpAddr) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    }
}
