//! Timers of the session manager.

use super::SessionOutput;
use super::peer::{Confirm, Watch};
use super::sessions::Sessions;
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits;
use crate::time::Instant;

impl Sessions {
    pub(super) fn run_timers(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let begin = due(peer.begin_at);
        let confirm = due(peer.confirm.as_ref().map(|c| c.at));
        let upkeep = due(peer.upkeep_at);
        let retry = due(peer.pending.as_ref().map(|p| p.retry_at));
        if begin {
            peer.begin_at = None;
        }
        if retry {
            self.retry(id, now, entropy);
        }
        if upkeep {
            self.upkeep(id, now, entropy);
        }
        if confirm {
            self.confirm_again(id, now, entropy);
        }
        if begin {
            self.begin_if_needed(id, now, entropy);
        }
    }

    fn retry(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        let Some(pending) = pending else {
            return;
        };
        if now.since(pending.started) >= limits::HANDSHAKE_GIVE_UP {
            self.drop_pending(id);
            self.counters.given_up += 1;
        } else {
            self.send_init(id, now, entropy);
        }
    }

    fn confirm_again(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let heard = peer.slots.current().is_none_or(|t| t.is_confirmed());
        let Some(confirm) = &mut peer.confirm else {
            return;
        };
        if heard || confirm.attempts >= limits::CONFIRM_ATTEMPTS {
            peer.confirm = None;
            return;
        }
        let last = limits::HANDSHAKE_RETRIES.len() - 1;
        let wait = limits::HANDSHAKE_RETRIES[confirm.attempts.min(last)];
        confirm.attempts += 1;
        confirm.at = now + entropy.jitter(wait, 10);
        self.probe(id, None, now);
    }

    /// Drops expired keys, replaces old ones, detects silence, and answers frames with a keepalive so that the peer
    /// detects none.
    fn upkeep(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let dropped = peer.slots.expire(now);
        let pause = now + entropy.jitter(limits::SESSION_UPKEEP, 10);
        let (mut begin, mut answer) = (false, false);
        if let Some(current) = peer.slots.current() {
            let stats = current.stats();
            // Idle keys are not replaced; the next frame begins a handshake.
            let used = stats
                .last_frame_sent
                .is_some_and(|at| now.since(at) < limits::PROBE_WHILE_USED);
            begin = used && current.wants_rekey(now);
            let seen = peer.watch.look(&stats, current.established(), now);
            begin |= seen.silence;
            answer = seen.unanswered;
        } else {
            // The observations belong to keys that are gone, and would be due for ever.
            peer.watch = Watch::default();
        }
        // Silence is to be detected in time, not at the next regular upkeep.
        let silence = peer.watch.silent_since.map(|s| s + limits::SESSION_SILENCE);
        peer.upkeep_at = peer
            .slots
            .first_expiry()
            .map(|expiry| expiry.min(pause).min(silence.unwrap_or(pause)));
        for transport in &dropped {
            self.indices.release(transport.local());
        }
        if !dropped.is_empty() {
            self.outputs.push_back(SessionOutput::Changed(id));
        }
        if answer {
            self.probe(id, None, now);
        }
        if begin {
            self.begin(id, now, entropy);
        }
    }

    /// Starts upkeep and confirmation of newly agreed keys.
    pub(super) fn tend(
        &mut self,
        id: PeerId,
        confirm: bool,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.upkeep_at.is_none() {
            peer.upkeep_at = Some(now + entropy.jitter(limits::SESSION_UPKEEP, 10));
        }
        if confirm {
            peer.confirm = Some(Confirm {
                attempts: 1,
                at: now + entropy.jitter(limits::HANDSHAKE_RETRIES[0], 10),
            });
            peer.watch = Watch {
                at: now,
                ..Watch::default()
            };
        }
    }
}
