//! Choice of the members that announce a key. A few are enough for others to get it from, and each announcement goes to
//! all routers of the mesh; so the cost of a change of the key does not grow with the square of the members.

use mesh_proto::limits::{NETWORK_KEY_KEEPER_STEP, NETWORK_KEY_KEEPERS};
use mesh_proto::network::NetworkKeyPrint;
use mesh_proto::time::Instant;

use super::company::Company;

/// Steps that a member waits for those with lower ids, at most.
const STEPS: usize = 12;

/// Turn of this router to announce its keys.
#[derive(Debug, Default)]
pub(super) struct KeeperTurn {
    /// Time since which too few members announce the key.
    thin_since: Option<Instant>,
}

impl KeeperTurn {
    /// Returns true if this router announces its keys: it is among the first [`NETWORK_KEY_KEEPERS`] members, or for a
    /// while too few of those before it announce the key.
    pub(super) fn is_keeper(
        &mut self,
        company: &Company<'_>,
        sealing: Option<NetworkKeyPrint>,
        now: Instant,
    ) -> bool {
        let Some(sealing) = sealing else {
            self.thin_since = None;
            return false;
        };
        let below = company.below();
        if below < NETWORK_KEY_KEEPERS {
            self.thin_since = None;
            return true;
        }
        if company.keepers_below(sealing) >= NETWORK_KEY_KEEPERS {
            self.thin_since = None;
            return false;
        }
        let steps = (below / NETWORK_KEY_KEEPERS).min(STEPS);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let since = *self.thin_since.get_or_insert(now);
        now >= since + NETWORK_KEY_KEEPER_STEP * steps
    }

    /// Returns true if it may become this router's turn with time.
    pub(super) fn is_waiting(&self) -> bool {
        self.thin_since.is_some()
    }
}
