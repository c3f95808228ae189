//! The journal of addresses: its file format, and its way to the disk.

pub mod backlog;
pub mod compaction;
pub mod file;
