//! Forwarding of broadcasts along the tree of their origin, sealed separately for each neighbour, at most once per
//! router.

use std::sync::Mutex;

use crate::forward::duplicates::Duplicates;
use crate::forward::lane::LaneView;
use crate::forward::transmit::Transmitter;
use crate::forward::{Counter, DropReason, lock};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::wire::datagram::FloodPrefix;

/// Windows of the broadcasts that were received, by origin.
#[derive(Debug)]
pub(super) struct FloodHistory {
    seen: Mutex<Duplicates<PeerId>>,
}

impl FloodHistory {
    pub(super) fn new() -> Self {
        Self {
            seen: Mutex::new(Duplicates::new()),
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
}

/// Forwards a broadcast of `origin` that came from `sender` down the tree.
pub(super) fn forward(
    tx: &mut Transmitter<'_>,
    origin: PeerId,
    (sender, hop_limit): (PeerId, u8),
    body: &[u8],
) {
    let LaneView {
        snapshot,
        counters,
        now,
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
        if tx.flood(target, hops, body) {
            counters.count(Counter::FloodPassed);
        }
    }
}
