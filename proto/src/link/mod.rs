//! One TCP link between two routers, without the TCP: hello, handshake, admission, records.
//!
//! Integers are big-endian. **Both sides begin with a hello at once**, 64 bytes in clear:
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `"mesh"` |
//! | 4, 5 | lowest and highest protocol version spoken; these six bytes are the same in every version |
//! | 6 | authentication: 0 none (open mesh), 1 pre-shared key; 2 is kept for a PAKE |
//! | 7 | flags, 0 |
//! | 8–15 | optional features spoken; those of both sides are used |
//! | 16–31 | random nonce |
//! | 32–63 | kept for the PAKE, 0 |
//!
//! The highest version both speak is used. **Then comes `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`** ([`crate::noise`]);
//! the dialler is the initiator, the prologue is the dialler's hello ‖ the acceptor's hello (so that a hello changed on
//! its way fails the handshake), the pre-shared key comes from the mesh secret. Each message is `u16` length ‖ bytes.
//! Message 1 has no payload; those of messages 2 and 3 are the sender's signed record (an introduction, see
//! [`crate::topology::record`]), whose `dh_key` must be the Noise static key and whose signature must verify.
//!
//! Instead of a message of the handshake a side may send a plain **alert** and close: `ff ff` ‖ code ‖ 0
//! ([`AlertCode`]). It is not authenticated; it tells a person why, and decides nothing but how soon to dial again.
//! Only the acceptor can notice a wrong secret (in message 3), hence the alert.
//!
//! **Afterwards everything is records**: `u16` length of the ciphertext ‖ ciphertext, at most [`MAX_LINK_RECORD`] bytes
//! of it; before the link is up at most [`MAX_PREAUTH_BUFFER`]. ChaCha20-Poly1305 with the key of the direction from
//! Noise's `Split`, the length as associated data, and the number of the record (from 0, per direction) as counter. The
//! key of a direction is replaced (Noise `REKEY`, counter runs on) after the record that completes
//! [`LINK_REKEY_RECORDS`] records or [`LINK_REKEY_BYTES`] bytes of ciphertext with it. The clear text is one byte and a
//! body:
//!
//! | byte | body |
//! |---|---|
//! | 0 | part of a message ([`crate::wire::message`]), not empty; more follows |
//! | 1 | last part of a message, of at most [`MAX_LINK_MESSAGE`] bytes in all |
//! | 2 | confirm: "you are admitted" |
//! | 3 | refusal: one byte [`AlertCode`]; the link ends |
//!
//! **Admission.** The acceptor knows who dials after message 3; when its control admits the peer it sends *confirm*, which
//! also proves to the dialler that the acceptor has the secret. Only then does the dialler's control decide; its own
//! *confirm* ends the handshake. The link is up for the dialler when it sends that, for the acceptor when it arrives.
//! No message may be sent before.
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
pub use hello::VERSION;
pub use machine::{Link, LinkEvent};
