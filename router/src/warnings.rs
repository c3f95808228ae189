//! Current warnings about this host: one line per subject, shown by `mesh status`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared warnings. Each subject has at most one line, so their number is bounded.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    lines: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Warnings {
    /// Sets the line of `subject`; a new line is logged.
    pub fn set(&self, subject: &'static str, line: impl Into<String>) {
        let line = line.into();
        let mut lines = self.lock();
        if lines.get(subject) != Some(&line) {
            tracing::warn!("{line}");
            lines.insert(subject, line);
        }
    }

    /// Removes the line of `subject`; the end of the condition is logged.
    pub fn clear(&self, subject: &'static str) {
        if let Some(line) = self.lock().remove(subject) {
            tracing::info!("over: {line}");
        }
    }

    /// Calls [`Warnings::set`] for an error, [`Warnings::clear`] for success.
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

    /// Returns all lines, by subject.
    pub fn lines(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    /// Ignores poisoning: no code panics under this lock.
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
