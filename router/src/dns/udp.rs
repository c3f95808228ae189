//! Queries over UDP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_dns::server::counters::count;
use mesh_dns::server::permits::Permit;
use mesh_names::{Asker, Forwarded, QueryOutcome, QueryTransport};
use mesh_proto::limits::MAX_DNS_QUERY;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::forward::AskedBy;
use super::listeners::{ClientKey, Listener};
use super::{ServerState, forward};

/// Datagrams handled before other tasks get a turn.
const BATCH: usize = 64;

/// Socket of a listener, and its queries that were forwarded and wait for a reply.
struct UdpServer {
    socket: Arc<UdpSocket>,
    listener: Listener,
    shared: Arc<ServerState>,
    /// Forwarded queries; slots limit their number.
    asking: JoinSet<()>,
}

/// Answers forever. Pending queries are aborted when this future is dropped.
pub(super) async fn serve(socket: UdpSocket, listener: Listener, shared: Arc<ServerState>) {
    let mut server = UdpServer {
        socket: Arc::new(socket),
        listener,
        shared,
        asking: JoinSet::new(),
    };
    // One byte more, to detect longer queries.
    let mut query = vec![0; MAX_DNS_QUERY + 1];
    let mut out = Vec::new();
    loop {
        while server.asking.try_join_next().is_some() {}
        if server.socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BATCH {
            match server.socket.try_recv_from(&mut query) {
                Ok((len, from)) => {
                    let query = query.get(..len).unwrap_or_default();
                    server.handle(query, from, &mut out);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error about an earlier answer.
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

impl UdpServer {
    fn handle(&mut self, query: &[u8], from: SocketAddr, out: &mut Vec<u8>) {
        let (socket, shared) = (&self.socket, &self.shared);
        let counters = &shared.counters;
        let Some(client) = shared.client(&self.listener, from) else {
            return count(&counters.strangers);
        };
        let asker = Asker {
            networks: &client.networks,
            transport: QueryTransport::Udp,
        };
        match shared.answer(query, asker, out) {
            QueryOutcome::Answer => {
                count(&counters.answered);
                send(socket, shared, out, from);
            }
            QueryOutcome::Drop => count(&counters.dropped),
            QueryOutcome::Forward(forwarded) => match shared.forwards.take(client.key) {
                Some(permit) => {
                    let by = AskedBy {
                        key: self.listener.key,
                        networks: client.networks,
                    };
                    let (socket, shared) = (socket.clone(), shared.clone());
                    let asking = ask(socket, shared, forwarded, (from, by), permit);
                    self.asking.spawn(asking);
                }
                None => {
                    count(&counters.overflowed);
                    forwarded.fail(out);
                    send(socket, shared, out, from);
                }
            },
        }
    }
}

async fn ask(
    socket: Arc<UdpSocket>,
    shared: Arc<ServerState>,
    forwarded: Forwarded,
    (from, by): (SocketAddr, AskedBy),
    _permit: Permit<ClientKey>,
) {
    let mut out = Vec::new();
    forward::ask(&shared, &forwarded, &by, &mut out).await;
    send(&socket, &shared, &out, from);
}

/// Sends without waiting. An answer that cannot be sent at once is lost: the client retries.
fn send(socket: &UdpSocket, shared: &ServerState, out: &[u8], to: SocketAddr) {
    if socket.try_send_to(out, to).is_err() {
        count(&shared.counters.unsent);
    }
}
