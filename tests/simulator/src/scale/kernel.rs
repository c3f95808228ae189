//! Kernel of a host: its ends of connections, the datagrams and segments that it sends, and their bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_proto::limits::DIAL_AGAIN;
use mesh_proto::time::Instant;

use super::bytes::{Bytes, segments};
use super::event::{Around, EndKey, HostEvent, HostEventKind};
use super::tcp::{ConnectionId, Segment, TcpEnd};
use super::underlay::{LONGEST, address, host_at};
use crate::sim::network::HostId;
use crate::sim::rng::Rng;

/// Delays of SYN retransmissions: the shell dials a second time after 300 ms, and Linux retransmits each of the two
/// after 1 s and 3 s. The shell gives up 5 s after it began.
const SYN_AGAIN: [Duration; 5] = [
    DIAL_AGAIN,
    Duration::from_millis(700),
    DIAL_AGAIN,
    Duration::from_millis(1_700),
    DIAL_AGAIN,
];
const PATIENCE: Duration = Duration::from_millis(1_700);

/// Input of the process about one of its connections.
#[derive(Debug)]
pub(crate) enum ConnInput {
    Connected(SocketAddr),
    Bytes(Box<[u8]>),
    Closed(&'static str),
}

/// State of a host's kernel.
pub(crate) struct NodeKernel {
    id: HostId,
    rng: Rng,
    sent: Bytes,
    /// Start of the process; earlier ones do not get inputs any more.
    incarnation: u64,
    ends: BTreeMap<EndKey, TcpEnd>,
    by_conn: BTreeMap<ConnId, EndKey>,
    numbered: u64,
    dialled: u64,
}

impl NodeKernel {
    pub(crate) fn new(id: HostId, rng: Rng) -> Self {
        Self {
            id,
            rng,
            sent: Bytes::default(),
            incarnation: 0,
            ends: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            numbered: 0,
            dialled: 0,
        }
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn rng(&self) -> &Rng {
        &self.rng
    }

    pub(crate) fn rng_mut(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Returns the bytes sent so far.
    pub(crate) fn sent(&self) -> &Bytes {
        &self.sent
    }

    /// Returns the hosts to which an open connection leads, one for each connection.
    pub(crate) fn connected_to(&self) -> impl Iterator<Item = HostId> {
        let open = self.ends.values().filter(|end| end.open);
        open.map(|end| end.other)
    }

    // Processes

    /// Counts the start of a process.
    pub(crate) fn process_started(&mut self) {
        self.incarnation += 1;
    }

    /// Closes the connections of a dead process.
    pub(crate) fn close_all(&mut self, around: &mut Around<'_>) {
        for key in self.ends.keys().copied().collect::<Vec<_>>() {
            self.push(key, Segment::Fin, around);
        }
        self.forget_all();
    }

    /// Forgets all connections without notice to the other ends.
    pub(crate) fn forget_all(&mut self) {
        self.incarnation += 1;
        self.ends.clear();
        self.by_conn.clear();
    }

    // Events

    /// Schedules an event of this host.
    pub(crate) fn later(&mut self, at: Instant, what: HostEventKind, around: &mut Around<'_>) {
        self.send_at(at, self.id, what, around);
    }

    fn send_at(&mut self, at: Instant, to: HostId, what: HostEventKind, around: &mut Around<'_>) {
        self.numbered += 1;
        around.out.push(HostEvent {
            at,
            from: self.id,
            number: self.numbered,
            to,
            what,
        });
    }

    // Datagrams

    pub(crate) fn send_datagram(
        &mut self,
        to: SocketAddr,
        bytes: Vec<u8>,
        around: &mut Around<'_>,
    ) {
        // The host's kernel rejects it, so no byte is sent.
        if bytes.len() > LONGEST {
            return;
        }
        self.sent.datagram(&bytes);
        let Some(to) = host_at(to, around.hosts) else {
            return;
        };
        if around.underlay.carries(self.id, to) && !self.rng.chance(around.underlay.loss) {
            let delay = around.underlay.delay(self.id, to, &mut self.rng);
            let what = HostEventKind::Datagram(bytes);
            self.send_at(around.now + delay, to, what, around);
        }
    }

    // Opening

    pub(crate) fn dial(&mut self, conn: ConnId, to: &DialTo, around: &mut Around<'_>) {
        let to = match to {
            DialTo::Address(address) => Some(*address),
            DialTo::Name { host, port } => {
                let ip = host.parse().ok();
                ip.map(|ip| SocketAddr::new(ip, *port))
            }
        };
        let Some(other) = to.and_then(|to| host_at(to, around.hosts)) else {
            return self.fail(conn, "no route to host", Duration::from_millis(1), around);
        };
        self.dialled += 1;
        let connection = ConnectionId {
            dialler: self.id,
            number: self.dialled,
        };
        let key = (connection, true);
        self.ends.insert(key, TcpEnd::new(connection, other, conn));
        self.by_conn.insert(conn, key);
        self.syn(connection, 0, around);
    }

    /// Sends a SYN, unless it was answered.
    pub(crate) fn syn(&mut self, connection: ConnectionId, tries: usize, around: &mut Around<'_>) {
        let key = (connection, true);
        let Some(end) = self.ends.get(&key).filter(|end| !end.open) else {
            return;
        };
        let (conn, other) = (end.conn, end.other);
        if tries > SYN_AGAIN.len() {
            return self.fail(conn, "connection timed out", Duration::ZERO, around);
        }
        self.sent.first_segment();
        if around.underlay.carries(self.id, other) && !self.rng.chance(around.underlay.loss) {
            self.push(key, Segment::Syn, around);
        }
        let wait = SYN_AGAIN.get(tries).copied().unwrap_or(PATIENCE);
        let again = HostEventKind::SynAgain(connection, tries + 1);
        self.later(around.now + wait, again, around);
    }

    fn fail(
        &mut self,
        conn: ConnId,
        error: &'static str,
        after: Duration,
        around: &mut Around<'_>,
    ) {
        let what = HostEventKind::Failed {
            incarnation: self.incarnation,
            conn,
            error,
        };
        self.later(around.now + after, what, around);
    }

    /// Forgets a connection that failed or was reset.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        if let Some(key) = self.by_conn.remove(&conn) {
            self.ends.remove(&key);
        }
    }

