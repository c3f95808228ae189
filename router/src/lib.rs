//! The shell around the protocol: engines, attachments, state, and what ties them to the kernel.

pub mod engine;
pub mod state;
