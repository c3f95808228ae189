//! What the micro-benchmarks stand on: data planes with live sessions, super-frames, and topologies of any size.
//!
//! `cargo bench -p mesh-benches` runs all of them; `-- forward` those whose name contains that.

mod plane;
mod tcp;
mod world;

pub use plane::{Pair, Sink, frame};
pub use tcp::{segment, super_frame};
pub use world::{identity, links, lsdb, record};
