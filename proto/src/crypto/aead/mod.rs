//! Authenticated encryption in place, with a counter as nonce.
//!
//! Two implementations, for two purposes:
//!
//! * [`ChaChaKey`], from RustCrypto: ChaCha20-Poly1305 for Noise handshakes, links and cookies. It processes few
//!   bytes; its keys are erased when dropped.
//! * [`AeadKey`], from `ring`: datagrams of sessions, with the negotiated [`Suite`]. Its tests compare it byte for
//!   byte with RustCrypto.
//!
//! A nonce has 12 bytes: four zero bytes and the counter, in the byte order that Noise (revision 34, section 12)
//! defines for each cipher. The caller must not use a counter twice with one key.

mod bulk;
mod chacha;
mod suite;

pub use bulk::AeadKey;
pub use chacha::ChaChaKey;
pub use suite::{Suite, Suites};

/// Length of a key of any suite, in bytes.
pub const KEY_LEN: usize = 32;

/// Error: the tag does not match key, counter, associated data and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Forged;

#[cfg(test)]
mod tests;
