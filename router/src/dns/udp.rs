//! Queries that come as datagrams.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_proto::limits::MAX_DNS_QUERY;
use mesh_proto::names::{Forwarded, Verdict, Way};
use tokio::net::UdpSocket;

use super::counters::count;
use super::places::Place;
use super::{Shared, forward};

/// Datagrams taken before others have their turn.
const BATCH: usize = 64;

/// Answers for ever.
pub(super) async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    // One byte more, so that a longer query shows.
    let mut query = vec![0; MAX_DNS_QUERY + 1];
    let mut out = Vec::new();
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut query) {
                Ok((len, from)) => {
                    let query = query.get(..len).unwrap_or_default();
                    handle(&socket, &shared, query, from, &mut out);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What came back for an answer that nobody waited for.
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

fn handle(
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
    query: &[u8],
    from: SocketAddr,
    out: &mut Vec<u8>,
) {
    let counters = &shared.counters;
    let source = from.ip().to_canonical();
    if !shared.is_client(source) {
        return count(&counters.strangers);
    }
    match shared.answer(query, Way::Udp, out) {
        Verdict::Answer => {
            count(&counters.answered);
            send(socket, shared, out, from);
        }
        Verdict::Drop => count(&counters.dropped),
        Verdict::Forward(forwarded) => match shared.forwards.take(source) {
            Some(place) => {
                let asking = ask(socket.clone(), shared.clone(), forwarded, from, place);
                tokio::spawn(asking);
            }
            None => {
                count(&counters.overflowed);
                forwarded.fail(out);
                send(socket, shared, out, from);
            }
        },
    }
}

async fn ask(
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    forwarded: Forwarded,
    from: SocketAddr,
    _place: Place,
) {
    let mut out = Vec::new();
    forward::ask(&shared, &forwarded, &mut out).await;
    send(&socket, &shared, &out, from);
}

/// An answer that does not leave at once is lost: the client asks again.
fn send(socket: &UdpSocket, shared: &Shared, out: &[u8], to: SocketAddr) {
    if socket.try_send_to(out, to).is_err() {
        count(&shared.counters.unsent);
    }
}

/// The address to send from for a destination of this family.
pub(super) fn any_address(like: IpAddr) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    }
}
