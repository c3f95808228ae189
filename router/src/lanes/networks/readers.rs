//! Ports of networks as one egress lane reads them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_proto::forward::Forwarder;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_sys::SysError;
use mesh_sys::port::{FrameBatch, FrameReader, Poller, Waker};

use super::super::losses::{self, grown};
use super::NetworkPorts;

/// Tokens of descriptors other than those of networks' ports, whose numbers begin at 2.
const MAIN: u64 = 0;
const WAKER: u64 = 1;
/// First number of a port.
pub(super) const FIRST_PORT: u64 = 2;

/// Reading half of a port, on its way to a lane.
pub(super) struct ReadingPort {
    /// Number that no other port of this router has or had.
    pub(super) number: u64,
    pub(super) network: NetworkId,
    reader: Mutex<Option<Box<dyn FrameReader>>>,
}

impl ReadingPort {
    pub(super) fn new(number: u64, network: NetworkId, reader: Box<dyn FrameReader>) -> Self {
        Self {
            number,
            network,
            reader: Mutex::new(Some(reader)),
        }
    }

    fn take(&self) -> Option<Box<dyn FrameReader>> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.take()
    }
}

/// Ports that one lane is to read, and the means to tell it.
pub(super) struct LaneInbox {
    ports: ArcSwap<Vec<Arc<ReadingPort>>>,
    changes: AtomicU64,
    waker: Waker,
}

impl LaneInbox {
    pub(super) fn new() -> Result<Self, SysError> {
        Ok(Self {
            ports: ArcSwap::default(),
            changes: AtomicU64::new(0),
            waker: Waker::new()?,
        })
    }

    /// Replaces the list, and wakes the lane.
    pub(super) fn set(&self, ports: Vec<Arc<ReadingPort>>) {
        self.ports.store(Arc::new(ports));
        // Counted last: a lane that sees the change finds the wake-up given, and takes it.
        self.waker.wake();
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// Port that has frames, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadyPort {
    /// The main port.
    Main,
    /// The port of a network, by its number.
    Network(u64),
}

/// Ports of networks that one egress lane reads.
pub(crate) struct LaneReaders {
    ports: NetworkPorts,
    inbox: Arc<LaneInbox>,
    seen: u64,
    open: BTreeMap<u64, NetworkReader>,
    /// `None` while it must be made, since ports changed that it cannot forget.
    poller: Option<Poller>,
    tokens: Vec<u64>,
    next_count: Instant,
}

struct NetworkReader {
    network: NetworkId,
    reader: Box<dyn FrameReader>,
    /// True if it had frames since its losses were counted. Frames are lost only behind others.
    active: bool,
    /// Frames that it had lost when that was counted last.
    dropped: u64,
}

impl LaneReaders {
    pub(crate) fn new(ports: NetworkPorts, lane: usize) -> Self {
        Self {
            inbox: ports.inbox(lane),
            ports,
            seen: 0,
            open: BTreeMap::new(),
            poller: None,
            tokens: Vec::new(),
            next_count: Instant::ZERO,
        }
    }

    /// Takes over new ports and drops closed ones, if there are any.
    pub(crate) fn follow(&mut self) {
        let changes = self.inbox.changes.load(Ordering::Acquire);
        if changes == self.seen {
            return;
        }
        self.seen = changes;
        self.inbox.waker.clear();
        let wanted = self.inbox.ports.load_full();
        let gone: Vec<u64> = self.open.keys().copied().collect();
        for number in gone {
            if !wanted.iter().any(|port| port.number == number) {
                self.drop_port(number);
            }
        }
        for port in wanted.iter() {
            // Taken before: the lane has it, or lost it.
            let Some(reader) = port.take() else { continue };
            let network = port.network;
            if let (Some(poller), Some(fd)) = (&self.poller, reader.descriptor())
                && let Err(error) = poller.add(fd, port.number)
            {
                tracing::debug!("{error}");
                self.poller = None;
            }
            let reader = NetworkReader {
                network,
                reader,
                active: false,
                dropped: 0,
            };
            self.open.insert(port.number, reader);
        }
        if self.open.is_empty() {
            self.poller = None;
        }
    }

