//! Datagrams and streams in flight.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_proto::wire::datagram::{HEADER_LEN, Header, Kind};

use super::frames::{MARKER, id_of};
use super::invariants::secrecy;
use super::network::HostId;
use super::fault::InjectedFault;
use super::stream::{StreamEnd, Item, StreamId};
use super::trace::fingerprint;
use super::world::{SimEvent, World};

/// Datagrams kept for replay.
const RECENT: usize = 64;
/// Milliseconds between retries of a lost SYN as on Linux, before the dial fails.
const SYN_AGAIN: [u64; 3] = [1_000, 2_000, 2_000];

impl World {
    // Datagrams

    pub(crate) fn send_datagram(&mut self, from: HostId, to: SocketAddr, bytes: &[u8]) {
        if self.plant(from, InjectedFault::BlackHole)
            && Header::parse(bytes).is_ok_and(|h| matches!(h.kind, Kind::Relay | Kind::Flood))
        {
            return;
        }
        self.watch_datagram(from, to, bytes);
        if self.plant(from, InjectedFault::CounterReuse) && bytes.len() > HEADER_LEN {
            let mut other = bytes.to_vec();
            other[HEADER_LEN] ^= 1;
            self.watch_datagram(from, to, &other);
        }
        if self.plant(from, InjectedFault::RelayTwice) && self.rng.chance(500) {
            let check = self.forwarded.sent(from, bytes);
            self.check(check);
        }
        if self.recent.len() < RECENT {
            self.recent.push(bytes.to_vec());
        } else if self.rng.chance(50) {
            let at = self.rng.below(RECENT);
            self.recent[at] = bytes.to_vec();
        }
        let Some(receiver) = self.host_at(to) else {
            return;
        };
        let source = self.hosts[from].address;
        for (delay, bytes) in self.network.datagram(from, receiver, bytes) {
            let event = SimEvent::Datagram {
                from: source,
                to,
                bytes,
            };
            self.queue.push(self.now + delay, event);
        }
    }

    fn watch_datagram(&mut self, from: HostId, to: SocketAddr, bytes: &[u8]) {
        self.check(secrecy::datagram(bytes));
        let check = self.nonces.sent(from, bytes);
        self.check(check);
        let check = self.forwarded.sent(from, bytes);
        self.check(check);
        let receiver = self.host_at(to).map(|h| self.hosts[h].state.identity.id());
        self.hops.sent(receiver, bytes);
    }

    pub(crate) fn datagram_arrives(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(host) = self.host_at(to) else { return };
        if self.hosts[host].process.is_none() {
            return;
        }
        let parts = [2, host as u64, fingerprint(&bytes)];
        self.trace.event(self.now, &parts);
        if self.plant(host, InjectedFault::PanicOnRunt) {
            assert!(bytes.len() >= HEADER_LEN, "fault");
        }
        let me = self.hosts[host].state.identity.id();
        self.hops.arrived(me, &bytes);
        let incarnation = self.hosts[host].incarnation;
        self.tell(host, incarnation, |p, now| p.datagram(from, bytes, now));
        self.hops.done();
    }

    /// Delivers a frame to the bridge of a host.
    pub(crate) fn inject(&mut self, host: HostId, mut frame: Vec<u8>) {
        if self.plant(host, InjectedFault::ChangedFrame)
            && let Some(last) = frame.last_mut()
        {
            *last ^= 1;
        }
        let twice = 1 + usize::from(self.plant(host, InjectedFault::DoubleDelivery));
        for _ in 0..twice {
            let incarnation = self.hosts[host].incarnation;
            let check = self
                .deliveries
                .injected(host, incarnation, &frame, &self.ledger);
            self.check(check);
        }
        let check = self.places.injected(host, &frame, &self.ledger);
        self.check(check);
        if let Some(id) = id_of(&frame) {
            self.hops.injected(id);
            self.trace.event(self.now, &[4, host as u64, id]);
            self.trace
                .line(self.now, format_args!("h{host}: frame {id} delivered"));
        }
    }

