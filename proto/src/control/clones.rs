//! Another router that uses this one's key: a cloned machine, or a copied state directory.
//!
//! The two keep overtaking one another's records, so each meets newer ones that it never made. One such meeting is no
//! clone but an old state directory that was put back; a second one within [`CLONE_QUIET`] is.

use crate::ids::ConnId;
use crate::limits::CLONE_QUIET;
use crate::time::Instant;
use crate::topology::record::SignedRecord;

use crate::wire::topic::{RecordKey, Topic};

use super::links::Slot;
use super::{Control, Note, Output};

/// What is known of a second holder of our key.
#[derive(Debug, Default)]
pub(super) struct Clones {
    last: Option<Instant>,
    /// Who it seems to be, from the second meeting on.
    suspect: Option<String>,
    /// Whether that are its own words, and not only those of whoever told us.
    introduced: bool,
}

impl Clones {
    /// A record of ours that we never made was met; `who` describes its maker, `introduced` says that it does so in its
    /// own words. Whether that is a new suspicion.
    fn met(&mut self, who: String, introduced: bool, now: Instant) -> bool {
        let again = self.last.is_some_and(|at| now.since(at) < CLONE_QUIET);
        self.last = Some(now);
        if !again {
            return false;
        }
        let is_new = self.suspect.is_none();
        if is_new || introduced || !self.introduced {
            self.suspect = Some(who);
            self.introduced = introduced;
        }
        is_new
    }

    /// Whether a suspicion has just ended: nothing was met for [`CLONE_QUIET`].
    fn ended(&mut self, now: Instant) -> bool {
        let quiet = self.last.is_some_and(|at| now.since(at) >= CLONE_QUIET);
        if quiet {
            self.last = None;
        }
        quiet && self.suspect.take().is_some()
    }

    /// What an operator should know and do, while there is a suspicion.
    pub(super) fn warning(&self) -> Option<String> {
        let who = self.suspect.as_ref()?;
        Some(format!(
            "another router seems to use this router's key: {who}; if one machine is a copy of the other, stop mesh on \
             the copy and run mesh reset there"
        ))
    }
}

impl Control {
    /// Somebody holds a record of ours that this run did not make: a lost state file, or a clone with our key.
    pub(super) fn meet_own_record(
        &mut self,
        record: &SignedRecord,
        from: Option<ConnId>,
        now: Instant,
    ) {
        if record.version().epoch < self.own.epoch() {
            // What an earlier run said; who it is now makes it void.
            self.answer_with(record.key(), from, now);
            self.answer_with(RecordKey::new(self.me, Topic::IDENTITY), from, now);
            return;
        }
        if let Some(ours) = self.own.signed(record.topic()) {
            let fork = record.version() == ours.version() && record.hash() != ours.hash();
            if record.version() <= ours.version() && !fork {
                if record.version() < ours.version() {
                    self.answer_with(record.key(), from, now);
                }
                return;
            }
        }
        if !self.verify(record, from, now) {
            return;
        }
        if let Some(epoch) = self.own.overtake(record.topic(), record.version()) {
            // Others take only handshakes and broadcasts of an epoch that is not older than the last they saw.
            self.config.epoch = epoch;
            self.sessions.raise_epoch(epoch);
            self.snapshot_dirty = true;
            self.outputs.push_back(Output::Epoch(epoch));
            self.note(Note::Warn(format!(
                "the stored state of this router is an old one; it goes on with epoch {epoch}"
            )));
        }
        let who = self.describe(record, from);
        let introduced = record.topic() == Topic::IDENTITY;
        if self.clones.met(who, introduced, now) {
            self.warn_of_clone();
        }
    }

    /// The neighbour holds something older of ours: it gets what we say now.
    fn answer_with(&mut self, key: RecordKey, to: Option<ConnId>, now: Instant) {
        if self.own.signed(key.topic).is_some() {
            self.send(to, key, now);
        }
    }

    /// A peer refuses our link because it has one to us already. If we have none at all, somebody else has it, who also
    /// keeps what gossip could tell from us.
    pub(super) fn meet_duplicate(&mut self, conn: ConnId, now: Instant) {
        let Some(address) = self.links.get(conn).map(|slot| slot.address) else {
            return;
        };
        let other = |(c, slot): (ConnId, &Slot)| c != conn && (slot.up || slot.peer.is_some());
        if self.links.iter().any(other) {
            return;
        }
        let who = format!("the router at {address} is linked to it");
        if self.clones.met(who, false, now) {
            self.warn_of_clone();
        }
    }

    fn warn_of_clone(&mut self) {
        if let Some(warning) = self.clones.warning() {
            self.note(Note::Warn(warning));
        }
    }

    pub(super) fn tick_clones(&mut self, now: Instant) {
        if self.clones.ended(now) {
            self.note(Note::Info(
                "no other router uses this router's key any more".to_owned(),
            ));
        }
    }

    /// As far as it can be known: what the clone says of itself, and who told us.
    fn describe(&self, record: &SignedRecord, from: Option<ConnId>) -> String {
        let teller = from.and_then(|conn| self.links.get(conn)?.peer);
        let through = teller.map_or_else(String::new, |p| {
            format!(", heard of from {}", self.display(&p))
        });
        let Some(body) = record.as_identity() else {
            return format!("it has not said its name yet{through}");
        };
        let addresses: Vec<String> = body
            .endpoints
            .iter()
            .take(3)
            .map(ToString::to_string)
            .collect();
        let at = match addresses.as_slice() {
            [] => String::new(),
            some => format!(" at {}", some.join(", ")),
        };
        format!("it calls itself {}{at}{through}", body.nickname)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_meeting_is_an_old_backup_and_two_are_a_clone_until_it_is_quiet() {
        let mut clones = Clones::default();
        let mut now = Instant::from_nanos(1);
        assert!(!clones.met("a".into(), true, now));
        assert_eq!(clones.warning(), None);
        now += SECOND;
        assert!(clones.met("b".into(), true, now));
        now += SECOND;
        assert!(!clones.met("c".into(), true, now), "told already");
        assert!(
            !clones.met("x".into(), false, now),
            "its own words count for more"
        );
        assert!(clones.warning().unwrap().contains("key: c; if"));
        assert!(!clones.ended(now + CLONE_QUIET - SECOND));
        assert!(clones.ended(now + CLONE_QUIET));
        assert_eq!(clones.warning(), None);
        assert!(!clones.ended(now + 2 * CLONE_QUIET));
        // The next one is the first again.
        assert!(!clones.met("d".into(), true, now + 2 * CLONE_QUIET));
        assert!(
            !clones.ended(now + 3 * CLONE_QUIET),
            "there was no suspicion"
        );
        assert!(!clones.met("e".into(), true, now + 4 * CLONE_QUIET));
    }
}
