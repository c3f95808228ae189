//! What the port lost before a lane could take it, counted with the other drops.

use std::time::Duration;

use mesh_proto::time::Instant;
use mesh_sys::port::{self, FrameReader};

use super::Shared;

/// Time between two looks: the port asks the kernel.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was counted, and when to look again.
#[derive(Default)]
pub(super) struct Losses {
    counted: port::Losses,
    next: Instant,
}

impl Losses {
    /// Counts what came since the last look, if it is time for another.
    pub(super) fn count(&mut self, reader: &mut impl FrameReader, shared: &Shared) {
        let now = shared.clock.now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let (queue, storm) = self.since(reader.losses());
        shared.forwarder.lost_at_port(queue, storm);
    }

    /// What is new in `all`, which begins at nothing again when the port was opened anew.
    fn since(&mut self, all: port::Losses) -> (u64, u64) {
        let before = std::mem::replace(&mut self.counted, all);
        if all.queue < before.queue || all.storm < before.storm {
            return (all.queue, all.storm);
        }
        (all.queue - before.queue, all.storm - before.storm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_counted_once_also_when_the_port_was_opened_anew() {
        let mut losses = Losses::default();
        let all = |queue, storm| port::Losses { queue, storm };
        assert_eq!(losses.since(all(3, 100)), (3, 100));
        assert_eq!(losses.since(all(3, 100)), (0, 0));
        assert_eq!(losses.since(all(5, 100)), (2, 0));
        assert_eq!(losses.since(all(1, 120)), (1, 120));
        assert_eq!(losses.since(all(2, 7)), (2, 7));
        assert_eq!(losses.since(all(2, 9)), (0, 2));
    }
}
