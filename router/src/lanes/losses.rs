//! What the port lost before a lane could take it, counted with the other drops.

use std::time::Duration;

use mesh_proto::forward::{Forwarder, PortLosses};
use mesh_proto::time::Instant;
use mesh_sys::port::{self, FrameReader};

/// Time between two looks: the port asks the kernel.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was counted, and when to look again.
#[derive(Default)]
pub(super) struct Losses {
    last: port::Losses,
    /// What all ports together lost that were open one after the other; and of that, to groups.
    dropped: u64,
    storm: u64,
    /// Of that, what is counted as frames that found no room.
    queue: u64,
    next: Instant,
}

impl Losses {
    /// Counts what came since the last look, if it is time for another.
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

    /// What is new in `all`.
    fn since(&mut self, all: port::Losses) -> PortLosses {
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
        // The two are not of one moment: what is left may be less than it was a second ago, and is not counted twice.
        let left = self.dropped.saturating_sub(self.storm);
        new.queue = left.saturating_sub(self.queue);
        self.queue += new.queue;
        new
    }
}

/// What a counter of the port grew by; it begins at nothing again when the port was opened anew.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(dropped: u64, broadcasts: u64) -> port::Losses {
        let storm = port::Storm {
            broadcasts,
            ..port::Storm::default()
        };
        port::Losses { dropped, storm }
    }

    /// What is new: frames that found no room, and broadcasts.
    fn since(losses: &mut Losses, all: port::Losses) -> (u64, u64) {
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
        let lost = losses.since(port::Losses {
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
    fn each_loss_is_counted_once_also_when_the_port_was_opened_anew() {
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
