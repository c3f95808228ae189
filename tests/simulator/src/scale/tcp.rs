//! One end of a TCP connection in its host's kernel: bytes in order, late after loss, stalled by a cut.

use std::collections::VecDeque;
use std::time::Duration;

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;

use crate::sim::network::HostId;

/// Bytes that the kernel buffers before the router must wait.
const SEND_BUFFER: usize = 64 * 1024;
/// Delayed-acknowledgement timeout.
const DELAYED_ACK: Duration = Duration::from_millis(40);
const FIRST_RETRY: Duration = Duration::from_millis(300);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Identity of a connection: the dialler, and the number of its dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId {
    pub(crate) dialler: HostId,
    pub(crate) number: u64,
}

/// Segment between two kernels.
#[derive(Debug)]
pub(crate) enum Segment {
    Syn,
    SynAck,
    /// A boxed slice without spare capacity: data in flight takes much of a run's memory.
    Data(Box<[u8]>),
    Fin,
    Rst,
}

/// State of one end.
#[derive(Debug)]
pub(crate) struct TcpEnd {
    pub(crate) connection: ConnectionId,
    pub(crate) other: HostId,
    pub(crate) conn: ConnId,
    /// True if data may be sent.
    pub(crate) open: bool,
    /// Segments that wait for the underlay to work again.
    pub(crate) stalled: VecDeque<Segment>,
    pub(crate) retry: Duration,
    /// Arrival time of the last segment, before which no later one may arrive.
    last: Instant,
    /// Bytes in flight, each with the arrival time of its acknowledgement.
    unacknowledged: VecDeque<(Instant, usize)>,
    in_flight: usize,
    /// Time at which an acknowledgement must be sent, if no data carries it before.
    owed: Option<Instant>,
}

impl TcpEnd {
    pub(crate) fn new(connection: ConnectionId, other: HostId, conn: ConnId) -> Self {
        Self {
            connection,
            other,
            conn,
            open: false,
            stalled: VecDeque::new(),
            retry: FIRST_RETRY,
            last: Instant::ZERO,
            unacknowledged: VecDeque::new(),
            in_flight: 0,
            owed: None,
        }
    }

    /// Returns the arrival time of a segment that would arrive at `due` alone.
    pub(crate) fn in_order(&mut self, due: Instant) -> Instant {
        self.last = self.last.max(due);
        self.last
    }

    /// Sends data that is acknowledged at `back`. Returns true if the kernel buffered it at once.
    pub(crate) fn takes(&mut self, bytes: usize, back: Instant, now: Instant) -> bool {
        while let Some((at, bytes)) = self.unacknowledged.front().copied() {
            if at > now {
                break;
            }
            self.in_flight = self.in_flight.saturating_sub(bytes);
            self.unacknowledged.pop_front();
        }
        self.in_flight += bytes;
        self.unacknowledged.push_back((back, bytes));
        self.in_flight <= SEND_BUFFER
    }

    /// Sends data, which carries an acknowledgement that is due. Returns the number of bare ones sent before.
    pub(crate) fn rides(&mut self, now: Instant) -> u64 {
        u64::from(self.owed.take().is_some_and(|at| at < now))
    }

    /// Receives segments. Returns the number of bare acknowledgements so far: one per two full segments, and one for
    /// the rest unless data goes back within 40 ms.
    pub(crate) fn arrived(&mut self, segments: usize, now: Instant) -> u64 {
        let late = self.rides(now);
        self.owed = Some(now + DELAYED_ACK);
        late + (segments as u64).saturating_sub(1).div_ceil(2)
    }

    /// Returns the delay before the next attempt to send stalled segments.
    pub(crate) fn next_retry(&mut self) -> Duration {
        let wait = self.retry;
        self.retry = (wait * 2).min(LAST_RETRY);
        wait
    }

    pub(crate) fn unstalled(&mut self) {
        self.retry = FIRST_RETRY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> TcpEnd {
        let connection = ConnectionId {
            dialler: 0,
            number: 1,
        };
        TcpEnd::new(connection, 1, ConnId(1))
    }

    #[test]
    fn nothing_overtakes() {
        let at = Instant::from_nanos;
        let mut end = end();
        assert_eq!(end.in_order(at(9)), at(9));
        assert_eq!(end.in_order(at(3)), at(9));
        assert_eq!(end.in_order(at(12)), at(12));
    }

    #[test]
    fn a_full_buffer_waits_for_acknowledgements() {
        let at = Instant::from_nanos;
        let mut end = end();
        assert!(end.takes(SEND_BUFFER, at(5), at(0)));
        assert!(!end.takes(1, at(6), at(1)));
        assert!(end.takes(SEND_BUFFER - 1, at(9), at(5)));
    }

    #[test]
    fn acknowledgements_ride_when_they_can() {
        let ms = |n| Instant::ZERO + Duration::from_millis(n);
        let mut end = end();
        assert_eq!(end.arrived(1, ms(0)), 0);
        assert_eq!(end.rides(ms(40)), 0, "in time");
        assert_eq!(end.arrived(3, ms(50)), 1);
        assert_eq!(end.arrived(1, ms(100)), 1, "the one of before");
        assert_eq!(end.rides(ms(200)), 1);
        assert_eq!(end.rides(ms(300)), 0);
    }
}
