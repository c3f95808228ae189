//! What operators should know of this host while it lasts: one line for each subject, shown by `mesh status`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lines, shared by all that may add one. A subject has one line at most, so there are no more than subjects.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    lines: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Warnings {
    /// Replaces the line of `subject`; a new one is logged.
    pub fn set(&self, subject: &'static str, line: impl Into<String>) {
        let line = line.into();
        let mut lines = self.lock();
        if lines.get(subject) != Some(&line) {
            tracing::warn!("{line}");
            lines.insert(subject, line);
        }
    }

    /// Takes the line of `subject` away; that it is over is logged.
    pub fn clear(&self, subject: &'static str) {
        if let Some(line) = self.lock().remove(subject) {
            tracing::info!("over: {line}");
        }
    }

    /// [`Warnings::set`] for an error, [`Warnings::clear`] for success.
    pub fn note<T, E: Display>(
        &self,
        subject: &'static str,
        result: &Result<T, E>,
        words: impl FnOnce(&E) -> String,
    ) {
        match result {
            Ok(_) => self.clear(subject),
            Err(error) => self.set(subject, words(error)),
        }
    }

    /// All lines, by subject.
    pub fn lines(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    /// Nothing that panics happens under this lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_line_while_it_lasts() {
        let warnings = Warnings::default();
        warnings.set("a", "first");
        warnings.clone().set("a", "second");
        warnings.set("b", "other");
        assert_eq!(warnings.lines(), ["second", "other"]);
        warnings.note("b", &Ok::<(), String>(()), Clone::clone);
        warnings.note("c", &Err::<(), _>("no".to_owned()), |e| format!("c: {e}"));
        assert_eq!(warnings.lines(), ["second", "c: no"]);
    }
}
