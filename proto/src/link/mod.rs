//! TCP link between two routers, without I/O: hello, handshake, admission, records.
//!
//! Integers are big-endian. **Both sides begin with a hello**, 64 bytes in clear:
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `"mesh"` |
//! | 4, 5 | lowest and highest supported protocol version; these six bytes are the same in every version |
//! | 6 | authentication: 0 none (open mesh), 1 pre-shared key; 2 is reserved for a PAKE |
//! | 7 | flags, 0 |
//! | 8–15 | optional features; those of both sides are used |
//! | 16–31 | random nonce |
//! | 32–39 | hash of the mesh's name, 0 without one |
//! | 40–63 | reserved for the PAKE, 0 |
//!
//! The highest common version is used. **The handshake is `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`**
//! ([`crate::noise`]). The dialler is the initiator; the prologue is the dialler's hello ‖ the acceptor's hello, so
//! that an altered hello fails the handshake; the pre-shared key is derived from the mesh secret. Each message is
//! `u16` length ‖ bytes. Message 1 has no payload; the payload of messages 2 and 3 is the sender's signed record (its
//! introduction, see [`crate::topology::record`]), whose `dh_key` must be the Noise static key and whose signature
//! must verify.
//!
//! Instead of a handshake message a side may send a plain **alert** and close: `ff ff` ‖ code ‖ 0 ([`AlertCode`]). It
//! is not authenticated: it informs the operator, and decides nothing but the delay before the next dial. Only the
//! acceptor can detect a wrong secret (in message 3), which is why alerts exist.
//!
//! **After the handshake all data is in records**: `u16` length of the ciphertext ‖ ciphertext of at most
//! [`MAX_LINK_RECORD`] bytes, or [`MAX_PREAUTH_BUFFER`] before the link is up. The cipher is ChaCha20-Poly1305 with
//! the key of the direction from Noise's `Split`, the length as associated data, and the number of the record (from
//! 0, per direction) as counter. The key of a direction is replaced (Noise `REKEY`, the counter runs on) after the
//! record that completes [`LINK_REKEY_RECORDS`] records or [`LINK_REKEY_BYTES`] bytes of ciphertext. The plaintext is
//! one byte and a body:
//!
//! | byte | body |
//! |---|---|
//! | 0 | part of a message ([`crate::wire::message`]), not empty; more parts follow |
//! | 1 | last part of a message, which has at most [`MAX_LINK_MESSAGE`] bytes in total |
//! | 2 | confirm: the receiver is admitted |
//! | 3 | refusal: one byte [`AlertCode`]; ends the link |
//!
//! **Admission.** After message 3 the acceptor knows the identity of the dialler. If its control plane admits the
//! peer, it sends *confirm*, which also proves to the dialler that the acceptor has the secret. Only then does the
//! dialler's control plane decide; its own *confirm* completes the handshake. The link is up for the dialler when it
//! sends that, for the acceptor when it arrives. No message may be sent before.
//!
//! [`MAX_LINK_RECORD`]: crate::limits::MAX_LINK_RECORD
//! [`MAX_LINK_MESSAGE`]: crate::limits::MAX_LINK_MESSAGE
//! [`MAX_PREAUTH_BUFFER`]: crate::limits::MAX_PREAUTH_BUFFER
//! [`LINK_REKEY_RECORDS`]: crate::limits::LINK_REKEY_RECORDS
//! [`LINK_REKEY_BYTES`]: crate::limits::LINK_REKEY_BYTES

mod channel;
mod config;
mod error;
mod handshake;
mod hello;
mod machine;
#[cfg(test)]
mod tests;

pub use config::{LinkConfig, LinkRole};
pub use error::{AlertCode, LinkError, Stranger};
pub use machine::{Link, LinkEvent};

/// Protocol version, the lowest and the highest supported.
pub const VERSION: u8 = 1;
