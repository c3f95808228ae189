//! The cryptography of the mesh: identities, the operator's secret, and the primitives they stand on.

pub mod aead;
pub mod dh;
pub mod identity;
pub mod secret;

#[cfg(test)]
mod vectors;
