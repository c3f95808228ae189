//! Lines for the log.

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Normal life: a link came up, a peer left.
    Info(String),
    /// Something is wrong and somebody should look.
    Warn(String),
}
