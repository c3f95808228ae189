//! Classification of frames of the local port: checks, rate limits, and the choice of the destination.

use crate::arp_proxy::resolution::{UnicastTarget, direct, is_resolution, observe};
use crate::fdb::Owner;
use crate::forward::lane::{LaneNetwork, LaneView};
use crate::forward::{Counter, DropReason, Snapshot};
use crate::frame::ethernet::EthernetView;
use crate::ids::{Mac, PeerId};
use crate::limits::{MAX_FRAME, MAX_SUPER_FRAME};
use crate::offload::PortFrame;

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

/// Decides where `frame` goes, which entered at the port of `network`; learns from it.
pub(super) fn classify(
    network: LaneNetwork<'_>,
    view: LaneView<'_>,
    frame: &PortFrame<'_>,
) -> Result<Decision, DropReason> {
    let LaneView {
        snapshot,
        counters,
        now,
        ..
    } = view;
    let ethernet = check(view, frame)?;
    let (tables, limits) = (network.domain.tables(), network.domain.limits());
    tables.learn(ethernet.source(), Owner::Local, now, counters);
    let is_resolution = is_resolution(&ethernet) && frame.header.is_plain();
    let arp_proxy = tables.arp_proxy();
    if !ethernet.destination().is_group() {
        if is_resolution {
            observe(arp_proxy, Owner::Local, &ethernet, now);
        }
        return classify_unicast(network, view, ethernet.destination());
    }
    if is_resolution && let Some(direction) = direct(arp_proxy, tables.fdb(), &ethernet, now) {
        limits.take_question(now)?;
        return Ok(Decision::Ask(direction));
    }
    let frames = frame.bytes.len().div_ceil(snapshot.max_frame().max(1));
    let frames = u64::try_from(frames).unwrap_or(u64::MAX);
    flood(network, view, || {
        limits.take_group(ethernet.destination(), frames, now)
    })
}

fn classify_unicast(
    network: LaneNetwork<'_>,
    view: LaneView<'_>,
    destination: Mac,
) -> Result<Decision, DropReason> {
    let LaneView { counters, now, .. } = view;
    let tables = network.domain.tables();
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
    flood(network, view, || network.domain.limits().take_unknown(now))
}

/// Checks that a frame of the local port may enter the mesh.
fn check<'f>(view: LaneView<'_>, frame: &PortFrame<'f>) -> Result<EthernetView<'f>, DropReason> {
    let ethernet = EthernetView::new_checked(frame.bytes).map_err(|_| DropReason::Runt)?;
    if frame.bytes.len() > longest(view.snapshot, frame) {
        return Err(DropReason::TooBig);
    }
    view.check(&ethernet)?;
    Ok(ethernet)
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

/// Decides to flood, if there is a neighbour to flood to, and a router that may have members, and `take` gets a token.
fn flood(
    network: LaneNetwork<'_>,
    view: LaneView<'_>,
    take: impl FnOnce() -> Result<(), DropReason>,
) -> Result<Decision, DropReason> {
    let snapshot = view.snapshot;
    let mut targets = snapshot.flood_targets(snapshot.me, None, view.now);
    if targets.next().is_none() || !network.has_others() {
        return Ok(Decision::Done);
    }
    take()?;
    Ok(Decision::Send(Destination::Flood))
}