    // Streams

    pub(crate) fn begin_dial(&mut self, host: HostId, conn: ConnId, to: &DialTo) {
        let to = match to {
            DialTo::Address(address) => Some(*address),
            DialTo::Name { host, .. } => self.resolve(host),
        };
        let incarnation = self.hosts[host].incarnation;
        let Some(to) = to else {
            let error = "no such host";
            return self.fail((host, incarnation, conn), error, Duration::ZERO);
        };
        let event = SimEvent::Dial {
            host,
            incarnation,
            conn,
            to,
            tries: 0,
        };
        let delay = self.rng.millis(10, 55);
        self.queue.push(self.now + delay, event);
    }

    fn resolve(&self, name: &str) -> Option<SocketAddr> {
        let number: HostId = name.strip_prefix('h')?.parse().ok()?;
        Some(self.hosts.get(number)?.address)
    }

    fn fail(&mut self, end: (HostId, u64, ConnId), error: &'static str, delay: Duration) {
        let (host, incarnation, conn) = end;
        let event = SimEvent::Closed {
            host,
            incarnation,
            conn,
            error,
        };
        self.queue.push(self.now + delay, event);
    }

    /// Delivers a SYN, or loses it.
    pub(crate) fn dial(&mut self, end: (HostId, u64, ConnId), to: SocketAddr, tries: u32) {
        let (host, incarnation, conn) = end;
        if self.hosts[host].incarnation != incarnation {
            return;
        }
        self.trace.event(self.now, &[5, host as u64, conn.0]);
        let there = self.host_at(to).filter(|other| {
            let both =
                self.network.carries_tcp(host, *other) && self.network.carries_tcp(*other, host);
            both && self.hosts[*other].powered
        });
        let Some(other) = there else {
            let wait = SYN_AGAIN.get(tries as usize).copied();
            let Some(wait) = wait.map(Duration::from_millis) else {
                return self.fail(end, "connection timed out", Duration::ZERO);
            };
            let event = SimEvent::Dial {
                host,
                incarnation,
                conn,
                to,
                tries: tries + 1,
            };
            return self.queue.push(self.now + wait, event);
        };
        let back = self.network.segment_delay(other, host);
        if self.hosts[other].process.is_none() {
            return self.fail(end, "connection refused", back);
        }
        match self.accept(end, other) {
            Some(()) => {}
            None => self.fail(end, "connection reset by peer", back),
        }
    }

    fn accept(&mut self, dialler: (HostId, u64, ConnId), at: HostId) -> Option<()> {
        let (host, incarnation, conn) = dialler;
        self.dialled = self.dialled.wrapping_add(1);
        let port = 32_768 + self.dialled % 28_000;
        let from = SocketAddr::new(self.hosts[host].address.ip(), port);
        let now = self.now;
        let process = self.hosts[at].process.as_mut()?;
        let accepted = process.accepted(from, now)?;
        let end = |host, incarnation, conn, address| StreamEnd {
            host,
            incarnation,
            conn,
            address,
            open: true,
        };
        let acceptor = end(
            at,
            self.hosts[at].incarnation,
            accepted,
            self.hosts[at].address,
        );
        let id = self
            .streams
            .insert(end(host, incarnation, conn, from), acceptor);
        self.push(id, 1, Item::Connected);
        self.settle(at);
        Some(())
    }

    pub(crate) fn send(&mut self, host: HostId, conn: ConnId, bytes: Vec<u8>) {
        let incarnation = self.hosts[host].incarnation;
        let Some((id, side)) = self.streams.find(host, incarnation, conn) else {
            return;
        };
        let len = bytes.len();
        if let Some(stream) = self.streams.get_mut(id) {
            let check = secrecy::stream(&mut stream.directions[side].tail, &bytes);
            self.check(check);
        }
        let item = Item::Bytes {
            bytes,
            reported: false,
        };
        if self.push(id, side, item) {
            self.report_written(host, incarnation, conn, len);
        }
    }

