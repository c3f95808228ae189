//! Ingress: datagrams from other routers to the local port.

use core::net::SocketAddr;

use super::arrival::{Arrival, FragmentArrival};
use super::snapshot::{Path, Snapshot};
use super::{Counter, DropReason, Forwarder, LaneEvent, Outbox, Via, lock};
use crate::announced::question::{is_resolution, observe};
use crate::fdb::Owner;
use crate::frame::ethernet::EthernetView;
use crate::ids::PeerId;
use crate::limits::{MAX_DATAGRAM, MAX_FRAME, MAX_HANDSHAKE};
use crate::session::transport::{OpenError, Opened};
use crate::time::Instant;
use crate::wire::datagram::{Frames, Header, Kind, PROBE_COMPARE, PROBE_COMPARED};

impl Forwarder {
    /// Processes one datagram received from address `from`; it is decrypted in place.
    pub fn ingress(
        &self,
        snap: &Snapshot,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let header = Header::parse(datagram);
        let Some(header) = header.ok().filter(|_| datagram.len() <= MAX_DATAGRAM) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        let via = Via::Direct(from);
        let arrival = Arrival {
            via,
            index: header.receiver,
        };
        match header.kind {
            Kind::Relay => self.relay_in(snap, arrival, datagram, now, out),
            Kind::Flood => self.flood_in(snap, arrival, datagram, now, out),
            _ => self.end_to_end_in(snap, via, datagram, now, out),
        }
    }

    /// Processes a datagram that is addressed to this router, received directly or relayed.
    pub(super) fn end_to_end_in(
        &self,
        snap: &Snapshot,
        via: Via,
        datagram: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let Ok(Header { kind, receiver, .. }) = Header::parse(datagram) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        if kind.is_handshake() {
            self.handshake_in(via, datagram, out);
            return;
        }
        let arrival = Arrival {
            via,
            index: receiver,
        };
        let Some((peer, opened)) = self.open(snap, arrival, datagram, 0, now, out) else {
            return;
        };
        match kind {
            Kind::Data => self.deliver(snap, Owner::Peer(peer), opened.body, now, out),
            Kind::Fragment => {
                let came = FragmentArrival {
                    sender: peer,
                    arrival,
                    hop_limit: opened.header.hop_limit,
                };
                self.fragment_in(snap, came, opened.body, now, out);
            }
            Kind::Probe => out.event(LaneEvent::Probe {
                peer,
                via,
                index: receiver,
                body: opened.body.to_vec(),
            }),
            _ => self.counters.drop(DropReason::Malformed),
        }
    }

    fn handshake_in(&self, via: Via, datagram: &[u8], out: &mut dyn Outbox) {
        if datagram.len() > MAX_HANDSHAKE {
            self.counters.drop(DropReason::Malformed);
            return;
        }
        out.event(LaneEvent::Handshake {
            via,
            bytes: datagram.to_vec(),
        });
    }

    /// Authenticates a datagram with the session it names. On failure, counts the drop and returns `None`.
    pub(super) fn open<'d>(
        &self,
        snap: &Snapshot,
        Arrival { via, index }: Arrival,
        datagram: &'d mut [u8],
        clear_len: usize,
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Option<(PeerId, Opened<'d>)> {
        let Some(transport) = snap.by_index.get(&index) else {
            self.counters.drop(DropReason::UnknownIndex);
            if lock(&self.unknown_indices).pass(via, now) {
                out.event(LaneEvent::UnknownIndex { via, index });
            }
            return None;
        };
        let opened = match transport.open(datagram, clear_len, now) {
            Ok(opened) => opened,
            Err(error) => {
                self.counters.drop(reason(error));
                return None;
            }
        };
        let peer = transport.peer();
        if opened.first {
            out.event(LaneEvent::Confirmed { peer, index });
        }
        if let Via::Direct(address) = via
            && opened.newest
            && !is_comparison(&opened)
        {
            self.endpoint_seen(snap, peer, address, now, out);
        }
        Some((peer, opened))
    }

    fn endpoint_seen(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        address: SocketAddr,
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        if snap.path(peer) == Path::Direct(address) {
            return;
        }
        if lock(&self.seen_endpoints).pass((peer, address), now) {
            out.event(LaneEvent::EndpointSeen { peer, address });
        }
    }

    /// Delivers packed frames to the local port and learns their sources.
    pub(super) fn deliver(
        &self,
        snap: &Snapshot,
        owner: Owner,
        body: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let mut frames = Frames::new(body);
        for frame in frames.by_ref() {
            match check(frame.bytes) {
                // The router by which the frame entered did not know that underlay address yet.
                Ok(view) if self.underlay.carries(snap, &view) => {
                    self.counters.drop(DropReason::Underlay);
                }
                Ok(_) if frame.bytes.len() > snap.max_frame() => {
                    self.counters.drop(DropReason::OverMtu);
                }
                Ok(view) => {
                    self.learn(view.source(), owner, now);
                    if is_resolution(&view) {
                        observe(&self.announced, owner, &view, now);
                    }
                    self.counters.count(Counter::FramesOut);
                    out.inject(frame);
                }
                Err(reason) => self.counters.drop(reason),
            }
        }
        if body.is_empty() || !frames.is_clean() {
            self.counters.drop(DropReason::Malformed);
        }
    }
}

/// Returns true for a probe of an alternative address, which does not mean that the peer has moved there.
fn is_comparison(opened: &Opened<'_>) -> bool {
    opened.header.kind == Kind::Probe
        && matches!(opened.body.first(), Some(&(PROBE_COMPARE | PROBE_COMPARED)))
}

/// Checks that a frame from another router may enter the local port.
fn check(frame: &[u8]) -> Result<EthernetView<'_>, DropReason> {
    let view = EthernetView::new_checked(frame).map_err(|_| DropReason::Runt)?;
    if frame.len() > MAX_FRAME {
        return Err(DropReason::TooBig);
    }
    if view.source().is_group() {
        return Err(DropReason::GroupSource);
    }
    if view.is_link_local() {
        return Err(DropReason::LinkLocal);
    }
    Ok(view)
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
