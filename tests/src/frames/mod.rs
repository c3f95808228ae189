//! Marked frames, to count what passes between networks that must be apart.
//!
//! A sender injects frames of every kind through a packet socket, in a form that no container would choose: to MACs of
//! other networks, with their sources, tagged. Each frame carries a mark with the network and the host that it comes from.
//! A receiver counts all marks that it sees, so a frame of another network is found however it came.

mod build;
mod inject;
mod mark;
mod tally;

pub use build::TestEndpoint;
pub use inject::{Injection, inject};
pub use mark::{FrameKind, FrameMark};
pub use tally::{TallyCounts, tally};
