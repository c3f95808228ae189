//! TCP as routers see it: ordered bytes, split at random boundaries, delayed by a cut underlay, never lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;

use super::network::HostId;

/// Number of a TCP connection in the run.
pub(crate) type StreamId = u64;

/// Bytes that the sending kernel buffers before the router must wait.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;

/// One start of the process of a host; later starts do not know its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId {
    pub(crate) host: HostId,
    pub(crate) incarnation: u64,
}

/// Socket of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketId {
    pub(crate) process: ProcessId,
    pub(crate) conn: ConnId,
}

/// Input of a process from its kernel, about one of its sockets.
#[derive(Debug)]
pub(crate) enum SocketInput {
    Connected(SocketAddr),
    Bytes(Vec<u8>),
    /// As many bytes are written.
    Written(usize),
    /// A dial failed, or the connection ended.
    Closed(&'static str),
}

/// One end of a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamEnd {
    pub(crate) socket: SocketId,
    pub(crate) address: SocketAddr,
    /// True while the process holds its socket.
    pub(crate) open: bool,
}

/// Item in flight in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The connection is established.
    Connected,
    /// Data; `reported` once the sender was told that it is written.
    Bytes { bytes: Vec<u8>, reported: bool },
    /// The other end closed its socket.
    Closed,
}

#[derive(Debug, Default)]
pub(crate) struct StreamDirection {
    items: VecDeque<(Instant, Item)>,
    last: Instant,
    /// True if a delivery is scheduled.
    pub(crate) busy: bool,
    /// Bytes in flight.
    pub(crate) buffered: usize,
    /// The last bytes written, to find patterns across two writes.
    pub(crate) tail: Vec<u8>,
}

impl StreamDirection {
    /// Adds an item that arrives at `due`, or after all earlier ones. Returns true if the kernel buffered it at once.
    pub(crate) fn push(&mut self, due: Instant, mut item: Item) -> bool {
        let mut taken = true;
        if let Item::Bytes { bytes, reported } = &mut item {
            self.buffered += bytes.len();
            taken = self.buffered <= SEND_BUFFER;
            *reported = taken;
        }
        self.last = self.last.max(due);
        self.items.push_back((self.last, item));
        taken
    }

    /// Returns the time at which the next item is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.items.front().map(|(due, _)| *due)
    }

    /// Takes the next item; of data at most `most` bytes.
    pub(crate) fn pop(&mut self, most: usize) -> Option<Item> {
        let (due, item) = self.items.pop_front()?;
        let Item::Bytes {
            mut bytes,
            reported,
        } = item
        else {
            return Some(item);
        };
        let taken = bytes.len().min(most.max(1));
        let rest = bytes.split_off(taken);
        if !rest.is_empty() {
            let item = Item::Bytes {
                bytes: rest,
                reported,
            };
            self.items.push_front((due, item));
        }
        self.buffered -= bytes.len();
        Some(Item::Bytes { bytes, reported })
    }
}

/// A stream between two hosts; direction 0 goes from end 0 (the dialler) to end 1.
#[derive(Debug)]
pub(crate) struct TcpConnection {
    pub(crate) ends: [StreamEnd; 2],
    pub(crate) directions: [StreamDirection; 2],
}

/// All streams of a run.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: BTreeMap<StreamId, TcpConnection>,
    by_end: BTreeMap<SocketId, (StreamId, usize)>,
    made: u64,
}

impl Streams {
    pub(crate) fn insert(&mut self, dialler: StreamEnd, acceptor: StreamEnd) -> StreamId {
        let id = self.made;
        self.made += 1;
        for (side, end) in [&dialler, &acceptor].into_iter().enumerate() {
            self.by_end.insert(end.socket, (id, side));
        }
        let stream = TcpConnection {
            ends: [dialler, acceptor],
            directions: Default::default(),
        };
        self.streams.insert(id, stream);
        id
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut TcpConnection> {
        self.streams.get_mut(&id)
    }

    /// Returns the stream and side of a socket.
    pub(crate) fn find(&self, socket: SocketId) -> Option<(StreamId, usize)> {
        self.by_end.get(&socket).copied()
    }

    /// Returns the sockets of a process.
    pub(crate) fn sockets(&self, process: ProcessId) -> Vec<SocketId> {
        let [first, last] = [0, u64::MAX].map(|conn| SocketId {
            process,
            conn: ConnId(conn),
        });
        let sockets = self.by_end.range(first..=last);
        sockets.map(|(socket, _)| *socket).collect()
    }

    pub(crate) fn remove(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            for end in &stream.ends {
                self.by_end.remove(&end.socket);
            }
        }
    }

    /// Returns the largest number of bytes in flight in one direction of a stream.
    pub(crate) fn fullest(&self) -> usize {
        let directions = self.streams.values().flat_map(|s| &s.directions);
        directions.map(|d| d.buffered).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> Item {
        Item::Bytes {
            bytes: text.to_vec(),
            reported: false,
        }
    }

    #[test]
    fn order_survives_jitter_and_cutting() {
        let at = Instant::from_nanos;
        let mut direction = StreamDirection::default();
        direction.push(at(9), bytes(b"hello "));
        direction.push(at(3), bytes(b"world"));
        direction.push(at(4), Item::Closed);
        let mut got = Vec::new();
        let mut last = Instant::ZERO;
        loop {
            let due = direction.due().unwrap();
            assert!(due >= last);
            last = due;
            match direction.pop(4).unwrap() {
                Item::Bytes { bytes, .. } => got.extend(bytes),
                Item::Closed => break,
                Item::Connected => panic!("never sent"),
            }
        }
        assert_eq!(got, b"hello world");
        assert_eq!(direction.buffered, 0);
    }

    #[test]
    fn a_full_send_buffer_makes_the_sender_wait() {
        let mut direction = StreamDirection::default();
        assert!(direction.push(Instant::ZERO, bytes(&[0; SEND_BUFFER])));
        assert!(!direction.push(Instant::ZERO, bytes(b"x")));
    }
}
