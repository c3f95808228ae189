//! Setup for the micro-benchmarks: data planes with live sessions, super-frames, and topologies of any size.
//!
//! `cargo bench -p mesh-benches` runs all of them; `-- forward` runs those with that text in their name.

mod plane;
mod tcp;
mod world;

pub use plane::{PlanePair, Sink, frame};
pub use tcp::{segment, super_frame};
pub use world::{identity, links, lsdb, record};
