//! A server, a client, and upstream servers for the tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, ParsedName};
use domain::rdata::AllRecordData;

/// The example server; it ends on drop.
pub(crate) struct Server {
    child: Child,
    _stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts the server on a free port, with `words` after the address.
    pub(crate) fn start(words: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", words).expect("a free port")
    }

    /// Starts the server on this address; `None` if that is not allowed.
    pub(crate) fn start_on(address: &str, words: &[&str]) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dns-server"))
            .arg(address)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let server = |address| Self {
            _stdin: child.stdin.take(),
            address,
            child,
        };
        let address = line.trim().strip_prefix("answers on ")?;
        address.parse().ok().map(server)
    }

    /// Queries over UDP, from 127.0.0.1.
    pub(crate) fn ask(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.ask_from(IpAddr::from([127, 0, 0, 1]), query, Duration::from_secs(3))
    }

    pub(crate) fn ask_from(
        &self,
        from: IpAddr,
        query: &[u8],
        patience: Duration,
    ) -> Option<Vec<u8>> {
        self.exchange(from, self.address, query, patience)
    }

    /// Queries the server's port on an address of this machine, from that same address.
    pub(crate) fn ask_at(&self, at: IpAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        self.exchange(
            at,
            SocketAddr::new(at, self.address.port()),
            query,
            patience,
        )
    }

    fn exchange(
        &self,
        from: IpAddr,
        to: SocketAddr,
        query: &[u8],
        patience: Duration,
    ) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.send(query).unwrap();
        let mut reply = vec![0; 65_535];
        let len = socket.recv(&mut reply).ok()?;
        reply.truncate(len);
        Some(reply)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(8));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// Queries over TCP.
    pub(crate) fn ask_by_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut stream = self.connect();
        write_message(&mut stream, query);
        read_message(&mut stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn write_message(stream: &mut TcpStream, message: &[u8]) {
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&len, message].concat()).unwrap();
}

pub(crate) fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// Returns an encoded query.
pub(crate) fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&rtype.to_int().to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out
}

/// Returns the response code, true if truncated, and the data of the answers in order.
pub(crate) fn read(message: &[u8]) -> (Rcode, bool, Vec<String>) {
    let message = Message::from_slice(message).unwrap();
    let answers = message.answer().unwrap();
    let mut answers: Vec<String> = answers
        .limit_to::<AllRecordData<&[u8], ParsedName<&[u8]>>>()
        .map(|record| record.unwrap().data().to_string())
        .collect();
    answers.sort();
    (message.header().rcode(), message.header().tc(), answers)
}

/// An upstream server. It lives until the test ends.
pub(crate) struct Upstream {
    pub(crate) address: String,
    pub(crate) asked: std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl Upstream {
    /// Starts a server that replies over UDP and TCP as `answer` returns; `None` is no reply.
    pub(crate) fn start(answer: fn(&[u8], bool) -> Option<Vec<u8>>) -> Self {
        Self::start_on("127.0.0.1:0", answer).expect("a free port")
    }

    /// Like [`start`](Self::start), on this address; `None` if it is not available.
    pub(crate) fn start_on(
        address: &str,
        answer: fn(&[u8], bool) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        // A port that is free for UDP can be in use for TCP by another test.
        let (udp, tcp) = (0..32).find_map(|_| {
            let udp = UdpSocket::bind(address).ok()?;
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        })?;
        let address = udp.local_addr().unwrap();
        let asked = std::sync::Arc::<std::sync::Mutex<Vec<Vec<u8>>>>::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            let mut query = [0; 2_000];
            while let Ok((len, from)) = udp.recv_from(&mut query) {
                log.lock().unwrap().push(query[..len].to_vec());
                if let Some(reply) = answer(&query[..len], false) {
                    udp.send_to(&reply, from).unwrap();
                }
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                if let Some(reply) = read_message(&mut stream).and_then(|q| answer(&q, true)) {
                    write_message(&mut stream, &reply);
                }
            }
        });
        Some(Self {
            address: address.to_string(),
            asked,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Returns the response to a query, with this code and number of addresses.
pub(crate) fn answer_with(query: &[u8], code: u8, addresses: u8) -> Vec<u8> {
    // Keeps name, type and class of the question, and drops the rest.
    let end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
    let mut out = query[..end].to_vec();
    out[2] |= 0x80;
    out[3] = 0x80 | code;
    out[4..12].copy_from_slice(&[0, 1, 0, addresses, 0, 0, 0, 0]);
    for n in 0..addresses {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, n]);
    }
    out
}

/// Runs a command; `None` if it is not installed.
pub(crate) fn run(command: &str, words: &[&str]) -> Option<String> {
    let done = Command::new(command).args(words).output();
    let Ok(done) = done else {
        println!("skipped: there is no {command}");
        return None;
    };
    assert!(done.status.success(), "{command} {words:?}: {done:?}");
    Some(String::from_utf8(done.stdout).unwrap())
}
