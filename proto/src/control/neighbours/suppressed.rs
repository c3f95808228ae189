//! Suppressed targets: a peer that has links enough, and one in whose place another answers. They are not dialled as long as the
//! peer that is to blame is within reach.

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId};
use crate::limits::REDIAL_MIN;
use crate::time::Instant;

use super::targets::{TargetKey, TargetState, Targets};
use crate::control::links::Retry;

/// Error of a target at which another router answers than the one sought.
const ANOTHER: &str = "another router answers at that address";

impl Targets {
    /// Suppresses the explicit targets of a peer that has links enough, and is reached through others. Its own target is left to
    /// the selection: one that must be linked all the same is dialled again as after any failure.
    pub(crate) fn declined(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        let own = TargetKey::Discovered(peer);
        self.targets
            .retain(|key, target| *key != own || target.state == TargetState::Dialling(conn));
        for (key, target) in &mut self.targets {
            let dialled = target.state == TargetState::Dialling(conn);
            if *key != own && (dialled || target.state == TargetState::Satisfied(peer)) {
                target.satisfy(peer, now);
                target.state = TargetState::Suppressed(peer);
            }
        }
    }

    /// Another router answered than the one that `conn` was to reach. A link to it is none to the one sought: the next of
    /// its addresses is tried. Once others answered at so many dials in a row as it has `addresses`, nothing is left to
    /// try; without that number the other one is out of reach itself, and may move.
    pub(crate) fn answered_by_another(
        &mut self,
        conn: ConnId,
        other: PeerId,
        addresses: Option<usize>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some(key) = self.key_of(conn).cloned() else {
            return;
        };
        let before = self.targets.get(&key).map_or(0, |target| target.mismatches);
        self.failed(conn, ANOTHER, Retry::Later, now, entropy);
        if let Some(target) = self.targets.get_mut(&key) {
            target.mismatches = before + 1;
            if addresses.is_some_and(|all| target.mismatches >= all) {
                target.state = TargetState::Suppressed(other);
            }
        }
    }

    /// Dials those again that had links enough and are out of reach now.
    pub(crate) fn reconsider(&mut self, is_reachable: impl Fn(&PeerId) -> bool, now: Instant) {
        for target in self.targets.values_mut() {
            if matches!(&target.state, TargetState::Suppressed(peer) if !is_reachable(peer)) {
                target.state = TargetState::Waiting(now);
            }
        }
    }

    /// Resets the redial backoff of peers that came within reach: what kept them away is over. Those in whose place another
    /// answered are dialled again, too.
    pub(crate) fn came_within_reach(
        &mut self,
        is_one: impl Fn(&PeerId) -> bool,
        spread: Duration,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        for (key, target) in &mut self.targets {
            let peer = match key {
                TargetKey::Explicit(_) => target.peer,
                TargetKey::Discovered(peer) => Some(*peer),
            };
            let at = match (key, &target.state) {
                (_, TargetState::Waiting(at)) if target.tries > 0 => *at,
                (TargetKey::Discovered(_), TargetState::Suppressed(_)) => Instant::FAR_FUTURE,
                _ => continue,
            };
            if peer.as_ref().is_some_and(&is_one) {
                target.backoff = REDIAL_MIN;
                target.state = TargetState::Waiting(at.min(now + entropy.jitter(spread, 100)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const T0: Instant = Instant::ZERO;
    const SOUGHT: PeerId = PeerId([1; 16]);
    const OTHER: PeerId = PeerId([2; 16]);

    fn discovered() -> (Targets, SeededEntropy) {
        let (mut targets, mut entropy) = (Targets::default(), SeededEntropy::new(1));
        targets.set_discovered(&[SOUGHT], Duration::ZERO, T0, &mut entropy);
        (targets, entropy)
    }

    fn dial(targets: &mut Targets, conn: u64) {
        targets.dialling(&TargetKey::Discovered(SOUGHT), ConnId(conn));
    }

    fn state(targets: &Targets) -> TargetState {
        targets.targets[&TargetKey::Discovered(SOUGHT)]
            .state
            .clone()
    }

    #[test]
    fn all_addresses_are_tried_before_another_router_counts_for_the_one_sought() {
        let (mut targets, mut entropy) = discovered();
        let elsewhere = TargetState::Suppressed(OTHER);
        for conn in [1, 2] {
            dial(&mut targets, conn);
            targets.answered_by_another(ConnId(conn), OTHER, Some(3), T0, &mut entropy);
            assert!(matches!(state(&targets), TargetState::Waiting(_)));
        }
        // Nobody at the third: it may be there yet.
        dial(&mut targets, 3);
        targets.failed(ConnId(3), "timed out", Retry::Later, T0, &mut entropy);
        for conn in 4..7 {
            assert_ne!(state(&targets), elsewhere);
            dial(&mut targets, conn);
            targets.answered_by_another(ConnId(conn), OTHER, Some(3), T0, &mut entropy);
        }
        assert_eq!(state(&targets), elsewhere);
        targets.lost(OTHER, "closed", T0, &mut entropy);
        assert_eq!(state(&targets), elsewhere, "a link to another is no matter");
        targets.reconsider(|_| true, T0);
        assert_eq!(state(&targets), elsewhere);
        targets.reconsider(|_| false, T0);
        assert_eq!(state(&targets), TargetState::Waiting(T0));
    }

    #[test]
    fn who_comes_within_reach_is_dialled_although_another_answered_for_it() {
        let (mut targets, mut entropy) = discovered();
        dial(&mut targets, 1);
        targets.answered_by_another(ConnId(1), OTHER, Some(1), T0, &mut entropy);
        let is_other = |peer: &PeerId| *peer == OTHER;
        targets.came_within_reach(is_other, Duration::ZERO, T0, &mut entropy);
        assert_eq!(state(&targets), TargetState::Suppressed(OTHER));
        targets.came_within_reach(|peer| *peer == SOUGHT, Duration::ZERO, T0, &mut entropy);
        assert_eq!(state(&targets), TargetState::Waiting(T0));
    }

    #[test]
    fn another_router_that_is_out_of_reach_is_no_reason_to_stop() {
        let (mut targets, mut entropy) = discovered();
        for conn in 1..5 {
            dial(&mut targets, conn);
            targets.answered_by_another(ConnId(conn), OTHER, None, T0, &mut entropy);
            assert!(matches!(state(&targets), TargetState::Waiting(_)));
        }
    }
}
