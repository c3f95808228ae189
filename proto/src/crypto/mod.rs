//! Cryptographic building blocks: thin, zeroizing wrappers that fix the algorithm and the nonce layout.

pub mod aead;
