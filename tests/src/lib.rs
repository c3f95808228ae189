//! Infrastructure for external tests of mesh: hosts on one machine, containers in them, traffic between them, and
//! conditions with a deadline. The simulator is the crate [`mesh_simulator`].
//!
//! ```no_run
//! use mesh_tests::{TestbedLayout, with_testbed};
//!
//! fn two_hosts() -> anyhow::Result<()> {
//!     with_testbed(&TestbedLayout::hosts(2), |bed| {
//!         bed.host(1).launch(&[])?;
//!         bed.host(2).launch(&["host1"])?;
//!         let a = bed.host(1).run("10.2.1.1/24")?;
//!         let b = bed.host(2).run("10.2.1.2/24")?;
//!         a.reaches(&b)
//!     })
//! }
//! ```

mod capture;
mod command;
mod container;
mod dig;
pub mod frames;
pub mod fuzz;
mod host;
pub mod house;
mod programs;
mod script;
mod snapshot;
mod testbed;
mod times;
mod traffic;
mod wait;

pub use capture::Capture;
pub use command::{Background, CommandOutput, run, spawn};
pub use container::{TestContainer, all_reach_all};
pub use host::TestbedHost;
pub use snapshot::HostObjects;
pub use testbed::{Testbed, TestbedLayout, with_testbed};
pub use times::Times;
pub use traffic::{Heard, Transfer, cast, transfer};
pub use wait::{here, stays, tell, wait_until};
