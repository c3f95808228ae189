//! Frames that the port lost before a lane read them, counted with the other drops.

use std::time::Duration;

use mesh_proto::forward::{Forwarder, PortLosses};
use mesh_proto::time::Instant;
use mesh_sys::port::{self, FrameReader};

/// Interval of reading the port's counters, which needs the kernel.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Totals so far, and the time of the next reading.
#[derive(Default)]
pub(super) struct Losses {
    last: port::LostFrames,
    /// Frames lost by all successive ports together; `storm` is the part dropped by storm control.
    dropped: u64,
    storm: u64,
    /// The part of `dropped` counted as lost for lack of room.
    queue: u64,
    next: Instant,
}

impl Losses {
    /// Adds new losses to the counters, if a reading is due.
    pub(super) fn count(
        &mut self,
        reader: &mut impl FrameReader,
        forwarder: &Forwarder,
        now: Instant,
    ) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        forwarder.lost_at_port(self.since(reader.losses()));
    }

    /// Returns the losses since the previous reading.
    pub(super) fn since(&mut self, all: port::LostFrames) -> PortLosses {
        let last = std::mem::replace(&mut self.last, all);
        let (before, now) = (last.storm, all.storm);
        let mut new = PortLosses {
            queue: 0,
            broadcasts: grown(before.broadcasts, now.broadcasts),
            multicasts: grown(before.multicasts, now.multicasts),
            questions: grown(before.questions, now.questions),
        };
        self.storm += new.broadcasts + new.multicasts + new.questions;
        self.dropped += grown(last.dropped, all.dropped);
        // The two counters are not read at the same moment: the difference may shrink, and must not be counted twice.
        let left = self.dropped.saturating_sub(self.storm);
        new.queue = left.saturating_sub(self.queue);
        self.queue += new.queue;
        new
    }
}

/// Returns the growth of a counter, which restarts at zero when the port is reopened.
pub(super) fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(dropped: u64, broadcasts: u64) -> port::LostFrames {
        let storm = port::Storm {
            broadcasts,
            ..port::Storm::default()
        };
        port::LostFrames { dropped, storm }
    }

    /// Returns the new losses for lack of room, and of broadcasts.
    fn since(losses: &mut Losses, all: port::LostFrames) -> (u64, u64) {
        let new = losses.since(all);
        assert_eq!((new.multicasts, new.questions), (0, 0));
        (new.queue, new.broadcasts)
    }

    #[test]
    fn each_kind_is_counted_by_itself() {
        let mut losses = Losses::default();
        let storm = port::Storm {
            broadcasts: 1,
            multicasts: 20,
            questions: 300,
        };
        let lost = losses.since(port::LostFrames {
            dropped: 4_321,
            storm,
        });
        let expected = PortLosses {
            queue: 4_000,
            broadcasts: 1,
            multicasts: 20,
            questions: 300,
        };
        assert_eq!(lost, expected);
    }

    #[test]
    fn each_loss_is_counted_once_also_when_the_port_was_opened_again() {
        let mut losses = Losses::default();
        assert_eq!(since(&mut losses, all(103, 100)), (3, 100));
        assert_eq!(since(&mut losses, all(103, 100)), (0, 0));
        assert_eq!(since(&mut losses, all(105, 100)), (2, 0));
        assert_eq!(since(&mut losses, all(21, 20)), (1, 20));
        assert_eq!(since(&mut losses, all(0, 0)), (0, 0), "it is gone");
        assert_eq!(since(&mut losses, all(9, 7)), (2, 7));
    }

    #[test]
    fn a_storm_that_is_counted_while_it_goes_on_is_counted_once() {
        let mut losses = Losses::default();
        assert_eq!(since(&mut losses, all(1_010, 1_000)), (10, 1_000));
        assert_eq!(
            since(&mut losses, all(2_002, 2_000)),
            (0, 1_000),
            "8 are late"
        );
        assert_eq!(
            since(&mut losses, all(3_025, 3_000)),
            (15, 1_000),
            "in all 25"
        );
    }
}
