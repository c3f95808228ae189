//! The desk with real control planes, disks that may break, and callers.

mod alone;
mod pair;
mod world;
