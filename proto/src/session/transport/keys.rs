//! Keys of a transport, and the limits on their use.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::aead::{KEY_LEN, Suite};
use crate::limits;

/// Keys of both directions, as split by the handshake, and their cipher suite.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TransportKeys {
    /// Cipher suite on which both sides agreed.
    #[zeroize(skip)]
    pub suite: Suite,
    /// Key that seals outgoing datagrams.
    pub send: [u8; KEY_LEN],
    /// Key that opens incoming datagrams.
    pub recv: [u8; KEY_LEN],
}

impl fmt::Debug for TransportKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKeys")
    }
}

/// Reason why the keys of a session may no longer be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadKey {
    /// The keys are older than [`limits::REJECT_AFTER`].
    #[error("session key is too old")]
    Expired,
    /// As many datagrams were sealed as allowed ([`TransportLimits`]).
    #[error("session key was used too often")]
    Exhausted,
    /// More datagrams failed to authenticate than allowed ([`TransportLimits`]).
    #[error("session key saw too many forgeries")]
    Attacked,
}

/// Limits on the use of a key; those of each suite are in [`limits`], tests use lower ones.
#[derive(Clone, Copy, Debug)]
pub struct TransportLimits {
    /// Number of sealed datagrams after which a new handshake is due.
    pub rekey_after_messages: u64,
    /// Number of sealed datagrams after which no more are sealed, and first counter that is not opened.
    pub reject_after_messages: u64,
    /// Number of failed authentications after which the session is dead.
    pub max_forgeries: u64,
}

// The limits of AES-GCM hold for up to 2^14 bytes per nonce (RFC 8446 section 5.5).
const _: () = assert!(limits::MAX_DATAGRAM <= 1 << 14);

impl TransportLimits {
    /// Returns the limits of a suite.
    pub fn for_suite(suite: Suite) -> Self {
        match suite {
            Suite::ChaCha20Poly1305 => Self {
                rekey_after_messages: limits::REKEY_AFTER_MESSAGES,
                reject_after_messages: limits::REJECT_AFTER_MESSAGES,
                max_forgeries: limits::MAX_FORGERIES,
            },
            Suite::Aes256Gcm => Self {
                rekey_after_messages: limits::AES_GCM_REKEY_AFTER_MESSAGES,
                reject_after_messages: limits::AES_GCM_REJECT_AFTER_MESSAGES,
                max_forgeries: limits::AES_GCM_MAX_FORGERIES,
            },
        }
    }
}
