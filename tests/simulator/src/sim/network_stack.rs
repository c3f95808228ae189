//! Datagrams and TCP connections in flight between the hosts' kernels.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;

use super::event::SimEvent;
use super::hosts::Hosts;
use super::invariants::bounds::Fill;
use super::invariants::secrecy;
use super::network::{HostId, VirtualNetwork};
use super::rng::Rng;
use super::runtime::SimRuntime;
use super::tcp::{
    Item, ProcessId, SEND_BUFFER, SocketId, SocketInput, StreamEnd, StreamId, Streams,
};
use super::trace::fingerprint;

/// Datagrams kept for replay.
const RECENT: usize = 64;
/// Datagrams with which a host is attacked at once.
const GARBAGE: usize = 40;
/// Milliseconds between retries of a lost SYN as on Linux, before the dial fails.
const SYN_AGAIN: [u64; 3] = [1_000, 2_000, 2_000];

/// A SYN that has reached a host with a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syn {
    pub(crate) dialler: SocketId,
    pub(crate) at: HostId,
    /// Address that the acceptor sees.
    pub(crate) from: SocketAddr,
    /// Delay of the answer.
    back: Duration,
}

/// The underlay, and everything in flight on it.
pub(crate) struct NetworkStack {
    underlay: VirtualNetwork,
    streams: Streams,
    /// Recent datagrams, for replay and damage.
    recent: Vec<Vec<u8>>,
    dialled: u16,
}