    /// Returns true if this lane reads no port of a network.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the wake-up that follows a change of the ports.
    pub(crate) fn waker(&self) -> &Waker {
        &self.inbox.waker
    }

    /// Has the next wait look at the main port again: it was opened, or is gone.
    pub(crate) fn forget_main(&mut self) {
        // The descriptor may be closed already, while a copy keeps it in the set.
        self.poller = None;
    }

    /// Waits at most `wait` for frames at the main port or those of networks, and replaces `ready`.
    pub(crate) fn wait(
        &mut self,
        main: Option<BorrowedFd<'_>>,
        wait: Duration,
        ready: &mut Vec<ReadyPort>,
    ) -> Result<(), SysError> {
        let poller = match &mut self.poller {
            Some(poller) => poller,
            None => self
                .poller
                .insert(poller(main, &self.inbox.waker, &self.open)?),
        };
        ready.clear();
        poller.wait(wait, &mut self.tokens)?;
        ready.extend(self.tokens.iter().filter_map(|token| match *token {
            MAIN => Some(ReadyPort::Main),
            WAKER => None,
            number => Some(ReadyPort::Network(number)),
        }));
        Ok(())
    }

    /// Replaces `ready` by all ports.
    pub(crate) fn all(&self, ready: &mut Vec<ReadyPort>) {
        ready.clear();
        ready.push(ReadyPort::Main);
        ready.extend(self.open.keys().copied().map(ReadyPort::Network));
    }

    /// Reads one batch from the port with this number. Returns its network; `None` if the port is closed, or is gone,
    /// which is reported to be repaired.
    pub(crate) fn recv(&mut self, number: u64, frames: &mut FrameBatch) -> Option<NetworkId> {
        let port = self.open.get_mut(&number)?;
        let network = port.network;
        match port.reader.recv(frames, Duration::ZERO) {
            Ok(()) => {
                port.active |= !frames.is_empty();
                Some(network)
            }
            Err(error) => {
                tracing::debug!("cannot read from the port of network {network}: {error}");
                self.drop_port(number);
                self.ports.lost(network, number);
                None
            }
        }
    }

    /// Adds new losses to the counters, if a reading is due.
    pub(crate) fn count_losses(&mut self, forwarder: &Forwarder, now: Instant) {
        if now < self.next_count {
            return;
        }
        self.next_count = now + losses::INTERVAL;
        let mut new = 0;
        for port in self.open.values_mut().filter(|port| port.active) {
            port.active = false;
            let all = port.reader.losses().dropped;
            new += grown(port.dropped, all);
            port.dropped = all;
        }
        forwarder.lost_at_port(self.ports.count_losses(new));
    }

    fn drop_port(&mut self, number: u64) {
        let Some(port) = self.open.remove(&number) else {
            return;
        };
        // Before it is closed: the writing half keeps the same file open, and its error would be told for ever.
        if let (Some(poller), Some(fd)) = (&self.poller, port.reader.descriptor())
            && poller.remove(fd).is_err()
        {
            self.poller = None;
        }
    }
}

/// Makes the set of all descriptors.
fn poller(
    main: Option<BorrowedFd<'_>>,
    waker: &Waker,
    open: &BTreeMap<u64, NetworkReader>,
) -> Result<Poller, SysError> {
    let poller = Poller::new()?;
    poller.add(waker.as_fd(), WAKER)?;
    if let Some(main) = main {
        poller.add(main, MAIN)?;
    }
    for (number, port) in open {
        if let Some(fd) = port.reader.descriptor() {
            poller.add(fd, *number)?;
        }
    }
    Ok(poller)
}
