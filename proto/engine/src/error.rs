//! Errors of container engines.

/// Error of an engine, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine on this host has the container.
    #[error("no container named {0} on this host")]
    NoContainer(String),
    /// The engine is unreachable or not installed.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is there but does not answer in time.
    #[error("{0}")]
    Silent(String),
    /// The engine refused the request.
    #[error("{engine}: {message}")]
    Refused {
        /// `Docker` or `podman`.
        engine: &'static str,
        /// Message of the engine.
        message: String,
    },
    /// The container has no process, and thus no network namespace.
    #[error("container {0} is not running; start it first")]
    NotRunning(String),
    /// The container uses the host's network namespace.
    #[error("container {0} uses the host's network; it cannot be attached")]
    HostNetwork(String),
}