    fn report_written(&mut self, host: HostId, incarnation: u64, conn: ConnId, bytes: usize) {
        let event = SimEvent::Written {
            host,
            incarnation,
            conn,
            bytes,
        };
        self.queue.push(self.now, event);
    }

    pub(crate) fn close(&mut self, host: HostId, conn: ConnId) {
        let incarnation = self.hosts[host].incarnation;
        if let Some((id, side)) = self.streams.find(host, incarnation, conn)
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.ends[side].open = false;
            self.push(id, side, Item::Closed);
        }
    }

    /// Puts an item in flight. Returns true if the kernel buffered it at once.
    fn push(&mut self, id: StreamId, side: usize, item: Item) -> bool {
        let Some(stream) = self.streams.get_mut(id) else {
            return true;
        };
        let (from, to) = (stream.ends[side].host, stream.ends[1 - side].host);
        let due = self.now + self.network.segment_delay(from, to);
        let direction = &mut stream.directions[side];
        let taken = direction.push(due, item);
        if !direction.busy {
            direction.busy = true;
            self.queue.push(due, SimEvent::Stream(id, side));
        }
        taken
    }

    /// Delivers the next item of a direction, unless the underlay is cut or the receiver is gone.
    pub(crate) fn stream_arrives(&mut self, id: StreamId, side: usize) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let (from, to) = (stream.ends[side].clone(), stream.ends[1 - side].clone());
        if !self.network.carries_tcp(from.host, to.host) || !self.hosts[to.host].powered {
            let again = self.now + self.rng.millis(200, 600);
            return self.queue.push(again, SimEvent::Stream(id, side));
        }
        let receiver = &self.hosts[to.host];
        let gone = receiver.incarnation != to.incarnation || receiver.process.is_none();
        if gone && to.open {
            // The host was restarted and does not know the connection.
            self.streams.remove(id);
            let delay = self.network.delay(to.host, from.host);
            let end = (from.host, from.incarnation, from.conn);
            return self.fail(end, "connection reset by peer", delay);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let direction = &mut stream.directions[side];
        let most = if self.rng.chance(300) {
            1 + self.rng.below(200)
        } else {
            usize::MAX
        };
        let Some(item) = direction.pop(most) else {
            direction.busy = false;
            return;
        };
        match direction.due() {
            Some(due) => self.queue.push(due.max(self.now), SimEvent::Stream(id, side)),
            None => direction.busy = false,
        }
        self.deliver(id, side, &from, &to, item);
    }

    fn deliver(&mut self, id: StreamId, side: usize, from: &StreamEnd, to: &StreamEnd, item: Item) {
        let parts = [6, id, side as u64];
        self.trace.event(self.now, &parts);
        let address = from.address;
        match item {
            Item::Connected => {
                self.tell(to.host, to.incarnation, |p, now| {
                    p.connected(to.conn, address, now);
                });
            }
            Item::Bytes { bytes, reported } => {
                if !reported {
                    self.report_written(from.host, from.incarnation, from.conn, bytes.len());
                }
                self.trace.event(self.now, &[fingerprint(&bytes)]);
                if to.open {
                    self.tell(to.host, to.incarnation, |p, now| {
                        p.bytes(to.conn, &bytes, now);
                    });
                }
            }
            Item::Closed => {
                self.streams.remove(id);
                if to.open {
                    self.tell(to.host, to.incarnation, |p, now| {
                        p.closed(to.conn, "connection closed", now);
                    });
                }
            }
        }
    }

    /// Adds forged bytes to a direction.
    pub(crate) fn inject_bytes(&mut self, id: StreamId, side: usize, item: Item) {
        self.push(id, side, item);
    }

    /// Sends a frame in clear text, for the injected fault.
    pub(crate) fn leak(&mut self, host: HostId, frame: &[u8]) {
        debug_assert!(frame.windows(MARKER.len()).any(|w| w == MARKER));
        let to = SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 9);
        self.watch_datagram(host, to, frame);
    }
}
