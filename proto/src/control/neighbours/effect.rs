//! Effects of neighbours on the shell.

use std::net::SocketAddr;

use crate::ids::ConnId;

use super::forgotten::Forgotten;
use super::target_text::DialTo;
use super::warm_start::StoredNeighbour;

/// An effect of neighbours.
#[derive(Debug)]
pub(crate) enum NeighbourEffect {
    /// Open a TCP connection.
    Dial {
        /// Its handle.
        conn: ConnId,
        /// The address.
        to: DialTo,
        /// Further addresses, if that does not answer at once.
        others: Vec<SocketAddr>,
    },
    /// Keep the explicit targets.
    Targets(Vec<String>),
    /// Keep what is not to be dialled.
    Forgotten(Vec<Forgotten>),
    /// Keep the neighbours, for the next start.
    Neighbours(Vec<StoredNeighbour>),
}
