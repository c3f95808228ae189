//! Request and response between two hosts: latency as seen by a client that sleeps between requests.
//!
//! `mesh-rr server PORT SECONDS` answers over UDP and TCP until the time is over; it prints `ready` first.
//! `mesh-rr client udp|tcp ADDRESS:PORT SECONDS GAP` sends a request of 64 bytes, waits for the answer, then sleeps for
//! GAP microseconds (0: a closed loop). It prints a line of JSON: answered requests per second, percentiles in
//! microseconds, and unanswered requests.
//!
//! `ping` is unsuitable: at intervals below 10 ms it polls instead of sleeping, and so keeps a CPU awake.
#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const SIZE: usize = 64;
/// Time after which an unanswered request counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);
const USAGE: &str = "usage: mesh-rr server PORT SECONDS | mesh-rr client udp|tcp ADDRESS:PORT SECONDS GAP_MICROSECONDS";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh-rr: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["server", port, seconds] => server(number(port)?, seconds_of(seconds)?),
        ["client", kind, address, seconds, gap] => {
            let gap = Duration::from_micros(number(gap)?);
            let mut times = client(kind, address, seconds_of(seconds)?, gap)?;
            println!("{}", times.json());
            Ok(())
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse()
        .map_err(|_| io::Error::other(format!("'{word}' is no number; {USAGE}")))
}

fn seconds_of(word: &str) -> io::Result<Duration> {
    Duration::try_from_secs_f64(number(word)?).map_err(io::Error::other)
}

/// Answers UDP and TCP requests until the time is over.
fn server(port: u16, time: Duration) -> io::Result<()> {
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    println!("ready");
    io::stdout().flush()?;
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    let end = Instant::now() + time;
    let mut buffer = [0; SIZE];
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|t| !t.is_zero())
    {
        udp.set_read_timeout(Some(left))?;
        if let Ok((length, from)) = udp.recv_from(&mut buffer) {
            udp.send_to(&buffer[..length], from)?;
        }
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; SIZE];
    loop {
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)?;
    }
}

fn client(kind: &str, address: &str, time: Duration, gap: Duration) -> io::Result<RoundTripTimes> {
    match kind {
        "udp" => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            measure(time, gap, |request| {
                socket.send(request)?;
                let mut answer = [0; SIZE];
                // Skip late answers to earlier requests.
                while socket.recv(&mut answer)? != request.len() || answer != *request {}
                Ok(())
            })
        }
        "tcp" => {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(20 * PATIENCE))?;
            measure(time, gap, |request| {
                stream.write_all(request)?;
                stream.read_exact(&mut [0; SIZE])
            })
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

/// Repeats requests until the time is over; `ask` sends one and returns once it is answered.
fn measure(
    time: Duration,
    gap: Duration,
    mut ask: impl FnMut(&[u8; SIZE]) -> io::Result<()>,
) -> io::Result<RoundTripTimes> {
    let mut request = [0; SIZE];
    let mut times = RoundTripTimes::default();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let serial = times.micros.len() as u64 + times.lost;
        request[..8].copy_from_slice(&serial.to_be_bytes());
        let sent = Instant::now();
        match ask(&request) {
            Ok(()) => times.micros.push(sent.elapsed().as_secs_f64() * 1e6),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                times.lost += 1;
            }
            Err(error) => return Err(error),
        }
        if !gap.is_zero() {
            thread::sleep(gap);
        }
    }
    times.took = begun.elapsed();
    Ok(times)
}

/// Round-trip times in microseconds.
#[derive(Default)]
struct RoundTripTimes {
    micros: Vec<f64>,
    lost: u64,
    took: Duration,
}

impl RoundTripTimes {
    fn json(&mut self) -> String {
        self.micros.sort_by(f64::total_cmp);
        let rate = self.micros.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON);
        format!(
            r#"{{"rate": {rate:.1}, "p50": {:.1}, "p99": {:.1}, "lost": {}}}"#,
            self.percentile(50),
            self.percentile(99),
            self.lost
        )
    }

    /// Returns a percentile by the nearest-rank method; 0 without any answer.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.micros.len() * percent).div_ceil(100);
        self.micros
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut times = RoundTripTimes {
            micros: (1..=100).rev().map(f64::from).collect(),
            lost: 3,
            took: Duration::from_secs(2),
        };
        assert_eq!(
            times.json(),
            r#"{"rate": 50.0, "p50": 50.0, "p99": 99.0, "lost": 3}"#
        );
        assert!(RoundTripTimes::default().json().contains(r#""p50": 0.0"#));
    }

    #[test]
    fn requests_are_answered_over_udp_and_tcp() {
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let server = thread::spawn(move || server(port, Duration::from_secs(2)));
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + Duration::from_secs(2);
        while TcpStream::connect(&address).is_err() && Instant::now() < deadline {
            thread::yield_now();
        }
        for (kind, gap) in [("udp", 0), ("tcp", 0), ("udp", 1_000)] {
            let gap = Duration::from_micros(gap);
            let times = client(kind, &address, Duration::from_millis(50), gap).unwrap();
            assert!(!times.micros.is_empty(), "{kind}");
            assert_eq!(times.lost, 0, "{kind}");
        }
        server.join().unwrap().unwrap();
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [
            &["server", "x", "1"][..],
            &[],
            &["client", "sctp", "127.0.0.1:1", "1", "0"],
        ] {
            assert!(run(words).is_err(), "{words:?}");
        }
    }
}
