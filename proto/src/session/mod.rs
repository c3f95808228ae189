//! Data sessions between two routers: keys for UDP, agreed by `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`.
//!
//! Messages, cookies and timers follow WireGuard (Donenfeld, NDSS 2017), with an own encoding and a choice of
//! ciphers.
//!
//! # Messages
//!
//! All integers are big-endian. Each message begins with the 16-byte datagram header ([`crate::wire::datagram`]). Its
//! hop limit is 16; its counter has the highest bit set and random other bits, so that (destination, receiver index,
//! counter) is unique. Counters of data stay below 2^48.
//!
//! ```text
//! Init, kind 1, 180 bytes
//!   0   16  header; receiver index = index of the sender, which the answer names
//!   16  32  Noise message 1: ephemeral key
//!   48  48  Noise message 1: static key of the initiator ‖ tag
//!   96  52  Noise message 1: payload ‖ tag; payload = PeerId of the initiator (16) ‖ boot epoch (8)
//!           ‖ handshake counter (8) ‖ suites (4)
//!   148 16  mac1
//!   164 16  mac2
//!
//! Response, kind 2, 93 bytes
//!   0   16  header; receiver index = that of the Init
//!   16  32  Noise message 2: ephemeral key
//!   48  29  Noise message 2: payload ‖ tag; payload = index of the responder (4) ‖ suite (1) ‖ boot epoch (8)
//!   77  16  mac1
//!
//! Cookie, kind 3, 88 bytes
//!   0   16  header; receiver index = that of the Init it answers
//!   16  24  nonce, random
//!   40  48  XChaCha20-Poly1305( cookie (32) ) ‖ tag; associated data = mac1 of that Init
//! ```
//!
//! * Noise prologue: "mesh session v1" ‖ the 16-byte header of the Init (with network id and index) ‖ the PeerId of
//!   the responder. The pre-shared key is [`crate::crypto::secret::MeshSecret::session_psk`].
//! * mac1: the 16-byte BLAKE2s MAC of all preceding bytes, with key BLAKE2s-256("mesh mac1 v1" ‖ X25519 key of the
//!   receiver). It proves that the sender knows the receiver's key; other senders get no answer.
//! * mac2: the 16-byte BLAKE2s MAC of all preceding bytes, with the cookie as key; zeros without a cookie.
//! * Cookie: the 32-byte BLAKE2s MAC of the source address (4 or 16 bytes, IPv4-mapped as IPv4) ‖ source port (2),
//!   with a secret that the responder replaces every 120 s; the previous secret is still accepted.
//! * Key of a Cookie message: BLAKE2s-256("mesh cookie v1" ‖ X25519 key of its sender).
//!
//! # Suites
//!
//! The handshake itself always uses ChaCha20-Poly1305; it negotiates the cipher of the data keys. An Init lists the
//! numbers of the suites that its sender supports ([`Suite`](crate::crypto::aead::Suite)), in order of preference,
//! padded with zeros; the receiver ignores unknown numbers. The responder chooses the first of its own suites that is
//! in the list, and names it in the Response. Both lists are authenticated, so no attacker can force another suite.
//! If there is no common suite, the Init gets no answer and counts as [`Refused::NoCommonSuite`]; so does a Response
//! that names a suite that was not offered.
//!
//! # Acceptance
//!
//! An Init is accepted if its static key is the one in the record of the router that it names as its sender, and if
//! (boot epoch, handshake counter) exceeds that of the last Init of this router. The first condition makes it useless
//! to announce the key of another router. No answer is longer than the message that causes it. Above
//! [`crate::limits::HANDSHAKE_LOAD`] Inits per second, a direct one without a valid mac2 is answered with a Cookie
//! and costs no key agreement. A Response costs one only if it names a pending handshake,
//! [`crate::limits::RESPONSE_ATTEMPTS`] times at most.
//!
//! # Keys
//!
//! The initiator uses new keys as soon as the Response to any of its last four Inits arrives, and sends an empty
//! Probe with them until it receives an answer. The responder keeps the keys of the last four Inits it answered as
//! *next*; the first datagram that one of them opens makes that one *current*, and is answered with an empty Probe.
//! The keys before are kept as *previous*, for datagrams that are still on their way. If both sides begin at once,
//! the Init of the lower [`PeerId`] takes precedence: its sender ignores the other Init and repeats its own, and the
//! other side answers and drops its own handshake. After four unanswered attempts the sender answers, too.
//!
//! Rekeying begins after 120 s on the side of the initiator, and after 165 s on that of the responder; keys expire
//! after 180 s. If frames are sent and nothing is received for 10 s, a handshake begins, too; a side that only
//! receives sends an empty Probe as a keepalive every 5 s.

pub mod replay;
pub mod transport;

mod guard;
mod handshaker;
mod init_history;
mod message;
mod peers;
mod sessions;
mod table;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::ids::PeerId;

pub use message::{COOKIE_LEN, INIT_LEN, RESPONSE_LEN};
pub use sessions::{SessionStatus, Sessions};
pub use table::SessionCounters;

pub use crate::wire::via::Via;

/// Lookup of the X25519 keys that routers announce.
pub trait Directory {
    /// Returns true if the record of `peer` has this X25519 key; otherwise `peer` gets no answer.
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool;
}

/// Action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutput {
    /// Send a datagram to a router.
    Send {
        /// Destination router.
        peer: PeerId,
        /// `Some`: answer on the path of the request; `None`: on the best path.
        via: Option<Via>,
        /// Complete datagram.
        bytes: Vec<u8>,
    },
    /// Send a Cookie to an address of an unauthenticated sender.
    Challenge {
        /// Destination address.
        to: SocketAddr,
        /// Complete datagram.
        bytes: Vec<u8>,
    },
    /// The transports of a router changed; see [`Sessions::current`] and [`Sessions::receiving`].
    Changed(PeerId),
}

/// Reason why a handshake datagram was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refused {
    /// Not a handshake message, or of the wrong length.
    #[error("malformed handshake message")]
    Malformed,
    /// Wrong mac1: for another router, or altered on its way.
    #[error("handshake message for another router")]
    BadMac,
    /// No valid cookie while under load; a Cookie message was sent.
    #[error("handshake message without a cookie while under load")]
    CookieNeeded,
    /// Rate limit, under load, of the source or of relayed messages.
    #[error("too many handshake messages")]
    RateLimited,
    /// The Noise message fails to authenticate: another mesh secret, or altered on its way.
    #[error("handshake message does not authenticate")]
    Unauthentic,
    /// The initiator has no record, or one without this static key, or is this router itself.
    #[error("handshake of an unknown router")]
    UnknownPeer,
    /// Epoch and counter of an Init do not exceed the last ones.
    #[error("replayed handshake message")]
    Replayed,
    /// This router's own Init to the same router takes precedence.
    #[error("handshake begun by both sides at once")]
    Yielded,
    /// No pending handshake has this index.
    #[error("answer to an unknown handshake")]
    UnknownIndex,
    /// The Cookie does not authenticate as an answer to the last Init.
    #[error("cookie does not authenticate")]
    BadCookie,
    /// The X25519 key of a router is of low order.
    #[error("unusable key")]
    BadKey,
    /// No common cipher suite.
    #[error("no cipher in common")]
    NoCommonSuite,
    /// The output queue is full.
    #[error("the output queue is full")]
    Busy,
}

impl Refused {
    /// All reasons, in order of declaration.
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
