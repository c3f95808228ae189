//! Authenticated encryption in place, with a counter for a nonce.
//!
//! Two implementations, for two uses:
//!
//! * [`ChaChaKey`], from RustCrypto: ChaCha20-Poly1305 of the Noise handshakes, links and cookies. Few bytes go
//!   through it; its keys are erased when dropped.
//! * [`AeadKey`], from `ring`: the datagrams of sessions, with the [`Suite`] both sides agreed on. Its tests compare it
//!   byte for byte with RustCrypto's.
//!
//! Nonces are 12 bytes: four zero bytes and the counter, in the byte order that Noise (revision 34, section 12) gives
//! each cipher. The caller owes that no counter is used twice with one key.

mod bulk;
mod chacha;
mod suite;

pub use bulk::AeadKey;
pub use chacha::ChaChaKey;
pub use suite::{Suite, Suites};

/// Bytes of a key of any suite.
pub const KEY_LEN: usize = 32;

/// The tag does not belong to this key, counter, associated data and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Forged;

#[cfg(test)]
mod tests;
