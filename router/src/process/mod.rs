//! Life cycle of the process: the way in which it was started, its supervisor, its log.

pub(crate) mod log;
pub mod start;
pub mod supervise;
