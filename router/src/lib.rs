//! The shell around the protocol: engines, attachments, state, and what ties them to the kernel.

pub mod attach;
pub mod cleanup;
pub mod driver;
pub mod engine;
pub mod state;
