//! Detection of a duplicate identity: another router that uses the key of this one, as on a cloned machine or with a copied
//! state directory.
//!
//! The two keep overtaking one another's records, so each meets newer ones that it never made. One such meeting is no
//! duplicate but an old state directory that was put back; a second one within [`DUPLICATE_IDENTITY_QUIET`] is.

use crate::limits::DUPLICATE_IDENTITY_QUIET;
use crate::time::Instant;
use crate::topology::bodies::IdentityBody;

/// Suspicion of a duplicate identity.
#[derive(Debug, Default)]
pub(crate) struct DuplicateIdentity {
    last: Option<Instant>,
    /// Description of the duplicate, from the second meeting on.
    suspect: Option<String>,
    /// True if the description comes from the duplicate's own identity record.
    introduced: bool,
}

impl DuplicateIdentity {
    /// Records that a record of this router was met that it never made; `who` describes its maker, `introduced` says that the
    /// description is the maker's own. Returns true if that is a new suspicion.
    pub(crate) fn met(&mut self, who: String, introduced: bool, now: Instant) -> bool {
        let again = self
            .last
            .is_some_and(|at| now.since(at) < DUPLICATE_IDENTITY_QUIET);
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

    /// Returns true if a suspicion has just ended: nothing was met for [`DUPLICATE_IDENTITY_QUIET`].
    pub(crate) fn ended(&mut self, now: Instant) -> bool {
        let quiet = self
            .last
            .is_some_and(|at| now.since(at) >= DUPLICATE_IDENTITY_QUIET);
        if quiet {
            self.last = None;
        }
        quiet && self.suspect.take().is_some()
    }

    /// Returns what an operator should know and do, while there is a suspicion.
    pub(crate) fn warning(&self) -> Option<String> {
        let who = self.suspect.as_ref()?;
        Some(format!(
            "another router seems to use this router's key: {who}; if one machine is a copy of the other, stop mesh on \
             the copy and run mesh reset there"
        ))
    }
}

/// Describes the maker of a record by its identity, where the record is one, and by the neighbour that brought it.
pub(crate) fn describe(identity: Option<&IdentityBody>, from: Option<&str>) -> String {
    let through = from.map_or_else(String::new, |from| format!(", heard of from {from}"));
    let Some(body) = identity else {
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_meeting_is_an_old_backup_and_two_are_a_clone_until_it_is_quiet() {
        let mut duplicate = DuplicateIdentity::default();
        let mut now = Instant::from_nanos(1);
        assert!(!duplicate.met("a".into(), true, now));
        assert_eq!(duplicate.warning(), None);
        now += SECOND;
        assert!(duplicate.met("b".into(), true, now));
        now += SECOND;
        assert!(!duplicate.met("c".into(), true, now), "told already");
        assert!(
            !duplicate.met("x".into(), false, now),
            "its own words count for more"
        );
        assert!(duplicate.warning().unwrap().contains("key: c; if"));
        assert!(!duplicate.ended(now + DUPLICATE_IDENTITY_QUIET - SECOND));
        assert!(duplicate.ended(now + DUPLICATE_IDENTITY_QUIET));
        assert_eq!(duplicate.warning(), None);
        assert!(!duplicate.ended(now + 2 * DUPLICATE_IDENTITY_QUIET));
        // The next one is the first again.
        assert!(!duplicate.met("d".into(), true, now + 2 * DUPLICATE_IDENTITY_QUIET));
        assert!(
            !duplicate.ended(now + 3 * DUPLICATE_IDENTITY_QUIET),
            "there was no suspicion"
        );
        assert!(!duplicate.met("e".into(), true, now + 4 * DUPLICATE_IDENTITY_QUIET));
    }
}
