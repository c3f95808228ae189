//! Traffic generator for tests. It runs in the network namespace of a container.
//!
//! ```text
//! meshprobe receive ADDRESS:PORT               reads one TCP connection; prints its length and SHA-256
//! meshprobe send ADDRESS:PORT BYTES MBIT       sends pseudo-random bytes over TCP; MBIT 0: no rate limit
//! meshprobe listen ADDRESS PORT [GROUP]        prints each datagram that arrives, until killed
//! meshprobe cast ADDRESS TARGET LABEL COUNT    sends datagrams to a broadcast or multicast address
//! meshprobe storm ADDRESS TARGET MILLISECONDS  sends broadcast datagrams at full speed; prints their number
//! meshprobe knock TARGET MILLISECONDS SOURCE…  opens TCP connections from these addresses at full speed, each with
//!                                              a hello and then silence; prints their number
//! meshprobe inject INTERFACE NETWORK HOST COUNT RATE OWN… -- FOREIGN…
//!                                              sends marked frames of every kind; OWN and FOREIGN are MAC/ADDRESS;
//!                                              prints their number
//! meshprobe tally INTERFACE NETWORK HOST MAC…  counts marked frames, and frames from these MACs, until killed
//! ```

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mesh_proto::ids::Mac;
use mesh_tests::frames::{Injection, TestEndpoint, inject, tally};
use sha2::{Digest as _, Sha256};
use socket2::{Domain, Socket, Type};

const CHUNK: usize = 32 * 1024;
/// Time limit, so that a leaked process ends by itself.
const LONGEST: Duration = Duration::from_secs(300);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["receive", at] => receive(at.parse()?),
        ["send", to, bytes, mbit] => send(to.parse()?, bytes.parse()?, mbit.parse()?),
        ["listen", address, port] => listen(address.parse()?, port.parse()?, None),
        ["listen", address, port, group] => {
            listen(address.parse()?, port.parse()?, Some(group.parse()?))
        }
        ["cast", from, to, label, count] => cast(from.parse()?, to.parse()?, label, count.parse()?),
        ["storm", from, to, millis] => storm(from.parse()?, to.parse()?, millis.parse()?),
        ["knock", to, millis, from @ ..] if !from.is_empty() => {
            let from: Result<Vec<IpAddr>, _> = from.iter().map(|from| from.parse()).collect();
            knock(to.parse()?, millis.parse()?, &from?)
        }
        [
            "inject",
            interface,
            network,
            host,
            count,
            rate,
            stations @ ..,
        ] => {
            let mut lists = stations.split(|word| *word == "--").map(stations_of);
            let mut next = || lists.next().unwrap_or_else(|| Ok(Vec::new()));
            let taken = inject(&Injection {
                interface: (*interface).to_owned(),
                network: network.parse()?,
                host: host.parse()?,
                count: count.parse()?,
                rate: rate.parse()?,
                own: next()?,
                foreign: next()?,
            })?;
            say(&format!("injected {taken}"))
        }
        ["tally", interface, network, host, foreign @ ..] => {
            let foreign: Result<Vec<Mac>, _> = foreign.iter().map(|mac| mac.parse()).collect();
            tally(interface, (network.parse()?, host.parse()?), &foreign?, say)
        }
        _ => bail!("usage: meshprobe receive|send|listen|cast|storm|knock|inject|tally …"),
    }
}

fn stations_of(words: &[&str]) -> Result<Vec<TestEndpoint>> {
    words.iter().map(|word| TestEndpoint::parse(word)).collect()
}

fn receive(at: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    say("ready")?;
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(LONGEST))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let (mut total, mut told) = (0, Instant::now());
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        total += n;
        if told.elapsed() > Duration::from_millis(200) {
            say(&format!("bytes {total}"))?;
            told = Instant::now();
        }
    }
    finish(total as u64, hash)
}

fn send(to: SocketAddr, bytes: u64, mbit: u64) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))
        .with_context(|| format!("cannot connect to {to}"))?;
    stream.set_write_timeout(Some(LONGEST))?;
    let mut hash = Sha256::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut total, began) = (0, Instant::now());
    while total < bytes {
        let mut chunk = noise(&mut state);
        let left = usize::try_from(bytes - total).unwrap_or(CHUNK);
        chunk.truncate(left.min(CHUNK));
        stream.write_all(&chunk)?;
        hash.update(&chunk);
        total += chunk.len() as u64;
        if let Some(due) = (total * 8).checked_div(mbit) {
            std::thread::sleep(Duration::from_micros(due).saturating_sub(began.elapsed()));
        }
    }
    drop(stream);
    finish(total, hash)
}

/// Returns bytes that do not repeat (xorshift64): a lost, duplicated or reordered block changes the checksum.
fn noise(state: &mut u64) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        chunk.extend_from_slice(&state.to_le_bytes());
    }
    chunk
}

fn finish(total: u64, hash: Sha256) -> Result<()> {
    let digest: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    say(&format!("{total} {digest}"))
}

fn listen(address: Ipv4Addr, port: u16, group: Option<Ipv4Addr>) -> Result<()> {
    // Bound to all addresses, since a socket bound to a unicast address receives no broadcasts.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    if let Some(group) = group {
        socket.join_multicast_v4(&group, &address)?;
    }
    socket.set_read_timeout(Some(LONGEST))?;
    say("ready")?;
    let mut buffer = [0; 2048];
    loop {
        let (n, _) = socket.recv_from(&mut buffer)?;
        say(&format!("heard {}", String::from_utf8_lossy(&buffer[..n])))?;
    }
}

fn cast(from: Ipv4Addr, to: SocketAddr, label: &str, count: u32) -> Result<()> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_broadcast(true)?;
    socket.set_multicast_loop_v4(false)?;
    for i in 0..count {
        socket.send_to(format!("{label}-{i}").as_bytes(), to)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn storm(from: Ipv4Addr, to: SocketAddr, millis: u64) -> Result<()> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_broadcast(true)?;
    let (mut sent, began) = (0_u64, Instant::now());
    while began.elapsed() < Duration::from_millis(millis).min(LONGEST) {
        // A datagram dropped by a full interface queue counts as sent.
        sent += u64::from(socket.send_to(b"storm", to).is_ok());
    }
    say(&format!("sent {sent}"))
}

/// Most connections that [`knock`] keeps open; beyond, it closes the oldest. A process has 1,024 file descriptors.
const KEPT: usize = 900;

fn knock(to: SocketAddr, millis: u64, from: &[IpAddr]) -> Result<()> {
    let (mut opened, mut kept, began) = (0_u64, VecDeque::new(), Instant::now());
    for source in from.iter().cycle() {
        if began.elapsed() >= Duration::from_millis(millis).min(LONGEST) {
            break;
        }
        // A refused or timed-out connection is retried.
        let Ok(stream) = connect_from(*source, to) else {
            continue;
        };
        opened += 1;
        kept.push_back(stream);
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
    say(&format!("knocked {opened}"))
}

/// Opens a connection and sends a hello of protocol version 1, with a secret.
fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&to.into(), Duration::from_millis(500))?;
    let mut hello = [0; 64];
    hello[..7].copy_from_slice(b"mesh\x01\x01\x01");
    (&socket).write_all(&hello)?;
    Ok(socket)
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
