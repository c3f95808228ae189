//! Forwarding of broadcasts, of the network `default` and of others, along the tree of their origin, sealed separately for each neighbour, at most once per
//! router.

use std::sync::Mutex;

use crate::forward::duplicates::Duplicates;
use crate::forward::lane::LaneView;
use crate::forward::transmit::Transmitter;
use crate::forward::{Counter, DropReason, lock};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::network::BroadcastStream;
use crate::wire::datagram::{FloodPrefix, Kind, NetworkFloodPrefix};

/// Windows of the broadcasts that were received, by origin.
#[derive(Debug)]
pub(super) struct FloodHistory {
    seen: Mutex<Duplicates<PeerId>>,
    /// The same for broadcasts of other networks, which have numbers of their own.
    seen_in_networks: Mutex<Duplicates<PeerId>>,
}

impl FloodHistory {
    pub(super) fn new() -> Self {
        Self {
            seen: Mutex::new(Duplicates::new()),
            seen_in_networks: Mutex::new(Duplicates::new()),
        }
    }

    /// Returns origin and frames of a broadcast, unless it is malformed, a duplicate, or of this router.
    pub(super) fn admit<'b>(
        &self,
        view: LaneView<'_>,
        body: &'b [u8],
    ) -> Result<(PeerId, &'b [u8]), DropReason> {
        let (prefix, frames) = FloodPrefix::split(body).ok_or(DropReason::Malformed)?;
        let FloodPrefix {
            origin,
            epoch,
            sequence,
        } = prefix;
        if origin == view.snapshot.me {
            return Err(DropReason::FloodOwn);
        }
        if !lock(&self.seen).is_fresh(origin, epoch, sequence, view.now) {
            return Err(DropReason::FloodDuplicate);
        }
        Ok((origin, frames))
    }

    /// Returns the identification of a broadcast of another network than `default`, unless it is
    /// malformed, a duplicate, or of this router. Records nothing: a member first opens it.
    pub(super) fn look(
        &self,
        view: LaneView<'_>,
        body: &[u8],
    ) -> Result<NetworkFloodPrefix, DropReason> {
        let (prefix, _) = NetworkFloodPrefix::split(body).ok_or(DropReason::Malformed)?;
        let NetworkFloodPrefix {
            stream, sequence, ..
        } = prefix;
        if stream.origin == view.snapshot.me {
            return Err(DropReason::FloodOwn);
        }
        let seen = lock(&self.seen_in_networks);
        match seen.was_seen(stream.origin, stream.epoch, sequence, view.now) {
            true => Err(DropReason::FloodDuplicate),
            false => Ok(prefix),
        }
    }

    /// Records a broadcast of another network than `default`, unless another lane recorded a copy first.
    pub(super) fn admit_in_network(
        &self,
        view: LaneView<'_>,
        prefix: &NetworkFloodPrefix,
    ) -> Result<(), DropReason> {
        let BroadcastStream { origin, epoch, .. } = prefix.stream;
        let mut seen = lock(&self.seen_in_networks);
        let is_fresh = seen.is_fresh(origin, epoch, prefix.sequence, view.now);
        is_fresh.then_some(()).ok_or(DropReason::FloodDuplicate)
    }
}

/// Forwards a broadcast of `origin`, of kind Flood or NetworkFlood, that came from `sender` down the tree.
pub(super) fn forward(
    tx: &mut Transmitter<'_>,
    (kind, origin): (Kind, PeerId),
    (sender, hop_limit): (PeerId, u8),
    body: &[u8],
) {
    let LaneView {
        snapshot,
        counters,
        now,
        ..
    } = tx.view();
    let mut targets = snapshot.flood_targets(origin, Some(sender), now).peekable();
    if targets.peek().is_none() {
        return;
    }
    let Some(hops) = hop_limit.min(MAX_HOPS).checked_sub(1) else {
        counters.drop(DropReason::HopLimit);
        return;
    };
    for target in targets {
        if tx.flood(target, kind, hops, body) {
            counters.count(Counter::FloodPassed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Counters, Snapshot, Underlay};
    use crate::time::Instant;

    const ME: PeerId = PeerId([1; 16]);
    const ORIGIN: PeerId = PeerId([2; 16]);

    fn body(origin: PeerId, sequence: u64) -> Vec<u8> {
        let prefix = FloodPrefix {
            origin,
            epoch: 1,
            sequence,
        };
        let mut body = Vec::new();
        prefix.encode(&mut body);
        body.extend_from_slice(b"frames");
        body
    }

    #[test]
    fn a_broadcast_of_another_router_is_admitted_once() {
        let now = Instant::from_nanos(0);
        let (snapshot, counters) = (Snapshot::alone(ME, 1, 1376, now), Counters::default());
        let view = LaneView {
            snapshot: &snapshot,
            counters: &counters,
            underlay: &Underlay::default(),
            now,
        };
        let history = FloodHistory::new();
        let (one, two, own) = (body(ORIGIN, 1), body(ORIGIN, 2), body(ME, 1));
        assert_eq!(history.admit(view, &one), Ok((ORIGIN, &b"frames"[..])));
        assert_eq!(history.admit(view, &one), Err(DropReason::FloodDuplicate));
        assert!(history.admit(view, &two).is_ok());
        assert_eq!(history.admit(view, &own), Err(DropReason::FloodOwn));
        assert_eq!(history.admit(view, &one[..9]), Err(DropReason::Malformed));
    }
}