impl NetworkStack {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            underlay: VirtualNetwork::new(rng),
            streams: Streams::default(),
            recent: Vec::new(),
            dialled: 0,
        }
    }

    pub(crate) fn underlay(&self) -> &VirtualNetwork {
        &self.underlay
    }

    pub(crate) fn underlay_mut(&mut self) -> &mut VirtualNetwork {
        &mut self.underlay
    }

    /// Returns the bytes in flight on the fullest stream, and their bound.
    pub(crate) fn fill(&self) -> Fill {
        Fill {
            table: "bytes on one stream",
            used: self.streams.fullest(),
            bound: SEND_BUFFER
                + mesh_proto::limits::MAX_LINK_SEND_QUEUE
                + mesh_proto::limits::MAX_LINK_MESSAGE,
        }
    }

    // Datagrams

    /// Schedules the copies of a datagram that will arrive.
    pub(crate) fn send_datagram(
        &mut self,
        (from, to): (HostId, SocketAddr),
        bytes: &[u8],
        hosts: &Hosts,
        runtime: &mut SimRuntime,
    ) {
        self.remember(bytes, runtime.rng());
        let Some(receiver) = hosts.at(to) else {
            return;
        };
        let from_address = hosts[from].address();
        for (delay, bytes) in self.underlay.datagram(from, receiver, bytes) {
            let event = SimEvent::Datagram {
                from: from_address,
                to,
                bytes,
            };
            runtime.after(delay, event);
        }
    }

    fn remember(&mut self, datagram: &[u8], rng: &mut Rng) {
        if self.recent.len() < RECENT {
            self.recent.push(datagram.to_vec());
        } else if rng.chance(50) {
            let at = rng.below(RECENT);
            self.recent[at] = datagram.to_vec();
        }
    }

    /// Schedules random, damaged and replayed datagrams to an address.
    pub(crate) fn send_garbage(&self, to: SocketAddr, hosts: &Hosts, runtime: &mut SimRuntime) {
        for _ in 0..GARBAGE {
            let rng = runtime.rng();
            let mut bytes = if self.recent.is_empty() || rng.chance(300) {
                rng.bytes(0, 200)
            } else {
                let at = rng.below(self.recent.len());
                self.recent[at].clone()
            };
            // One in four is an unmodified replay.
            if !rng.chance(250) {
                rng.mutate(&mut bytes);
            }
            let neighbour = rng.below(hosts.len());
            let from = hosts[neighbour].address();
            let delay = rng.millis(0, 500);
            runtime.after(delay, SimEvent::Datagram { from, to, bytes });
        }
    }

    // Opening of connections

    /// Sends the first SYN of a connection.
    pub(crate) fn dial(
        &self,
        from: SocketId,
        to: &DialTo,
        hosts: &Hosts,
        runtime: &mut SimRuntime,
    ) {
        let to = match to {
            DialTo::Address(address) => Some(*address),
            DialTo::Name { host, .. } => hosts.resolve(host),
        };
        let Some(to) = to else {
            return fail(from, "no such host", Duration::ZERO, runtime);
        };
        let delay = runtime.rng().millis(10, 55);
        runtime.after(delay, SimEvent::Syn { from, to, tries: 0 });
    }

    /// Handles the arrival of a SYN. Returns it if a process may accept it; it may be lost, too, or refused.
    pub(crate) fn syn_arrives(
        &mut self,
        dialler: SocketId,
        to: SocketAddr,
        tries: usize,
        hosts: &Hosts,
        runtime: &mut SimRuntime,
    ) -> Option<Syn> {
        let host = dialler.process.host;
        if !hosts.is_current(dialler.process) {
            return None;
        }
        runtime.record(&[5, host as u64, dialler.conn.0]);
        let there = hosts.at(to).filter(|other| {
            let both =
                self.underlay.carries_tcp(host, *other) && self.underlay.carries_tcp(*other, host);
            both && hosts[*other].is_powered()
        });
        let Some(at) = there else {
            match SYN_AGAIN.get(tries) {
                Some(wait) => {
                    let (from, tries) = (dialler, tries + 1);
                    let wait = Duration::from_millis(*wait);
                    runtime.after(wait, SimEvent::Syn { from, to, tries });
                }
                None => fail(dialler, "connection timed out", Duration::ZERO, runtime),
            }
            return None;
        };
        let back = self.underlay.segment_delay(at, host);
        if !hosts[at].is_running() {
            fail(dialler, "connection refused", back, runtime);
            return None;
        }
        self.dialled = self.dialled.wrapping_add(1);
        let port = 32_768 + self.dialled % 28_000;
        let from = SocketAddr::new(hosts[host].address().ip(), port);
        Some(Syn {
            dialler,
            at,
            from,
            back,
        })
    }

    /// Opens a connection that a process has accepted.
    pub(crate) fn accepted(
        &mut self,
        syn: Syn,
        socket: SocketId,
        hosts: &Hosts,
        runtime: &mut SimRuntime,
    ) {
        let end = |socket, address| StreamEnd {
            socket,
            address,
            open: true,
        };
        let acceptor = end(socket, hosts[syn.at].address());
        let id = self.streams.insert(end(syn.dialler, syn.from), acceptor);
        self.push(id, 1, Item::Connected, runtime);
    }

    /// Resets a connection that a process has not accepted.
    pub(crate) fn not_accepted(&self, syn: Syn, runtime: &mut SimRuntime) {
        fail(syn.dialler, "connection reset by peer", syn.back, runtime);
    }

    // Transfer

    pub(crate) fn send(&mut self, from: SocketId, bytes: Vec<u8>, runtime: &mut SimRuntime) {
        let Some((id, side)) = self.streams.find(from) else {
            return;
        };
        let len = bytes.len();
        if let Some(stream) = self.streams.get_mut(id) {
            let check = secrecy::stream(&mut stream.directions[side].tail, &bytes);
            runtime.check(check);
        }
        let item = Item::Bytes {
            bytes,
            reported: false,
        };
        if self.push(id, side, item, runtime) {
            report_written(from, len, runtime);
        }
    }

    pub(crate) fn close(&mut self, socket: SocketId, runtime: &mut SimRuntime) {
        if let Some((id, side)) = self.streams.find(socket)
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.ends[side].open = false;
            self.push(id, side, Item::Closed, runtime);
        }
    }

    /// Closes the sockets of a dead process, as its kernel does.
    pub(crate) fn close_all(&mut self, process: ProcessId, runtime: &mut SimRuntime) {
        for socket in self.streams.sockets(process) {
            self.close(socket, runtime);
        }
    }

    /// Adds forged bytes to a stream towards a process.
    pub(crate) fn damage_stream(&mut self, process: ProcessId, runtime: &mut SimRuntime) {
        let sockets = self.streams.sockets(process);
        if sockets.is_empty() {
            return;
        }
        let socket = sockets[runtime.rng().below(sockets.len())];
        let Some((id, side)) = self.streams.find(socket) else {
            return;
        };
        let Some(is_open) = self.streams.get_mut(id).map(|s| s.ends[side].open) else {
            return;
        };
        let bytes = runtime.rng().bytes(1, 300);
        let item = Item::Bytes {
            bytes,
            reported: true,
        };
        if is_open {
            self.push(id, 1 - side, item, runtime);
        }
    }

    /// Puts an item in flight. Returns true if the kernel buffered it at once.
    fn push(&mut self, id: StreamId, side: usize, item: Item, runtime: &mut SimRuntime) -> bool {
        let Some(stream) = self.streams.get_mut(id) else {
            return true;
        };
        let [from, to] = [side, 1 - side].map(|side| stream.ends[side].socket.process.host);
        let due = runtime.now() + self.underlay.segment_delay(from, to);
        let direction = &mut stream.directions[side];
        let taken = direction.push(due, item);
        if !direction.busy {
            direction.busy = true;
            runtime.at(due, SimEvent::Stream(id, side));
        }
        taken
    }

    /// Delivers the next item of a direction, unless the underlay is cut or the receiver is gone. Returns the input of
    /// the process that receives it.
    pub(crate) fn item_arrives(
        &mut self,
        id: StreamId,
        side: usize,
        hosts: &Hosts,
        runtime: &mut SimRuntime,
    ) -> Option<(SocketId, SocketInput)> {
        let stream = self.streams.get_mut(id)?;
        let [from, to] = [side, 1 - side].map(|side| stream.ends[side].clone());
        let [from_host, to_host] = [&from, &to].map(|end| end.socket.process.host);
        if !self.underlay.carries_tcp(from_host, to_host) || !hosts[to_host].is_powered() {
            let again = runtime.rng().millis(200, 600);
            runtime.after(again, SimEvent::Stream(id, side));
            return None;
        }
        if !hosts.runs(to.socket.process) && to.open {
            // The host was restarted and does not know the connection.
            self.streams.remove(id);
            let delay = self.underlay.delay(to_host, from_host);
            fail(from.socket, "connection reset by peer", delay, runtime);
            return None;
        }
        let stream = self.streams.get_mut(id)?;
        let direction = &mut stream.directions[side];
        let most = if runtime.rng().chance(300) {
            1 + runtime.rng().below(200)
        } else {
            usize::MAX
        };
        let Some(item) = direction.pop(most) else {
            direction.busy = false;
            return None;
        };
        match direction.due() {
            Some(due) => runtime.at(due.max(runtime.now()), SimEvent::Stream(id, side)),
            None => direction.busy = false,
        }
        runtime.record(&[6, id, side as u64]);
        let is_told = to.open || item == Item::Connected;
        let input = self.input_of(item, &from, id, runtime);
        is_told.then_some((to.socket, input))
    }

    /// Returns the input that an item is for its receiver.
    fn input_of(
        &mut self,
        item: Item,
        from: &StreamEnd,
        id: StreamId,
        runtime: &mut SimRuntime,
    ) -> SocketInput {
        match item {
            Item::Connected => SocketInput::Connected(from.address),
            Item::Bytes { bytes, reported } => {
                if !reported {
                    report_written(from.socket, bytes.len(), runtime);
                }
                runtime.record(&[fingerprint(&bytes)]);
                SocketInput::Bytes(bytes)
            }
            Item::Closed => {
                self.streams.remove(id);
                SocketInput::Closed("connection closed")
            }
        }
    }
}

fn fail(socket: SocketId, error: &'static str, delay: Duration, runtime: &mut SimRuntime) {
    let input = SocketInput::Closed(error);
    runtime.after(delay, SimEvent::Socket(socket, input));
}

fn report_written(socket: SocketId, bytes: usize, runtime: &mut SimRuntime) {
    let input = SocketInput::Written(bytes);
    runtime.at(runtime.now(), SimEvent::Socket(socket, input));
}
