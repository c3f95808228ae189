//! Cryptography: identities, the mesh secret, and the primitives.

pub mod aead;
pub mod dh;
pub mod identity;
pub mod key_transfer;
pub mod network_key;
pub mod secret;

#[cfg(test)]
mod vectors;
