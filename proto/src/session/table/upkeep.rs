//! Timers: retries, confirmation of new keys, and their upkeep.

use super::SessionTable;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::session::SessionOutput;
use crate::session::peers::{Confirm, Watch};
use crate::time::Instant;

impl SessionTable {
    /// Runs the timers that are due at `now`. If the output queue fills, it stops early.
    pub(in crate::session) fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while self.has_room() {
            let Some((due, id)) = self.peers.first_timer() else {
                return;
            };
            if due > now {
                return;
            }
            self.run_timers(id, now, entropy);
            self.peers.settle(id);
            debug_assert_ne!(self.peers.first_timer(), Some((due, id)), "due for ever");
        }
    }

    /// Returns the time of the first timer, and its purpose.
    pub(in crate::session) fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let (_, id) = self.peers.first_timer()?;
        self.peers.get(&id)?.deadline()
    }

    fn run_timers(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
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
        self.peers.release_keys(&dropped);
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

    /// Handles the first datagram that was opened with the keys of `index`: the peer has the keys, so they may be used.
    pub(in crate::session) fn confirmed(&mut self, index: SessionIndex, now: Instant) {
        let Some(id) = self.peers.owner(index) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.slots.current().is_some_and(|t| t.local() == index) {
            peer.confirm = None;
        }
        let Some(confirmed) = peer.slots.confirm(index) else {
            self.peers.settle(id);
            return;
        };
        if confirmed.promoted {
            peer.confirm = None;
            peer.watch = Watch {
                at: now,
                ..Watch::default()
            };
        }
        self.peers.release_keys(&confirmed.dropped);
        if confirmed.promoted {
            self.probe(id, None, now);
        }
        self.outputs.push_back(SessionOutput::Changed(id));
        self.peers.settle(id);
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
