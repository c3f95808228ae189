//! Clock, event queue, random numbers and trace of a run. The run ends at the first violated invariant.

use std::fmt::Arguments;
use std::time::Duration;

use mesh_proto::time::Instant;

use super::event::SimEvent;
use super::invariants::{Check, Violation};
use super::queue::EventQueue;
use super::rng::Rng;
use super::trace::{LineSink, Trace};

/// State that every part of the world needs.
pub(crate) struct SimRuntime {
    now: Instant,
    queue: EventQueue<SimEvent>,
    rng: Rng,
    trace: Trace,
    broken: Option<Violation>,
}

impl SimRuntime {
    pub(crate) fn new(rng: Rng, sink: Option<LineSink>) -> Self {
        Self {
            now: Instant::ZERO,
            queue: EventQueue::new(),
            rng,
            trace: Trace::new(sink),
            broken: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Advances the clock to the next event that is due at `end` or earlier, and returns it; without one, advances the
    /// clock to `end`. Returns `None` as well after a violation.
    pub(crate) fn next_event(&mut self, end: Instant) -> Option<SimEvent> {
        if self.broken.is_some() {
            return None;
        }
        let Some((at, event)) = self.queue.pop_until(end) else {
            self.now = end;
            return None;
        };
        self.now = at;
        Some(event)
    }

    /// Schedules an event.
    pub(crate) fn at(&mut self, at: Instant, event: SimEvent) {
        self.queue.push(at, event);
    }

    /// Schedules an event after a delay.
    pub(crate) fn after(&mut self, delay: Duration, event: SimEvent) {
        self.queue.push(self.now + delay, event);
    }

    /// Records an event in the trace; `parts` identify it.
    pub(crate) fn record(&mut self, parts: &[u64]) {
        self.trace.event(self.now, parts);
    }

    /// Writes a line of text to the trace.
    pub(crate) fn line(&mut self, line: Arguments<'_>) {
        self.trace.line(self.now, line);
    }

    /// Records the first violated invariant.
    pub(crate) fn check(&mut self, check: Check) {
        if let Err(violation) = check
            && self.broken.is_none()
        {
            self.line(format_args!("BROKEN {violation}"));
            self.broken = Some(violation);
        }
    }

    /// Returns the violated invariant, if any.
    pub(crate) fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }
}