    /// Handles a SYN. Returns the address of the dialler, if the process must be asked; a repeated SYN is answered.
    pub(crate) fn syn_arrives(
        &mut self,
        connection: ConnectionId,
        around: &mut Around<'_>,
    ) -> Option<SocketAddr> {
        let key = (connection, false);
        if self.ends.contains_key(&key) {
            self.push(key, Segment::SynAck, around);
            return None;
        }
        let port = 32_768 + u16::try_from(connection.number % 28_000).unwrap_or(0);
        Some(SocketAddr::new(address(connection.dialler).ip(), port))
    }

    /// Opens a connection that the process has accepted, or resets it.
    pub(crate) fn accepted(
        &mut self,
        connection: ConnectionId,
        conn: Option<ConnId>,
        around: &mut Around<'_>,
    ) {
        let key = (connection, false);
        let Some(conn) = conn else {
            return self.reset(key, around);
        };
        let mut end = TcpEnd::new(connection, connection.dialler, conn);
        end.open = true;
        self.ends.insert(key, end);
        self.by_conn.insert(conn, key);
        self.sent.first_segment();
        self.push(key, Segment::SynAck, around);
    }

    /// Tells the other end that this host does not know the connection.
    fn reset(&mut self, (connection, was_dialler): EndKey, around: &mut Around<'_>) {
        // A dialler's host does not know the acceptor any more; the acceptor notices when it writes.
        if was_dialler {
            return;
        }
        let other = connection.dialler;
        self.sent.last_segment();
        if around.underlay.carries(self.id, other) {
            let delay = around.underlay.delay(self.id, other, &mut self.rng);
            let what = HostEventKind::Segment {
                connection,
                to_dialler: true,
                segment: Segment::Rst,
            };
            self.send_at(around.now + delay, other, what, around);
        }
    }

    // Transfer

