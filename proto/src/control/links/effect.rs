//! Effects of links.

use std::net::SocketAddr;

use crate::ids::{ConnId, PeerId, PeerName};

use crate::control::note::Note;

/// Advice on the next dial of a target whose dial or link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// With growing waits.
    Later,
    /// At the longest wait: only the operator can mend it, but then without telling us.
    Slowly,
    /// Not until the operator asks.
    Never,
}

/// Way of closing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The bytes that were written before still arrive.
    Orderly,
    /// It ends a link with a stranger that was told why: that still arrives where there is room for it.
    Alerted,
    /// Nothing need arrive: the connection is reset, and costs nothing from then on (RFC 9293 section 3.10.5, ABORT).
    Abort,
}

/// An effect of links on the shell and on the other parts of the control plane.
#[derive(Debug)]
pub(crate) enum LinkEffect {
    /// Write these bytes to a connection.
    Send(ConnId, Vec<u8>),
    /// Close a connection.
    Close(ConnId, Ending),
    /// Keep the binding of a name to a key.
    Pin(PeerName, [u8; 32]),
    /// A line for the log.
    Note(Note),
    /// A connection was opened.
    Opened,
    /// A connection ended.
    Ended(LinkEnd),
}

/// The end of a connection.
#[derive(Debug)]
pub(crate) struct LinkEnd {
    /// The connection.
    pub(crate) conn: ConnId,
    /// The peer to which it was the link, if it was up.
    pub(crate) lost: Option<PeerId>,
    /// The other end's TCP address.
    pub(crate) address: SocketAddr,
    /// The reason.
    pub(crate) error: String,
    /// Advice on the next dial.
    pub(crate) retry: Retry,
}
