//! Delivery of frames from other routers to the local port.

use crate::arp_proxy::resolution::{is_resolution, observe};
use crate::fdb::Owner;
use crate::forward::lane::{LaneNetwork, LaneView};
use crate::forward::transmit::Transmitter;
use crate::forward::{Counter, DropReason};
use crate::frame::ethernet::EthernetView;
use crate::limits::MAX_FRAME;
use crate::wire::datagram::Frames;

/// Delivers packed frames of `owner` to the local port of `network` and learns their sources there.
pub(super) fn deliver(
    network: LaneNetwork<'_>,
    tx: &mut Transmitter<'_>,
    owner: Owner,
    body: &[u8],
) {
    let view = tx.view();
    let (id, tables) = (network.id(), network.domain.tables());
    let mut frames = Frames::new(body);
    for frame in frames.by_ref() {
        match check(view, frame.bytes) {
            Ok(ethernet) => {
                tables.learn(ethernet.source(), owner, view.now, view.counters);
                if is_resolution(&ethernet) {
                    observe(tables.arp_proxy(), owner, &ethernet, view.now);
                }
                view.counters.count(Counter::FramesOut);
                tx.out().inject(id, frame);
            }
            Err(reason) => view.counters.drop(reason),
        }
    }
    if body.is_empty() || !frames.is_clean() {
        view.counters.drop(DropReason::Malformed);
    }
}

/// Checks that a frame from another router may enter the local port.
fn check<'f>(view: LaneView<'_>, frame: &'f [u8]) -> Result<EthernetView<'f>, DropReason> {
    let ethernet = EthernetView::new_checked(frame).map_err(|_| DropReason::Runt)?;
    if frame.len() > MAX_FRAME {
        return Err(DropReason::TooBig);
    }
    // Underlay traffic too: the router by which the frame entered may not have known that address yet.
    view.check(&ethernet)?;
    if frame.len() > view.snapshot.max_frame() {
        return Err(DropReason::OverMtu);
    }
    Ok(ethernet)
}
