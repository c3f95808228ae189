//! Errors of options.

/// Options that cannot be read or handed on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// The configuration file is no TOML, or has an unknown key or a value of the wrong type.
    #[error("line {line}: {message}")]
    File {
        /// Line of the file, from 1.
        line: usize,
        /// Reason in one line.
        message: String,
    },
    /// A path that is not UTF-8 cannot be written into a command line or merged with a file.
    #[error("a path is not valid UTF-8; use another one ({0})")]
    Path(String),
}

/// Settings that cannot be used: one line that names the option, and what to give instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SettingsError(pub(crate) String);

impl From<OptionsError> for SettingsError {
    fn from(error: OptionsError) -> Self {
        Self(error.to_string())
    }
}

/// Returns from a function with a [`SettingsError`] of this text.
macro_rules! refuse {
    ($($text:tt)*) => {
        return Err($crate::error::SettingsError(format!($($text)*)))
    };
}

pub(crate) use refuse;
