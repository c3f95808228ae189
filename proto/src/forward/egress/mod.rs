//! Egress: frames from the local port of a network to other routers.

mod batch;
mod classify;

use self::batch::{BatchState, EgressBatch};
use self::classify::{Decision, classify};
use super::Counter;
use super::lane::{LaneNetwork, Scratch};
use super::lock;
use super::transmit::Transmitter;
use crate::offload::PortFrame;

/// State of egress, shared by all lanes and all networks.
#[derive(Debug)]
pub(super) struct EgressPipeline {
    batches: BatchState,
}

impl EgressPipeline {
    pub(super) fn new() -> Self {
        Self {
            batches: BatchState::new(),
        }
    }

    /// Sends frames of the local port of `network`, in order.
    pub(super) fn send<'a>(
        &'a self,
        network: LaneNetwork<'a>,
        frames: &mut dyn Iterator<Item = PortFrame<'_>>,
        tx: Transmitter<'a>,
        scratch: &'a mut Scratch,
    ) {
        let view = tx.view();
        let mut batch = EgressBatch::new(&self.batches, network, tx, scratch);
        for frame in frames {
            view.counters.count(Counter::FramesIn);
            match classify(network, view, &frame) {
                Ok(Decision::Send(to)) => batch.pack(to, &frame),
                Ok(Decision::Ask(direction)) => batch.ask(direction, frame.bytes),
                Ok(Decision::Done) => {}
                Err(reason) => view.counters.drop(reason),
            }
        }
        batch.close();
    }

    /// Sends waiting frames of `network` whose peer has a session now, and drops those that waited too long.
    pub(super) fn flush<'a>(
        &'a self,
        network: LaneNetwork<'a>,
        tx: Transmitter<'a>,
        scratch: &'a mut Scratch,
    ) {
        let view = tx.view();
        network.domain.expire_pending(view.counters, view.now);
        let waiting = lock(network.domain.pending()).peers();
        let mut batch = EgressBatch::new(&self.batches, network, tx, scratch);
        for peer in waiting {
            if let Ok(route) = view.snapshot.route(peer, view.now) {
                batch.send_waiting(peer, route);
            }
        }
        batch.close();
    }
}
