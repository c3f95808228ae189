//! Egress: frames from the local port to other routers.

mod batch;
mod classify;
mod group_limits;
mod pending;

pub use self::group_limits::{GroupLimits, PortLosses};

use self::batch::{BatchState, EgressBatch};
use self::classify::{Classifier, Decision};
use super::bridge::BridgeTables;
use super::lane::Scratch;
use super::transmit::Transmitter;
use super::{Counter, Counters};
use crate::offload::PortFrame;
use crate::time::Instant;

/// State of egress, shared by all lanes.
#[derive(Debug)]
pub(super) struct EgressPipeline {
    classifier: Classifier,
    batches: BatchState,
}

impl EgressPipeline {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            classifier: Classifier::new(limits),
            batches: BatchState::new(),
        }
    }

    /// Sends frames of the local port, in order.
    pub(super) fn send<'a>(
        &'a self,
        tables: &BridgeTables,
        frames: &mut dyn Iterator<Item = PortFrame<'_>>,
        tx: Transmitter<'a>,
        scratch: &'a mut Scratch,
    ) {
        let view = tx.view();
        let mut batch = EgressBatch::new(&self.batches, tx, scratch);
        for frame in frames {
            view.counters.count(Counter::FramesIn);
            match self.classifier.classify(tables, view, &frame) {
                Ok(Decision::Send(to)) => batch.pack(to, &frame),
                Ok(Decision::Ask(direction)) => batch.ask(direction, frame.bytes),
                Ok(Decision::Done) => {}
                Err(reason) => view.counters.drop(reason),
            }
        }
        batch.close();
    }

    /// Sends waiting frames whose peer has a session now, and drops those that waited too long.
    pub(super) fn flush<'a>(&'a self, tx: Transmitter<'a>, scratch: &'a mut Scratch) {
        let view = tx.view();
        let waiting = self.batches.waiting_peers(view);
        let mut batch = EgressBatch::new(&self.batches, tx, scratch);
        for peer in waiting {
            if let Ok(route) = view.snapshot.route(peer, view.now) {
                batch.send_waiting(peer, route);
            }
        }
        batch.close();
    }

    /// Drops waiting frames that waited too long.
    pub(super) fn sweep(&self, counters: &Counters, now: Instant) {
        self.batches.sweep(counters, now);
    }
}
