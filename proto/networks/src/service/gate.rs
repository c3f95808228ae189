//! Effects that wait for the disk: what follows from a change is carried out once the change is stored.
//!
//! While nothing can be stored, few effects wait: of statements the first and the last.

use std::collections::VecDeque;

use super::answer::{NetworksAnswer, NetworksCall};

/// Effect that waits.
#[derive(Clone, Debug)]
pub(crate) enum HeldEffect {
    /// Statement of this router; a newer one replaces it.
    Announce(Vec<u8>),
    /// Answer to a caller.
    Answer(NetworksCall, NetworksAnswer),
}

/// Effects in order, each with the number of the content that must be stored before.
#[derive(Debug, Default)]
pub(crate) struct StoreGate {
    /// Number of the last content that was handed to the disk.
    position: u64,
    /// Number of the content on disk.
    durable: u64,
    held: VecDeque<(u64, HeldEffect)>,
    /// Reason why the last content could not be stored.
    error: Option<String>,
}

impl HeldEffect {
    /// Returns true if only the newer of the two counts.
    fn is_replaced_by(&self, newer: &Self) -> bool {
        matches!((self, newer), (Self::Announce(_), Self::Announce(_)))
    }
}

impl StoreGate {
    /// Returns the number of a content that is handed to the disk now.
    pub(crate) fn next_position(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// Holds an effect until all that was handed to the disk so far is stored.
    pub(crate) fn hold(&mut self, effect: HeldEffect) {
        let same = |(_, held): &&(u64, HeldEffect)| held.is_replaced_by(&effect);
        // The first of them is let through, however fast changes follow one another.
        if self.held.iter().filter(same).count() > 1 {
            let last = self.held.iter().rposition(|held| same(&held));
            last.and_then(|at| self.held.remove(at));
        }
        self.held.push_back((self.position, effect));
    }

    /// Takes note of what is on disk.
    pub(crate) fn stored(&mut self, position: u64) {
        self.error = None;
        self.durable = self.durable.max(position);
    }

    /// Takes note that nothing can be stored now. Returns the callers that waited for it, each with its answer.
    pub(crate) fn failed(&mut self, error: String) -> Vec<(NetworksCall, NetworksAnswer)> {
        self.error = Some(error);
        let held = core::mem::take(&mut self.held);
        let mut answers = Vec::new();
        for (position, effect) in held {
            match effect {
                HeldEffect::Answer(call, answer) => answers.push((call, answer)),
                effect => self.held.push_back((position, effect)),
            }
        }
        answers
    }

    /// Returns the reason why nothing can be stored now.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Returns the next effect whose turn has come.
    pub(crate) fn release(&mut self) -> Option<HeldEffect> {
        let (position, _) = self.held.front()?;
        let is_free = *position <= self.durable;
        is_free.then(|| self.held.pop_front())?.map(|(_, e)| e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announce(n: u8) -> HeldEffect {
        HeldEffect::Announce(vec![n])
    }

    fn released(gate: &mut StoreGate) -> Vec<String> {
        let all = core::iter::from_fn(|| gate.release());
        all.map(|effect| match effect {
            HeldEffect::Announce(bytes) => bytes[0].to_string(),
            HeldEffect::Answer(call, _) => format!("call {}", call.0),
        })
        .collect()
    }

    #[test]
    fn an_effect_waits_for_what_was_handed_to_the_disk_before() {
        let mut gate = StoreGate::default();
        gate.hold(announce(1));
        assert_eq!(released(&mut gate), ["1"], "nothing is to be stored");
        let first = gate.next_position();
        gate.hold(announce(2));
        gate.hold(HeldEffect::Answer(
            NetworksCall(7),
            NetworksAnswer::Joined(Ok(())),
        ));
        let second = gate.next_position();
        gate.hold(announce(3));
        assert!(released(&mut gate).is_empty());
        gate.stored(first);
        assert_eq!(released(&mut gate), ["2", "call 7"]);
        gate.stored(second);
        assert_eq!(released(&mut gate), ["3"]);
    }

    #[test]
    fn the_first_and_the_last_of_many_wait() {
        let mut gate = StoreGate::default();
        let mut first = 0;
        for n in 1..=100 {
            let position = gate.next_position();
            first = if n == 1 { position } else { first };
            gate.hold(announce(n));
        }
        assert_eq!(gate.held.len(), 2);
        gate.stored(first);
        assert_eq!(released(&mut gate), ["1"]);
        gate.stored(100);
        assert_eq!(released(&mut gate), ["100"]);
    }

    #[test]
    fn callers_do_not_wait_for_a_broken_disk() {
        let mut gate = StoreGate::default();
        gate.next_position();
        gate.hold(announce(1));
        gate.hold(HeldEffect::Answer(
            NetworksCall(7),
            NetworksAnswer::Joined(Ok(())),
        ));
        let told = gate.failed("the disk is full".to_owned());
        assert_eq!(told.len(), 1);
        assert_eq!(gate.error(), Some("the disk is full"));
        assert!(released(&mut gate).is_empty());
        gate.stored(1);
        assert_eq!(gate.error(), None);
        assert_eq!(released(&mut gate), ["1"]);
    }
}
