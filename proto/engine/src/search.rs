//! The search for a container that any of several engines may have.

use crate::error::EngineError;

/// Answers of the engines that were asked so far.
#[derive(Debug, Default)]
pub struct ContainerSearch {
    unavailable: Option<EngineError>,
    silent: Option<EngineError>,
    /// An engine answered that it has no such container.
    was_answered: bool,
}

impl ContainerSearch {
    /// Notes that an engine did not find the container. Returns the error if the search ends with it.
    ///
    /// # Errors
    /// The engine knows the container, and refuses.
    pub fn note(&mut self, error: EngineError) -> Result<(), EngineError> {
        match error {
            EngineError::NoContainer(_) => self.was_answered = true,
            error @ EngineError::Unavailable(_) => drop(self.unavailable.get_or_insert(error)),
            // The other engine may have the container; if not, this one may.
            error @ EngineError::Silent(_) => self.silent = Some(error),
            error => return Err(error),
        }
        Ok(())
    }

    /// Returns the error of a search that found no container called `name`: [`EngineError::NoContainer`] if all present
    /// engines answered; else the error of one that did not.
    pub fn error(self, name: &str) -> EngineError {
        if let Some(silent) = self.silent {
            return silent;
        }
        match self.unavailable {
            Some(error) if !self.was_answered => error,
            _ => EngineError::NoContainer(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(errors: &[EngineError]) -> Result<EngineError, EngineError> {
        let mut search = ContainerSearch::default();
        for error in errors {
            search.note(error.clone())?;
        }
        Ok(search.error("web"))
    }

    #[test]
    fn an_engine_that_answers_counts_more_than_one_that_is_away() {
        let none = EngineError::NoContainer("web".into());
        let away = EngineError::Unavailable("away".into());
        let silent = EngineError::Silent("silent".into());
        assert_eq!(found(&[]), Ok(none.clone()));
        assert_eq!(found(&[away.clone(), none.clone()]), Ok(none.clone()));
        assert_eq!(
            found(&[away.clone(), EngineError::Unavailable("b".into())]),
            Ok(away)
        );
        assert_eq!(found(&[silent.clone(), none]), Ok(silent));
        let refused = EngineError::NotRunning("web".into());
        assert_eq!(found(std::slice::from_ref(&refused)), Err(refused));
    }
}
