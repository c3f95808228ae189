//! Budget of the control plane per source, after which the other sources are served.

use mesh_proto::forward::LaneEvent;
use mesh_proto::time::Instant;

use core::time::Duration;

/// Events per turn.
const EVENTS: usize = 64;
/// Handshake datagrams per turn: each may cost key agreements.
const HANDSHAKES: usize = 8;
/// Accepted connections per turn: connections closed to make room are released after it.
const ACCEPTS: usize = 16;
/// Time limit of a turn; far below a heartbeat.
const TIME: Duration = Duration::from_millis(20);

/// Budget of one source for one turn.
#[derive(Debug)]
pub(super) struct TurnBudget {
    began: Instant,
    events: usize,
    handshakes: usize,
    accepts: usize,
}

impl TurnBudget {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            began: now,
            events: 0,
            handshakes: 0,
            accepts: 0,
        }
    }

    /// Counts an event of a lane.
    pub(super) fn count_lane(&mut self, event: &LaneEvent) {
        self.count();
        self.handshakes += usize::from(matches!(event, LaneEvent::Handshake { .. }));
    }

    /// Counts an accepted connection.
    pub(super) fn count_accept(&mut self) {
        self.count();
        self.accepts += 1;
    }

    /// Counts any other event.
    pub(super) fn count(&mut self) {
        self.events += 1;
    }

    /// True if the budget is used up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.events >= EVENTS
            || self.handshakes >= HANDSHAKES
            || self.accepts >= ACCEPTS
            || now.since(self.began) >= TIME
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::forward::Via;
    use mesh_proto::ids::PeerId;

    use super::*;

    const NOW: Instant = Instant::from_nanos(1);

    /// Returns the number of such events in one turn.
    fn taken(event: &LaneEvent) -> usize {
        let mut turn = TurnBudget::begin(NOW);
        let mut taken = 0;
        while !turn.is_over(NOW) {
            turn.count_lane(event);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_turn_ends_by_number_by_cost_and_by_time() {
        let handshake = LaneEvent::Handshake {
            via: Via::Relay(PeerId([1; 16])),
            bytes: Vec::new(),
        };
        assert_eq!(taken(&handshake), HANDSHAKES);
        assert_eq!(taken(&LaneEvent::NeedSession(PeerId([1; 16]))), EVENTS);
        let mut turn = TurnBudget::begin(NOW);
        (1..ACCEPTS).for_each(|_| turn.count_accept());
        assert!(!turn.is_over(NOW));
        turn.count_accept();
        assert!(turn.is_over(NOW));
        let turn = TurnBudget::begin(NOW);
        assert!(!turn.is_over(NOW));
        assert!(turn.is_over(NOW + TIME));
    }
}
