//! The Noise protocol framework (revision 34), two patterns of it:
//! `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s` for links and `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` for sessions.
//!
//! ```text
//! XXpsk3:            IKpsk2:
//!   -> e               <- s
//!   <- e, ee, s, es    ...
//!   -> s, se, psk      -> e, es, s, ss
//!                      <- e, ee, se, psk
//! ```
//!
//! [`Handshake`] writes and reads the messages. A failed read leaves it as it was, so a forged message cannot end a
//! handshake. After the last message [`Handshake::split`] gives one key for each direction.

mod handshake;
mod pattern;
mod symmetric;

#[cfg(test)]
mod tests;

pub use handshake::Handshake;
pub use pattern::Pattern;
pub use symmetric::SplitKeys;

/// Longest Noise message, in bytes.
pub const MAX_MESSAGE: usize = 65_535;

/// Side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Side that sends the first message.
    Initiator,
    /// Side that answers.
    Responder,
}

/// Reason why a handshake message could not be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoiseError {
    /// The other side's turn, or the handshake is finished.
    #[error("message out of turn")]
    OutOfTurn,
    /// The message is shorter than its keys and tags.
    #[error("message too short")]
    TooShort,
    /// The message is longer than 65,535 bytes.
    #[error("message too long")]
    TooLong,
    /// Wrong tag: different keys, pre-shared key or prologue, or an altered message.
    #[error("message does not authenticate")]
    Unauthentic,
    /// Public key of low order.
    #[error("public key of low order")]
    LowOrder,
    /// The pattern needs the other side's static key, which was not given.
    #[error("the static key of the other side is not known")]
    NoRemoteStatic,
    /// The handshake is not finished.
    #[error("the handshake is not finished")]
    Unfinished,
}
