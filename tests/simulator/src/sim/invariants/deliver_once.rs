//! I5: no frame is injected into a bridge twice or modified, nor into the bridge it came from.

use std::collections::HashMap;

use super::{Check, Violation};
use crate::sim::frames::{FrameId, Ledger, id_of};
use crate::sim::network::HostId;

const NAME: &str = "I5 deliver once";

/// All deliveries so far.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    seen: HashMap<(FrameId, HostId), Vec<u64>>,
}

impl Deliveries {
    /// Records that a router's process injected `frame` into its bridge.
    pub(crate) fn injected(
        &mut self,
        at: HostId,
        incarnation: u64,
        frame: &[u8],
        ledger: &Ledger,
    ) -> Check {
        let fail = |what: String| Err(Violation::new(NAME, what));
        let Some((id, sent)) = id_of(frame).and_then(|id| Some((id, ledger.sent(id)?))) else {
            return fail(format!("router {at} delivered a frame that nobody sent"));
        };
        if sent.bytes != frame {
            return fail(format!("frame {id} came changed to router {at}"));
        }
        if sent.from == at {
            return fail(format!("frame {id} came back to router {at}"));
        }
        let starts = self.seen.entry((id, at)).or_default();
        if starts.contains(&incarnation) {
            return fail(format!("frame {id} came twice to router {at}"));
        }
        starts.push(incarnation);
        Ok(())
    }

    /// True if the frame reached the router.
    pub(crate) fn reached(&self, id: FrameId, at: HostId) -> bool {
        self.seen.contains_key(&(id, at))
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_proto::ids::Mac;

    #[test]
    fn once_unchanged_and_elsewhere() {
        let mut ledger = Ledger::default();
        let mac = Mac([2; 6]);
        let (id, mut frame) = ledger.frame(0, mac, Mac::BROADCAST, 100);
        let mut deliveries = Deliveries::default();
        assert!(deliveries.injected(1, 1, &frame, &ledger).is_ok());
        assert!(deliveries.injected(2, 1, &frame, &ledger).is_ok());
        assert!(deliveries.injected(1, 2, &frame, &ledger).is_ok());
        assert!(deliveries.injected(1, 1, &frame, &ledger).is_err(), "twice");
        assert!(deliveries.injected(0, 1, &frame, &ledger).is_err(), "back");
        assert!(deliveries.reached(id, 1) && !deliveries.reached(id, 3));
        frame[50] ^= 1;
        assert!(
            deliveries.injected(3, 1, &frame, &ledger).is_err(),
            "changed"
        );
        assert!(deliveries.injected(3, 1, b"what", &ledger).is_err());
    }
}
