//! Data sessions between two routers: pairs of keys for UDP, agreed by `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`.
//!
//! # Messages
//!
//! All integers are big-endian. Each message begins with the 16-byte datagram header ([`crate::wire::datagram`]): hop
//! limit 16, and a counter whose highest bit is 1 and whose other bits are random, so that (destination, receiver
//! index, counter) names no two datagrams alike; data counters stay below 2^48.
//!
//! ```text
//! Init, kind 1, 180 bytes
//!   0   16  header; receiver index = the sender's index, by which the answer shall name this handshake
//!   16  32  Noise message 1: ephemeral key
//!   48  48  Noise message 1: static key of the initiator ‖ tag
//!   96  52  Noise message 1: payload ‖ tag; payload = PeerId of the initiator (16) ‖ boot epoch (8)
//!           ‖ handshake counter (8) ‖ suites (4)
//!   148 16  mac1
//!   164 16  mac2
//!
//! Response, kind 2, 93 bytes
//!   0   16  header; receiver index = the one of the Init
//!   16  32  Noise message 2: ephemeral key
//!   48  29  Noise message 2: payload ‖ tag; payload = the responder's index (4) ‖ suite (1) ‖ boot epoch (8)
//!   77  16  mac1
//!
//! Cookie, kind 3, 88 bytes
//!   0   16  header; receiver index = the one of the Init that it answers
//!   16  24  nonce, random
//!   40  48  XChaCha20-Poly1305( cookie (32) ) ‖ tag; associated data = mac1 of that Init
//! ```
//!
//! * Noise prologue: "mesh session v1" ‖ the 16-byte header of the Init (network id and index included) ‖ the
//!   PeerId of the responder. The pre-shared key is [`crate::crypto::secret::MeshSecret::session_psk`].
//! * mac1 = the 16-byte BLAKE2s MAC, with key BLAKE2s-256("mesh mac1 v1" ‖ X25519 key of the receiver), of all bytes
//!   before it. It shows that the sender knows whom it talks to; strangers get no answer.
//! * mac2 = the 16-byte BLAKE2s MAC, with the cookie as key, of all bytes before it; zero without a cookie.
//! * cookie = the 32-byte BLAKE2s MAC, with a secret that its maker replaces every 120 s (the one before still
//!   counts), of the source address (4 or 16 bytes, IPv4-mapped as IPv4) ‖ source port (2).
//! * The key of a Cookie message is BLAKE2s-256("mesh cookie v1" ‖ X25519 key of its sender).
//!
//! # Suites
//!
//! The handshake itself is always ChaCha20-Poly1305; what the keys it gives are used with is agreed in it. An Init names
//! the suites its sender takes by their numbers ([`Suite`](crate::crypto::aead::Suite)), the preferred one first, zeros
//! behind the last; numbers that the receiver does not know are passed over. The responder takes the first of its own
//! that is among them, and names it in the Response. Both lists are authenticated, so nobody in between can move the two
//! to another suite. Without a common one the Init gets no answer and is [`Refused::NoCommonSuite`]; a Response that
//! names a suite not offered is too.
//!
//! # Acceptance
//!
//! An Init is accepted if the record of the router that it names as its sender has its static key (so a router that
//! announces the key of another gains nothing), and only if (boot epoch, handshake counter) exceeds
//! the last one of that peer. No answer is longer than what it answers. Above [`crate::limits::HANDSHAKE_LOAD`]
//! Inits a second, one that comes directly and without a good mac2 is answered by a Cookie and costs no key agreement.
//! A Response costs one only if it names a handshake that waits, and [`crate::limits::RESPONSE_ATTEMPTS`] at most.
//!
//! # Keys
//!
//! The initiator uses new keys when the Response to any of its last four Inits arrives, and sends an empty Probe with
//! them until it hears an answer. The responder keeps the keys of the last four Inits it answered as *next* and uses
//! those with which it opened a first datagram; then it answers with an empty Probe. The keys before are kept as *previous*, for datagrams still on their way. When both sides begin at
//! once the Init of the lower [`PeerId`] wins: its sender ignores the other Init and repeats its own, the other side
//! answers and drops its own. After four attempts in vain the sender answers too.
//!
//! After 120 s of use the initiator begins anew, after 165 s the responder; at 180 s keys are dead. Frames sent without
//! an answer for 10 s begin a handshake too; a side that only receives sends an empty Probe every 5 s.

pub mod replay;
pub mod transport;

mod answer;
mod begin;
mod guard;
mod indices;
mod message;
mod peer;
mod sessions;
mod upkeep;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::ids::PeerId;

pub use message::{COOKIE_LEN, INIT_LEN, RESPONSE_LEN};
pub use sessions::{SessionCounters, SessionStatus, Sessions};

/// How a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// Straight from this address.
    Direct(SocketAddr),
    /// Out of a Relay envelope that a neighbour authenticated.
    Relayed,
}

/// What the mesh knows of X25519 keys.
pub trait Directory {
    /// Whether the record of `peer` names this X25519 key; if not, it gets no answer.
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool;
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutput {
    /// Send a datagram to a router.
    Send {
        /// The receiver.
        peer: PeerId,
        /// `Some`: answer the way it came; `None`: by the best path there is.
        via: Option<Via>,
        /// The complete datagram.
        bytes: Vec<u8>,
    },
    /// Send a Cookie to an address whose owner is not known.
    Challenge {
        /// The receiver.
        to: SocketAddr,
        /// The complete datagram.
        bytes: Vec<u8>,
    },
    /// The transports of a router changed: [`Sessions::current`] and [`Sessions::receiving`] say how.
    Changed(PeerId),
}

/// Why a handshake datagram had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refused {
    /// Not a handshake message, or not of its length.
    #[error("malformed handshake message")]
    Malformed,
    /// mac1 is wrong: made for another router, or changed on its way.
    #[error("handshake message for another router")]
    BadMac,
    /// Under load, and without a cookie; one was sent.
    #[error("handshake message without a cookie while under load")]
    CookieNeeded,
    /// Under load, and its source or the relays used up their share.
    #[error("too many handshake messages")]
    RateLimited,
    /// The Noise message does not authenticate: another secret, or changed on its way.
    #[error("handshake message does not authenticate")]
    Unauthentic,
    /// The record of the initiator does not name its static key, or there is none, or it is our own.
    #[error("handshake of an unknown router")]
    UnknownPeer,
    /// The epoch and counter of an Init do not exceed the last ones.
    #[error("replayed handshake message")]
    Replayed,
    /// Our own Init to the same router has precedence.
    #[error("handshake begun by both sides at once")]
    Yielded,
    /// No handshake of ours has this index.
    #[error("answer to no handshake of ours")]
    UnknownIndex,
    /// A Cookie that does not belong to the last message we sent.
    #[error("cookie does not authenticate")]
    BadCookie,
    /// The X25519 key of a router is of low order.
    #[error("unusable key")]
    BadKey,
    /// The peer takes none of the suites that we take.
    #[error("no cipher in common")]
    NoCommonSuite,
    /// Too many outputs wait to be collected.
    #[error("the output queue is full")]
    Busy,
}

impl Refused {
    /// All reasons, in order.
    pub const ALL: [Refused; 13] = [
        Refused::Malformed,
        Refused::BadMac,
        Refused::CookieNeeded,
        Refused::RateLimited,
        Refused::Unauthentic,
        Refused::UnknownPeer,
        Refused::Replayed,
        Refused::Yielded,
        Refused::UnknownIndex,
        Refused::BadCookie,
        Refused::BadKey,
        Refused::NoCommonSuite,
        Refused::Busy,
    ];
}
