//! Secret of the mesh, and the ciphers that this machine accepts.

pub mod cipher;
pub mod secret;
