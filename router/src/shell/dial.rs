//! Opens TCP connections: dials each address of a target, staggered, until one answers (RFC 8305 section 5).
//!
//! The kernel retransmits a lost SYN only after a second, which is long while a whole mesh waits for a link; so a
//! single address is dialled twice.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::limits::{DIAL_AGAIN, MAX_CANDIDATES};
use mesh_sys::socket::tcp::limit_segments;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::host_routes::HostRoutes;

/// Timeout of name resolution, and of a dial of one address.
const PATIENCE: Duration = Duration::from_secs(5);

/// Resolves the target and connects to it, or to one of the `others`. Returns the stream and the address that answered.
///
/// The next address is dialled when one fails, or after [`DIAL_AGAIN`]. The first that answers is taken, and the others
/// are aborted. A slow resolver does not delay the `others`.
///
/// # Errors
/// A sentence: the last failure, and a hint at the cause.
pub(super) async fn dial(
    to: &DialTo,
    others: VecDeque<SocketAddr>,
    ways: &HostRoutes,
) -> Result<(TcpStream, SocketAddr), String> {
    let resolving = resolve(to);
    tokio::pin!(resolving);
    let (mut is_resolved, mut left) = (false, others);
    let mut running = JoinSet::new();
    let mut next = Instant::now() + DIAL_AGAIN;
    let mut last = "the name has no address".to_owned();
    loop {
        tokio::select! {
            found = &mut resolving, if !is_resolved => {
                is_resolved = true;
                next = Instant::now();
                match found {
                    Ok(addresses) => put_first(addresses, &mut left, !running.is_empty()),
                    Err(why) => last = why,
                }
            }
            () = sleep_until(next), if !left.is_empty() => {
                next = Instant::now() + DIAL_AGAIN;
                match left.pop_front().map(|address| (address, ways.refuse(None, address))) {
                    Some((address, None)) => {
                        running.spawn(async move { (address, attempt(address).await) });
                    }
                    Some((_, Some(why))) => {
                        last = why;
                        next = Instant::now();
                    }
                    None => {}
                }
            }
            Some(ended) = running.join_next() => match ended {
                Ok((address, Ok(stream))) => return Ok((stream, address)),
                Ok((address, Err(why))) => {
                    last = why;
                    left.retain(|other| *other != address);
                    next = Instant::now();
                }
                Err(crashed) => last = format!("cannot dial: {crashed}"),
            },
            else => return Err(last),
        }
    }
}

/// Puts the resolved addresses before the other ones; a single address is dialled twice.
fn put_first(addresses: VecDeque<SocketAddr>, left: &mut VecDeque<SocketAddr>, running: bool) {
    left.retain(|other| !addresses.contains(other));
    for address in addresses.into_iter().rev() {
        left.push_front(address);
    }
    if let Some(only) = left
        .front()
        .copied()
        .filter(|_| left.len() == 1 && !running)
    {
        left.push_back(only);
    }
}

async fn resolve(to: &DialTo) -> Result<VecDeque<SocketAddr>, String> {
    let (host, port) = match to {
        DialTo::Address(address) => return Ok(VecDeque::from([*address])),
        DialTo::Name { host, port } => (host, *port),
    };
    match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(Ok(addresses)) => Ok(addresses.take(MAX_CANDIDATES).collect()),
        Ok(Err(_)) if host.contains('%') => {
            let interface = host.split('%').nth(1).unwrap_or_default();
            Err(format!(
                "cannot reach {host}: this host has no interface {interface}"
            ))
        }
        Ok(Err(error)) => Err(format!("cannot resolve {host}: {}", plain(&error))),
        Err(_) => Err(format!(
            "cannot resolve {host}: no answer from the resolver"
        )),
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, String> {
    match timeout(PATIENCE, connect(address)).await {
        Ok(connected) => connected.map_err(|error| {
            let (why, hint) = (plain(&error), hint(&error));
            format!("cannot reach {address}: {why}{hint}")
        }),
        Err(_) => Err(format!(
            "cannot reach {address}: no answer in {} s; is TCP port {} open there?",
            PATIENCE.as_secs(),
            address.port()
        )),
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    limit_segments(&socket).map_err(io::Error::other)?;
    socket.connect(address).await
}

/// Formats the error without the system's error number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is mesh running there?",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "; is that host up and routed to?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    fn ways() -> HostRoutes {
        HostRoutes::open(std::sync::Arc::default()).unwrap()
    }

    /// Dials these addresses in order.
    async fn race(mut addresses: VecDeque<SocketAddr>) -> Result<(TcpStream, SocketAddr), String> {
        let first = addresses.pop_front().unwrap();
        dial(&DialTo::Address(first), addresses, &ways()).await
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Returns an address that refuses; nobody else can listen there as long as the socket lives.
    fn dead() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(any).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn one_that_refuses_makes_room_for_the_next_at_once() {
        let (_listener, alive) = listener().await;
        let begun = Instant::now();
        let (_first, first) = dead();
        let (_second, second) = dead();
        let addresses = VecDeque::from([first, second, alive]);
        assert_eq!(race(addresses).await.unwrap().1, alive);
        assert!(begun.elapsed() < DIAL_AGAIN);
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_not_waited_for() {
        let (_listener, alive) = listener().await;
        // A listener with a full queue drops SYN segments, like a lossy path.
        let full = TcpSocket::new_v4().unwrap();
        full.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let full = full.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = timeout(DIAL_AGAIN, TcpStream::connect(silent)).await {
            held.push(stream.unwrap());
            assert!(held.len() < 16, "the queue does not fill");
        }
        let begun = Instant::now();
        let (_, to) = race(VecDeque::from([silent, alive])).await.unwrap();
        assert_eq!(to, alive);
        assert!((DIAL_AGAIN..PATIENCE).contains(&begun.elapsed()));
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_no_matter_where_another_address_answers() {
        let (_listener, alive) = listener().await;
        let to = DialTo::Name {
            host: "no-such-host.invalid".to_owned(),
            port: 6783,
        };
        assert_eq!(
            dial(&to, VecDeque::from([alive]), &ways()).await.unwrap().1,
            alive
        );
        assert!(dial(&to, VecDeque::new(), &ways()).await.is_err());
    }

    #[tokio::test]
    async fn a_lone_address_that_refuses_is_not_dialled_again() {
        let (_socket, dead) = dead();
        let begun = Instant::now();
        let error = race(VecDeque::from([dead])).await.unwrap_err();
        assert_eq!(
            error,
            format!("cannot reach {dead}: connection refused; is mesh running there?")
        );
        assert!(begun.elapsed() < DIAL_AGAIN);
    }
}
