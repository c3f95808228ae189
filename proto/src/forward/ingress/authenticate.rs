//! Authentication of datagrams by the session that they name, and the events that follow from it.

use core::net::SocketAddr;
use std::sync::Mutex;

use crate::forward::snapshot::{Path, Snapshot};
use crate::forward::transmit::Transmitter;
use crate::forward::{DropReason, LaneEvent, Outbox, Via, lock, throttle};
use crate::ids::PeerId;
use crate::rate::Throttle;
use crate::session::transport::{OpenError, OpenedDatagram};
use crate::time::Instant;
use crate::wire::datagram::{Datagram, Kind, PROBE_COMPARE, PROBE_COMPARED};

/// Rate limits of the events that datagrams cause.
#[derive(Debug)]
pub(super) struct Authenticator {
    unknown_indices: Mutex<Throttle<Via>>,
    seen_endpoints: Mutex<Throttle<(PeerId, SocketAddr)>>,
}

impl Authenticator {
    pub(super) fn new() -> Self {
        Self {
            unknown_indices: Mutex::new(throttle()),
            seen_endpoints: Mutex::new(throttle()),
        }
    }

    /// Authenticates and decrypts a datagram, of which `clear_len` bytes after the header are not encrypted. On
    /// failure, counts the drop and returns `None`.
    pub(super) fn open<'d>(
        &self,
        tx: &mut Transmitter<'_>,
        via: Via,
        datagram: Datagram<'d>,
        clear_len: usize,
    ) -> Option<(PeerId, OpenedDatagram<'d>)> {
        let view = tx.view();
        let index = datagram.header().receiver;
        let Some(transport) = view.snapshot.by_index.get(&index) else {
            view.counters.drop(DropReason::UnknownIndex);
            if lock(&self.unknown_indices).pass(via, view.now) {
                tx.out().event(LaneEvent::UnknownIndex { via, index });
            }
            return None;
        };
        let opened = match transport.open_parsed(datagram, clear_len, view.now) {
            Ok(opened) => opened,
            Err(error) => {
                view.counters.drop(reason(error));
                return None;
            }
        };
        let peer = transport.peer();
        if opened.first {
            tx.out().event(LaneEvent::Confirmed { peer, index });
        }
        if let Via::Direct(address) = via
            && opened.newest
            && !is_comparison(&opened)
        {
            self.endpoint_seen(view.snapshot, peer, address, view.now, tx.out());
        }
        Some((peer, opened))
    }

    fn endpoint_seen(
        &self,
        snapshot: &Snapshot,
        peer: PeerId,
        address: SocketAddr,
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        if snapshot.path(peer) == Path::Direct(address) {
            return;
        }
        if lock(&self.seen_endpoints).pass((peer, address), now) {
            out.event(LaneEvent::EndpointSeen { peer, address });
        }
    }
}

/// Returns true for a probe of an alternative address, which does not mean that the peer has moved there.
fn is_comparison(opened: &OpenedDatagram<'_>) -> bool {
    opened.header.kind == Kind::Probe
        && matches!(opened.body.first(), Some(&(PROBE_COMPARE | PROBE_COMPARED)))
}

fn reason(error: OpenError) -> DropReason {
    match error {
        OpenError::Truncated | OpenError::Header(_) => DropReason::Malformed,
        OpenError::WrongIndex => DropReason::UnknownIndex,
        OpenError::Forged => DropReason::Forged,
        OpenError::Replayed => DropReason::Replayed,
        OpenError::DeadKey(_) => DropReason::DeadKey,
    }
}
