//! Notifications of container engines.

/// Notification from an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The engine is connected (again): earlier changes must be looked up.
    Connected,
    /// The container (full id) has changed.
    Changed(String),
    /// The container (full id) has a new name.
    Renamed(String, String),
    /// The container (full id) was removed.
    Removed(String),
    /// The network (id) was created, with this name and our driver.
    NetworkCreated(String, String),
}
