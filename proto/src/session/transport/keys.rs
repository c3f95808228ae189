//! What a handshake gives a transport, and how much the keys may be used.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::aead::{KEY_LEN, Suite};
use crate::limits;

/// The keys of both directions, as a handshake splits them, and the cipher they are for.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TransportKeys {
    /// The cipher both sides agreed on.
    #[zeroize(skip)]
    pub suite: Suite,
    /// Seals what we send.
    pub send: [u8; KEY_LEN],
    /// Opens what we receive.
    pub recv: [u8; KEY_LEN],
}

impl fmt::Debug for TransportKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKeys")
    }
}

/// How much a key may be used; those of a suite come from [`limits`], tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct TransportLimits {
    /// Datagrams sealed before a new handshake is due.
    pub rekey_after_messages: u64,
    /// Datagrams after which nothing is sealed any more, and counter from which nothing is opened.
    pub reject_after_messages: u64,
    /// Failed authentications after which the session is dead.
    pub max_forgeries: u64,
}

// The limits of AES-GCM hold for up to 2^14 bytes under one nonce (RFC 8446 section 5.5).
const _: () = assert!(limits::MAX_DATAGRAM <= 1 << 14);

impl TransportLimits {
    /// Those of one cipher.
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
