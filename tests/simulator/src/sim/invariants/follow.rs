//! I7: once a router has seen a frame from the new location of a MAC address that moved, it sends frames for that
//! address there; a second after that first frame every router does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mesh_proto::ids::Mac;
use mesh_proto::time::Instant;

use super::{Check, Violation};
use crate::sim::frames::{FrameId, Ledger, id_of};
use crate::sim::network::HostId;

const NAME: &str = "I7 follow the move";

/// Time for which frames may still go to the old location.
const STALE: Duration = Duration::from_secs(1);

/// Locations of addresses that moved, and the routers that know them.
#[derive(Debug, Default)]
pub(crate) struct MacMoves {
    moves: BTreeMap<Mac, Move>,
    /// Frames for such an address from routers that must know: the only host at which they may be delivered.
    aimed: HashMap<FrameId, HostId>,
}

#[derive(Debug)]
struct Move {
    to: HostId,
    at: Instant,
    /// First frame from the new location.
    first: FrameId,
    seen_by: Vec<HostId>,
}

impl MacMoves {
    /// Records that a MAC address moved to another host, with its first frame there.
    pub(crate) fn moved(&mut self, mac: Mac, to: HostId, first: FrameId, at: Instant) {
        let seen_by = vec![to];
        let new = Move {
            to,
            at,
            first,
            seen_by,
        };
        self.moves.insert(mac, new);
    }

    /// Records that a container sent `frame` on the bridge of `from`.
    pub(crate) fn sent(&mut self, from: HostId, frame: &[u8], now: Instant) {
        let Some((to, id)) = destination(frame).zip(id_of(frame)) else {
            return;
        };
        if let Some(moved) = self.moves.get(&to)
            && (moved.seen_by.contains(&from) || now.since(moved.at) >= STALE)
        {
            self.aimed.insert(id, moved.to);
        }
    }

    /// Checks a frame that is delivered on the bridge of `at`.
    pub(crate) fn injected(&mut self, at: HostId, frame: &[u8], ledger: &Ledger) -> Check {
        let Some(id) = id_of(frame) else {
            return Ok(());
        };
        if let Some(moved) = self.moves.values_mut().find(|m| m.first == id) {
            moved.seen_by.push(at);
        }
        match self.aimed.get(&id) {
            Some(place) if *place != at => {
                let from = ledger.sent(id).map_or(HostId::MAX, |sent| sent.from);
                let detail = format!(
                    "frame {id} of router {from} reached router {at}, its address is at {place} now"
                );
                Err(Violation::new(NAME, detail))
            }
            _ => Ok(()),
        }
    }
}

fn destination(frame: &[u8]) -> Option<Mac> {
    frame.first_chunk().map(|mac| Mac(*mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVED: Mac = Mac([2; 6]);

    #[test]
    fn the_new_place_counts_for_those_that_saw_it_and_soon_for_all() {
        let mut ledger = Ledger::default();
        let mut places = MacMoves::default();
        let mut now = Instant::ZERO + STALE;
        let (first, hello) = ledger.announcement(2, MOVED, [10, 0, 0, 1]);
        places.moved(MOVED, 2, first, now);
        let mut said = |places: &mut MacMoves, from, now, out| {
            let (_, frame) = ledger.frame(from, Mac([4; 6]), MOVED, 60);
            places.sent(from, &frame, now);
            places.injected(out, &frame, &ledger)
        };
        assert!(said(&mut places, 3, now, 1).is_ok(), "it cannot know");
        assert!(said(&mut places, 2, now, 1).is_err());
        let ledger = Ledger::default();
        assert!(places.injected(3, &hello, &ledger).is_ok());
        assert!(said(&mut places, 3, now, 1).is_err());
        assert!(said(&mut places, 3, now, 2).is_ok());
        assert!(said(&mut places, 0, now, 1).is_ok());
        now += STALE;
        assert!(said(&mut places, 0, now, 1).is_err());
        assert!(said(&mut places, 0, now, 2).is_ok());
    }
}
