//! Queries over TCP, each with a length prefix (RFC 7766).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mesh_dns::server::counters::count;
use mesh_names::{QueryOutcome, QueryTransport};
use mesh_proto::limits::{DNS_IDLE, MAX_DNS_QUERY};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::framing::{read_message, write_message};
use super::listeners::{ClientKey, ListenerKey};
use super::{ServerState, forward};

/// Pause after a failed accept: file descriptors are scarce.
const SCARCE: Duration = Duration::from_millis(100);

/// Accepts connections forever. They are aborted when this future is dropped.
pub(super) async fn serve(listener: TcpListener, key: ListenerKey, shared: Arc<ServerState>) {
    let mut talks = JoinSet::new();
    loop {
        // Reap finished connections; slots limit the number of live ones.
        while talks.try_join_next().is_some() {}
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(SCARCE).await;
            continue;
        };
        let Some(client) = shared.client(key, from) else {
            count(&shared.counters.strangers);
            continue;
        };
        let Some(permit) = shared.connections.take(client) else {
            count(&shared.counters.overflowed);
            continue;
        };
        let shared = shared.clone();
        talks.spawn(async move {
            let _permit = permit;
            // Errors are ignored: the client notices them itself.
            let _ = converse(stream, &shared, client, key).await;
        });
    }
}

/// Answers one query after another, until the client closes.
async fn converse(
    mut stream: TcpStream,
    shared: &Arc<ServerState>,
    client: ClientKey,
    key: ListenerKey,
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
        match shared.answer(query, QueryTransport::Tcp, &mut out) {
            QueryOutcome::Answer => count(&shared.counters.answered),
            QueryOutcome::Drop => {
                count(&shared.counters.dropped);
                return Ok(());
            }
            QueryOutcome::Forward(forwarded) => match shared.forwards.take(client) {
                Some(_permit) => forward::ask(shared, &forwarded, key, &mut out).await,
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
