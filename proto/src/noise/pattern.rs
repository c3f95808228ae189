//! Handshake patterns, as data.

use Token::{E, Ee, Es, Psk, S, Se, Ss};

/// Handshake pattern, with its name in Noise revision 34.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`: both static keys are sent encrypted; three messages.
    XxPsk3,
    /// `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`: the initiator knows the responder's static key; two messages.
    IkPsk2,
}

/// Step of a message pattern (Noise section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Ephemeral public key.
    E,
    /// Static public key, encrypted once there is a key.
    S,
    /// Diffie-Hellman of both ephemeral keys.
    Ee,
    /// Diffie-Hellman of the initiator's ephemeral and the responder's static key.
    Es,
    /// Diffie-Hellman of the initiator's static and the responder's ephemeral key.
    Se,
    /// Diffie-Hellman of both static keys.
    Ss,
    /// Pre-shared key.
    Psk,
}

impl Pattern {
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Pattern::XxPsk3 => b"Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
            Pattern::IkPsk2 => b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
        }
    }

    /// Returns true if the initiator knows the responder's static key beforehand (pre-message `<- s`).
    pub(super) fn responder_known(self) -> bool {
        self == Pattern::IkPsk2
    }

    /// Returns the messages in order; the initiator writes the first, then they alternate.
    pub(super) fn messages(self) -> &'static [&'static [Token]] {
        match self {
            Pattern::XxPsk3 => &[&[E], &[E, Ee, S, Es], &[S, Se, Psk]],
            Pattern::IkPsk2 => &[&[E, Es, S, Ss], &[E, Ee, Se, Psk]],
        }
    }
}
