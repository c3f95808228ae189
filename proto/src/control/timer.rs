//! Deadlines of the control plane.

/// Subject of a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The housekeeping of each second.
    Heartbeat,
    /// A probe of a size.
    PathMtu,
    /// A direct path that may have fallen silent.
    SilentPath,
    /// A probe of a direct path.
    PathProbe,
    /// The end of a kept route.
    GracefulRestart,
    /// A record of this router.
    Publish,
    /// The announcement of adjacencies.
    Adjacencies,
    /// A dial.
    Dial,
    /// The end of the warm start.
    WarmStart,
    /// A handshake, or upkeep of keys.
    Session,
    /// The computation of routes.
    Routes,
    /// The repetition of requests.
    Request,
    /// A snapshot.
    Snapshot,
    /// A ping, or the end of a silent link.
    Link,
    /// Updates for a neighbour.
    Push,
    /// The end of a handshake.
    Handshake,
}

impl Timer {
    /// Returns the name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "probe",
            Self::PathMtu => "path MTU",
            Self::SilentPath => "silent path",
            Self::PathProbe => "path heartbeat",
            Self::GracefulRestart => "route without a link",
            Self::Publish => "publish record",
            Self::Adjacencies => "links to say",
            Self::Dial => "dial",
            Self::WarmStart => "choice of links",
            Self::Session => "session",
            Self::Routes => "routes",
            Self::Request => "ask again",
            Self::Snapshot => "snapshot",
            Self::Link => "link",
            Self::Push => "gossip",
            Self::Handshake => "handshake",
        }
    }
}