    /// Handles a segment other than a SYN. Returns the input of the process.
    pub(crate) fn segment_arrives(
        &mut self,
        key: EndKey,
        segment: Segment,
        around: &mut Around<'_>,
    ) -> Option<(ConnId, ConnInput)> {
        let Some(end) = self.ends.get_mut(&key) else {
            if matches!(segment, Segment::Data(_) | Segment::SynAck) {
                self.reset(key, around);
            }
            return None;
        };
        let conn = end.conn;
        let input = match segment {
            Segment::Syn => return None,
            Segment::SynAck if end.open => return None,
            Segment::SynAck => {
                end.open = true;
                ConnInput::Connected(address(end.other))
            }
            Segment::Data(bytes) => {
                let acknowledged = end.arrived(segments(bytes.len()), around.now);
                self.sent.acknowledged(acknowledged);
                ConnInput::Bytes(bytes)
            }
            Segment::Fin => ConnInput::Closed("connection closed"),
            Segment::Rst => ConnInput::Closed("connection reset by peer"),
        };
        if matches!(input, ConnInput::Closed(_)) {
            self.forget(conn);
        }
        Some((conn, input))
    }

    /// Writes to a connection. Returns true if the kernel buffered the bytes at once; otherwise the process is told when
    /// they are written.
    pub(crate) fn write(&mut self, conn: ConnId, bytes: Vec<u8>, around: &mut Around<'_>) -> bool {
        let Some(key) = self.by_conn.get(&conn).copied() else {
            return false;
        };
        let Some(end) = self.ends.get_mut(&key) else {
            return false;
        };
        let len = bytes.len();
        let alone = end.rides(around.now);
        let trip = around.underlay.latency(self.id, end.other) * 2;
        let taken = end.takes(len, around.now + trip, around.now);
        self.sent.acknowledged(alone);
        self.push(key, Segment::Data(bytes.into()), around);
        if !taken {
            let what = HostEventKind::Written {
                incarnation: self.incarnation,
                conn,
                bytes: len,
            };
            self.later(around.now + trip, what, around);
        }
        taken
    }

    pub(crate) fn close(&mut self, conn: ConnId, around: &mut Around<'_>) {
        if let Some(key) = self.by_conn.remove(&conn) {
            self.push(key, Segment::Fin, around);
            self.ends.remove(&key);
        }
    }

    /// Sends a segment, after all earlier ones; segments queue while the underlay is cut.
    fn push(&mut self, key: EndKey, segment: Segment, around: &mut Around<'_>) {
        let Some(end) = self.ends.get_mut(&key) else {
            return;
        };
        let first = !matches!(segment, Segment::Syn);
        if first && (!end.stalled.is_empty() || !around.underlay.carries(self.id, end.other)) {
            end.stalled.push_back(segment);
            if end.stalled.len() == 1 {
                let wait = end.next_retry();
                self.later(around.now + wait, HostEventKind::Retry(key), around);
            }
            return;
        }
        let (connection, other) = (end.connection, end.other);
        let len = match &segment {
            Segment::Data(bytes) => bytes.len(),
            _ => 0,
        };
        let pieces = segments(len).max(1);
        let path = (self.id, other);
        let (delay, lost) = around.underlay.stream_delay(path, pieces, &mut self.rng);
        match &segment {
            Segment::Data(_) => self.sent.written(len, lost),
            Segment::Fin => self.sent.last_segment(),
            _ => {}
        }
        let due = end.in_order(around.now + delay);
        let what = HostEventKind::Segment {
            connection,
            to_dialler: !key.1,
            segment,
        };
        self.send_at(due, other, what, around);
    }

    /// Sends stalled segments, if the underlay works again.
    pub(crate) fn retry(&mut self, key: EndKey, around: &mut Around<'_>) {
        let Some(end) = self.ends.get_mut(&key) else {
            return;
        };
        if !around.underlay.carries(self.id, end.other) {
            let wait = end.next_retry();
            return self.later(around.now + wait, HostEventKind::Retry(key), around);
        }
        end.unstalled();
        for segment in std::mem::take(&mut end.stalled) {
            self.push(key, segment, around);
        }
    }
}
