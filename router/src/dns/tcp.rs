//! Queries over TCP, each with a length prefix (RFC 7766).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_dns::server::counters::count;
use mesh_names::{Asker, QueryOutcome, QueryTransport};
use mesh_proto::limits::{DNS_IDLE, MAX_DNS_QUERY};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::forward::AskedBy;
use super::framing::{read_message, write_message};
use super::listeners::Listener;
use super::{ServerState, forward};

/// Pause after a failed accept: file descriptors are scarce.
const SCARCE: Duration = Duration::from_millis(100);

/// Accepts connections forever. They are aborted when this future is dropped.
pub(super) async fn serve(socket: TcpListener, listener: Listener, shared: Arc<ServerState>) {
    let mut talks = JoinSet::new();
    loop {
        // Reap finished connections; slots limit the number of live ones.
        while talks.try_join_next().is_some() {}
        let Ok((stream, from)) = socket.accept().await else {
            tokio::time::sleep(SCARCE).await;
            continue;
        };
        let Some(client) = shared.client(&listener, from) else {
            count(&shared.counters.strangers);
            continue;
        };
        let Some(permit) = shared.connections.take(client.key) else {
            count(&shared.counters.overflowed);
            continue;
        };
        let (shared, listener) = (shared.clone(), listener.clone());
        talks.spawn(async move {
            let _permit = permit;
            // Errors are ignored: the client notices them itself.
            let _ = converse(stream, &shared, &listener, from).await;
        });
    }
}

/// Answers one query after another, until the client closes or is no client any more. Its networks may change in between.
async fn converse(
    mut stream: TcpStream,
    shared: &Arc<ServerState>,
    listener: &Listener,
    from: SocketAddr,
) -> io::Result<()> {
    let mut query = vec![0; MAX_DNS_QUERY];
    let mut out = Vec::new();
    loop {
        let reading = read_message(&mut stream, &mut query);
        let Ok(read) = timeout(DNS_IDLE, reading).await else {
            return Ok(());
        };
        let len = read?;
        let query = query.get(..len).unwrap_or_default();
        let Some(client) = shared.client(listener, from) else {
            count(&shared.counters.strangers);
            return Ok(());
        };
        let asker = Asker {
            networks: &client.networks,
            transport: QueryTransport::Tcp,
        };
        match shared.answer(query, asker, &mut out) {
            QueryOutcome::Answer => count(&shared.counters.answered),
            QueryOutcome::Drop => {
                count(&shared.counters.dropped);
                return Ok(());
            }
            QueryOutcome::Forward(forwarded) => match shared.forwards.take(client.key) {
                Some(_permit) => {
                    let by = AskedBy {
                        key: listener.key,
                        networks: client.networks,
                    };
                    forward::ask(shared, &forwarded, &by, &mut out).await;
                }
                None => {
                    count(&shared.counters.overflowed);
                    forwarded.fail(&mut out);
                }
            },
        }
        let writing = write_message(&mut stream, &out);
        match timeout(DNS_IDLE, writing).await {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
    }
}
