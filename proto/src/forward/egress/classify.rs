//! Classification of frames of the local port: checks, rate limits, and the choice of the destination.

use std::sync::Mutex;

use super::group_limits::{GroupBuckets, GroupLimits};
use crate::arp_proxy::resolution::{UnicastTarget, direct, is_resolution, observe};
use crate::fdb::Owner;
use crate::forward::bridge::BridgeTables;
use crate::forward::lane::LaneView;
use crate::forward::{Counter, DropReason, Snapshot, lock};
use crate::frame::ethernet::EthernetView;
use crate::ids::{Mac, PeerId};
use crate::limits::{
    MAX_FRAME, MAX_SUPER_FRAME, RESOLUTION_BURST, RESOLUTION_RATE, UNKNOWN_BURST, UNKNOWN_RATE,
};
use crate::offload::PortFrame;
use crate::rate::TokenBucket;

/// Destination of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Peer(PeerId),
    Flood,
}

/// Decision about a frame that is not dropped.
pub(super) enum Decision {
    Send(Destination),
    /// ARP request or neighbour solicitation that goes only to the announced container.
    Ask(UnicastTarget),
    /// Nothing to send: delivered locally, or no neighbour to flood to.
    Done,
}

/// Rate limits of the local port.
#[derive(Debug)]
pub(super) struct Classifier {
    groups: GroupBuckets,
    questions: Mutex<TokenBucket>,
    unknown: Mutex<TokenBucket>,
}

impl Classifier {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            groups: GroupBuckets::new(limits),
            questions: Mutex::new(TokenBucket::new(RESOLUTION_RATE, RESOLUTION_BURST)),
            unknown: Mutex::new(TokenBucket::new(UNKNOWN_RATE, UNKNOWN_BURST)),
        }
    }

    /// Decides where `frame` goes; learns from it.
    pub(super) fn classify(
        &self,
        tables: &BridgeTables,
        view: LaneView<'_>,
        frame: &PortFrame<'_>,
    ) -> Result<Decision, DropReason> {
        let LaneView {
            snapshot,
            counters,
            now,
        } = view;
        let ethernet = check(tables, snapshot, frame)?;
        tables.learn(ethernet.source(), Owner::Local, now, counters);
        let is_resolution = is_resolution(&ethernet) && frame.header.is_plain();
        let arp_proxy = tables.arp_proxy();
        if !ethernet.destination().is_group() {
            if is_resolution {
                observe(arp_proxy, Owner::Local, &ethernet, now);
            }
            return self.classify_unicast(tables, view, ethernet.destination());
        }
        if is_resolution && let Some(direction) = direct(arp_proxy, tables.fdb(), &ethernet, now) {
            return if lock(&self.questions).take(now) {
                Ok(Decision::Ask(direction))
            } else {
                Err(DropReason::QuestionLimited)
            };
        }
        let frames = frame.bytes.len().div_ceil(snapshot.max_frame().max(1));
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        flood(view, || {
            self.groups.take(ethernet.destination(), frames, now)
        })
    }

    fn classify_unicast(
        &self,
        tables: &BridgeTables,
        view: LaneView<'_>,
        destination: Mac,
    ) -> Result<Decision, DropReason> {
        let LaneView { counters, now, .. } = view;
        match tables.fdb().lookup(destination, now) {
            Some(Owner::Peer(peer)) => return Ok(Decision::Send(Destination::Peer(peer))),
            Some(Owner::Local) => {
                counters.count(Counter::FramesLocal);
                return Ok(Decision::Done);
            }
            None => {}
        }
        if let Some(Owner::Peer(peer)) = tables.arp_proxy().owner(destination, now) {
            counters.count(Counter::FramesLocated);
            return Ok(Decision::Send(Destination::Peer(peer)));
        }
        flood(view, || match lock(&self.unknown).take(now) {
            true => Ok(()),
            false => Err(DropReason::UnknownLimited),
        })
    }
}

/// Checks that a frame of the local port may enter the mesh.
fn check<'f>(
    tables: &BridgeTables,
    snapshot: &Snapshot,
    frame: &PortFrame<'f>,
) -> Result<EthernetView<'f>, DropReason> {
    let view = EthernetView::new_checked(frame.bytes).map_err(|_| DropReason::Runt)?;
    if frame.bytes.len() > longest(snapshot, frame) {
        return Err(DropReason::TooBig);
    }
    tables.check(snapshot, &view)?;
    Ok(view)
}

/// Returns the longest frame accepted from the port: one of the mesh's MTU, or a super-frame if it is to be
/// segmented.
fn longest(snapshot: &Snapshot, frame: &PortFrame<'_>) -> usize {
    if frame.is_super_frame() {
        MAX_SUPER_FRAME
    } else {
        snapshot.max_frame().min(MAX_FRAME)
    }
}

/// Decides to flood, if there is a neighbour to flood to and `take` gets a token.
fn flood(
    view: LaneView<'_>,
    take: impl FnOnce() -> Result<(), DropReason>,
) -> Result<Decision, DropReason> {
    let snapshot = view.snapshot;
    let mut targets = snapshot.flood_targets(snapshot.me, None, view.now);
    if targets.next().is_none() {
        return Ok(Decision::Done);
    }
    take()?;
    Ok(Decision::Send(Destination::Flood))
}
