//! Sequence of steps with inverses: a failure half-way leaves nothing behind.

use crate::SysError;

type Undo = Box<dyn FnOnce() + Send>;

/// Plan in execution. If it is dropped before [`StepPlan::commit`], its steps are undone in reverse order.
#[derive(Default)]
pub struct StepPlan {
    undo: Vec<Undo>,
    #[cfg(test)]
    fail_at: Option<usize>,
    #[cfg(test)]
    begun: Vec<&'static str>,
}

impl StepPlan {
    /// Creates an empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one step that the inverse of an earlier step also undoes.
    ///
    /// # Errors
    /// Errors of `act`.
    pub fn step<T>(
        &mut self,
        name: &'static str,
        act: impl FnOnce() -> Result<T, SysError>,
    ) -> Result<T, SysError> {
        self.inject(name)?;
        act()
    }

    /// Takes one step; `undo` runs if the plan fails later.
    ///
    /// # Errors
    /// Errors of `act`; `undo` does not run then.
    pub fn step_with_undo<T>(
        &mut self,
        name: &'static str,
        act: impl FnOnce() -> Result<T, SysError>,
        undo: impl FnOnce() + Send + 'static,
    ) -> Result<T, SysError> {
        self.inject(name)?;
        let value = act()?;
        self.undo.push(Box::new(undo));
        Ok(value)
    }

    /// Keeps the result of all steps.
    pub fn commit(mut self) {
        self.undo.clear();
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    fn inject(&mut self, _name: &'static str) -> Result<(), SysError> {
        Ok(())
    }
}

impl Drop for StepPlan {
    fn drop(&mut self) {
        while let Some(undo) = self.undo.pop() {
            undo();
        }
    }
}

#[cfg(test)]
impl StepPlan {
    /// Creates a plan whose step number `fail_at` (from 0) fails before it acts.
    pub(crate) fn failing_at(fail_at: usize) -> Self {
        let mut plan = Self::new();
        plan.fail_at = Some(fail_at);
        plan
    }

    fn inject(&mut self, name: &'static str) -> Result<(), SysError> {
        self.begun.push(name);
        if self.fail_at == Some(self.begun.len() - 1) {
            return Err(SysError::other(name, "injected"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn three_steps(plan: &mut StepPlan, log: &Arc<Mutex<Vec<String>>>) -> Result<(), SysError> {
        for name in ["one", "two", "three"] {
            let undo_log = Arc::clone(log);
            plan.step_with_undo(
                name,
                || {
                    log.lock().unwrap().push(name.to_owned());
                    Ok(())
                },
                move || undo_log.lock().unwrap().push(format!("undo {name}")),
            )?;
        }
        Ok(())
    }

    #[test]
    fn a_failure_undoes_in_reverse() {
        let log = Arc::default();
        let mut plan = StepPlan::failing_at(2);
        assert!(three_steps(&mut plan, &log).is_err());
        drop(plan);
        assert_eq!(*log.lock().unwrap(), ["one", "two", "undo two", "undo one"]);
    }

    #[test]
    fn a_commit_keeps_everything() {
        let log = Arc::default();
        let mut plan = StepPlan::new();
        three_steps(&mut plan, &log).unwrap();
        plan.commit();
        assert_eq!(*log.lock().unwrap(), ["one", "two", "three"]);
    }
}
