//! Delivery of frames from other routers to the local port.

use crate::arp_proxy::resolution::{is_resolution, observe};
use crate::fdb::Owner;
use crate::forward::bridge::BridgeTables;
use crate::forward::transmit::Transmitter;
use crate::forward::{Counter, DropReason, Snapshot};
use crate::frame::ethernet::EthernetView;
use crate::limits::MAX_FRAME;
use crate::wire::datagram::Frames;

/// Delivers packed frames of `owner` to the local port and learns their sources.
pub(super) fn deliver(tables: &BridgeTables, tx: &mut Transmitter<'_>, owner: Owner, body: &[u8]) {
    let view = tx.view();
    let mut frames = Frames::new(body);
    for frame in frames.by_ref() {
        match check(tables, view.snapshot, frame.bytes) {
            Ok(ethernet) => {
                tables.learn(ethernet.source(), owner, view.now, view.counters);
                if is_resolution(&ethernet) {
                    observe(tables.arp_proxy(), owner, &ethernet, view.now);
                }
                view.counters.count(Counter::FramesOut);
                tx.out().inject(frame);
            }
            Err(reason) => view.counters.drop(reason),
        }
    }
    if body.is_empty() || !frames.is_clean() {
        view.counters.drop(DropReason::Malformed);
    }
}

/// Checks that a frame from another router may enter the local port.
fn check<'f>(
    tables: &BridgeTables,
    snapshot: &Snapshot,
    frame: &'f [u8],
) -> Result<EthernetView<'f>, DropReason> {
    let view = EthernetView::new_checked(frame).map_err(|_| DropReason::Runt)?;
    if frame.len() > MAX_FRAME {
        return Err(DropReason::TooBig);
    }
    // Underlay traffic too: the router by which the frame entered may not have known that address yet.
    tables.check(snapshot, &view)?;
    if frame.len() > snapshot.max_frame() {
        return Err(DropReason::OverMtu);
    }
    Ok(view)
}
