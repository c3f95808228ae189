//! Effects of routing on the shell.

use std::sync::Arc;

use crate::forward::Snapshot;

use super::remote_addresses::RemoteAttached;
use crate::control::note::Note;

/// An effect of routing.
#[derive(Debug)]
pub(crate) enum RoutingEffect {
    /// The lanes are to read this from now on.
    Publish(Arc<Snapshot>),
    /// A router announces other containers than before, or came within reach or went.
    RemoteAttached(RemoteAttached),
    /// A line for the log.
    Note(Note),
}
