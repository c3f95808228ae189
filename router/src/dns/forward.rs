//! Asking other servers.
//!
//! Each try has a socket of its own, so a port that nobody can guess. A server that is silent for a while stays asked
//! while the next one is asked too; the first answer counts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_proto::entropy::Entropy;
use mesh_proto::limits::{DNS_DEADLINE, DNS_PATIENCE, MAX_DNS_STRAYS, MAX_DNS_TRIES};
use mesh_proto::names::{Forwarded, Judgement, Way};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Shared;
use super::counters::count;
use super::tcp::{read_message, write_message};
use super::udp::any_address;
use crate::clock::OsEntropy;

/// Longest datagram that is taken; nobody was told that more is welcome than [`mesh_proto::limits::MAX_DNS_UDP`].
const MAX_REPLY: usize = 4_096;

/// What a server said, and whether it is an answer.
type Said = (Judgement, Vec<u8>);

/// Writes into `out` what the client gets, at the latest at the deadline.
pub(super) async fn ask(shared: &Arc<Shared>, forwarded: &Forwarded, out: &mut Vec<u8>) {
    count(&shared.counters.forwarded);
    let deadline = Instant::now() + DNS_DEADLINE;
    let servers = shared.upstreams();
    let asking = ask_all(shared, forwarded, &servers);
    match timeout_at(deadline, asking).await {
        Ok(Some(message)) => forwarded.reply(&message, out),
        Ok(None) | Err(_) => {
            count(&shared.counters.failed);
            forwarded.fail(out);
        }
    }
}

/// The first answer; else what the last server said that could not answer, if one said anything.
async fn ask_all(
    shared: &Arc<Shared>,
    forwarded: &Forwarded,
    servers: &[SocketAddr],
) -> Option<Vec<u8>> {
    let mut next = servers.iter().cycle().take(MAX_DNS_TRIES);
    let mut tries: JoinSet<io::Result<Said>> = JoinSet::new();
    let mut failure = None;
    loop {
        let server = next.next();
        if let Some(server) = server {
            tries.spawn(ask_one(shared.clone(), forwarded.clone(), *server));
        }
        let patience = Instant::now() + DNS_PATIENCE;
        tokio::select! {
            said = tries.join_next() => match said {
                Some(Ok(Ok((Judgement::Failure, message)))) => failure = Some(message),
                Some(Ok(Ok((_, message)))) => return Some(message),
                // The next one is asked at once.
                Some(_) => {}
                None => return failure,
            },
            () = sleep_until(patience), if server.is_some() => {}
        }
    }
}

async fn ask_one(
    shared: Arc<Shared>,
    forwarded: Forwarded,
    server: SocketAddr,
) -> io::Result<Said> {
    let socket = UdpSocket::bind(any_address(server.ip())).await?;
    // From now on the system takes messages of this server only.
    socket.connect(server).await?;
    if shared.is_ours(server, socket.local_addr()?.ip()) {
        return Err(io::Error::other("this server asks itself"));
    }
    let id = random_id();
    socket.send(&forwarded.query(id)).await?;
    let mut reply = vec![0; MAX_REPLY];
    for _ in 0..MAX_DNS_STRAYS {
        let len = socket.recv(&mut reply).await?;
        let message = reply.get(..len).unwrap_or_default();
        match forwarded.judge(id, message) {
            Judgement::Other => {}
            // A client that takes datagrams only asks again by TCP.
            Judgement::Truncated if forwarded.way() == Way::Tcp => {
                return ask_by_tcp(&forwarded, server).await;
            }
            judgement => return Ok((judgement, message.to_vec())),
        }
    }
    Err(io::Error::other("somebody guesses"))
}

async fn ask_by_tcp(forwarded: &Forwarded, server: SocketAddr) -> io::Result<Said> {
    let id = random_id();
    let mut stream = TcpStream::connect(server).await?;
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
