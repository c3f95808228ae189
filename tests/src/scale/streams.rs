//! Connections in a host's kernel: opening, transfer, closing.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_proto::limits::DIAL_AGAIN;

use super::bytes::segments;
use super::node::{Around, EndKey, Node, HostEventKind};
use super::tcp::{TcpEnd, Segment, ConnectionId};
use super::underlay::{address, host_at};
use crate::sim::network::HostId;

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

impl Node {
    // Opening

    pub(super) fn dial(&mut self, conn: ConnId, to: &DialTo, around: &mut Around<'_>) {
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
        let stream = ConnectionId {
            dialler: self.id,
            number: self.dialled,
        };
        let key = (stream, true);
        self.ends.insert(key, TcpEnd::new(stream, other, conn));
        self.by_conn.insert(conn, key);
        self.syn(stream, 0, around);
    }

    pub(super) fn syn(&mut self, stream: ConnectionId, tries: usize, around: &mut Around<'_>) {
        let key = (stream, true);
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
        self.later(around.now + wait, HostEventKind::SynAgain(stream, tries + 1), around);
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

    // Arriving

    pub(super) fn segment(&mut self, key: EndKey, segment: Segment, around: &mut Around<'_>) {
        let incarnation = self.incarnation;
        if let Segment::Syn = segment {
            return self.accept(key, around);
        }
        let Some(end) = self.ends.get_mut(&key) else {
            if matches!(segment, Segment::Data(_) | Segment::SynAck) {
                self.reset(key, around);
            }
            return;
        };
        let conn = end.conn;
        match segment {
            Segment::Syn => {}
            Segment::SynAck => {
                if end.open {
                    return;
                }
                end.open = true;
                let to = address(end.other);
                self.tell(incarnation, around, |r, now| r.connected(conn, to, now));
            }
            Segment::Data(bytes) => {
                let acknowledged = end.arrived(segments(bytes.len()), around.now);
                self.sent.acknowledged(acknowledged);
                self.tell(incarnation, around, |r, now| r.bytes(conn, &bytes, now));
            }
            Segment::Fin | Segment::Rst => {
                let error = match segment {
                    Segment::Fin => "connection closed",
                    _ => "connection reset by peer",
                };
                self.ends.remove(&key);
                self.by_conn.remove(&conn);
                self.tell(incarnation, around, |r, now| r.closed(conn, error, now));
            }
        }
    }

    fn accept(&mut self, (stream, _): EndKey, around: &mut Around<'_>) {
        let key = (stream, false);
        if self.ends.contains_key(&key) {
            return self.push(key, Segment::SynAck, around);
        }
        let port = 32_768 + u16::try_from(stream.number % 28_000).unwrap_or(0);
        let from = SocketAddr::new(address(stream.dialler).ip(), port);
        let now = around.now;
        let accepted = self.process().and_then(|p| p.accepted(from, now));
        let Some(conn) = accepted else {
            return self.reset(key, around);
        };
        let mut end = TcpEnd::new(stream, stream.dialler, conn);
        end.open = true;
        self.ends.insert(key, end);
        self.by_conn.insert(conn, key);
        self.sent.first_segment();
        self.push(key, Segment::SynAck, around);
        // Carries out what the router wants to send at once.
        self.tell(self.incarnation, around, |_, _| {});
    }

    /// Tells the other end that this host does not know the connection.
    fn reset(&mut self, (stream, was_dialler): EndKey, around: &mut Around<'_>) {
        let other = if was_dialler {
            None
        } else {
            Some(stream.dialler)
        };
        // A dialler's host does not know the acceptor any more; the acceptor notices when it writes.
        let Some(other) = other else { return };
        self.sent.last_segment();
        if around.underlay.carries(self.id, other) {
            let delay = around.underlay.delay(self.id, other, &mut self.rng);
            let what = HostEventKind::Segment {
                stream,
                to_dialler: true,
                segment: Segment::Rst,
            };
            self.send_at(around.now + delay, other, what, around);
        }
    }

    // Leaving

    pub(super) fn write(&mut self, conn: ConnId, bytes: Vec<u8>, around: &mut Around<'_>) {
        let Some(key) = self.by_conn.get(&conn).copied() else {
            return;
        };
        let Some(end) = self.ends.get_mut(&key) else {
            return;
        };
        let len = bytes.len();
        let alone = end.rides(around.now);
        let trip = around.underlay.latency(self.id, end.other) * 2;
        let taken = end.takes(len, around.now + trip, around.now);
        self.sent.acknowledged(alone);
        self.push(key, Segment::Data(bytes.into()), around);
        if taken {
            let now = around.now;
            if let Some(process) = self.process() {
                process.written(conn, len, now);
            }
            return;
        }
        let what = HostEventKind::Written {
            incarnation: self.incarnation,
            conn,
            bytes: len,
        };
        self.later(around.now + trip, what, around);
    }

    pub(super) fn close(&mut self, conn: ConnId, around: &mut Around<'_>) {
        if let Some(key) = self.by_conn.remove(&conn) {
            self.push(key, Segment::Fin, around);
            self.ends.remove(&key);
        }
    }

    /// Sends a segment, after all earlier ones; segments queue while the underlay is cut.
    pub(super) fn push(&mut self, key: EndKey, segment: Segment, around: &mut Around<'_>) {
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
        let (stream, other) = (end.stream, end.other);
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
            stream,
            to_dialler: !key.1,
            segment,
        };
        self.send_at(due, other, what, around);
    }

    pub(super) fn retry(&mut self, key: EndKey, around: &mut Around<'_>) {
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

    /// Resets the connections to another host at both ends, like a middlebox.
    pub(crate) fn cut_off(&mut self, other: HostId, around: &mut Around<'_>) {
        let ends = self.ends.iter().filter(|(_, end)| end.other == other);
        let gone: Vec<(EndKey, ConnId)> = ends.map(|(key, end)| (*key, end.conn)).collect();
        for (key, conn) in gone {
            self.ends.remove(&key);
            self.by_conn.remove(&conn);
            let error = "connection reset by peer";
            self.tell(self.incarnation, around, |r, now| {
                r.closed(conn, error, now);
            });
        }
    }
}
