//! The simulator: real router code in a virtual world of hosts, underlay, clock and failures.
//!
//! One seed determines everything, and reproduces a run exactly:
//! `cargo run -p mesh-tests --bin mesh-sim -- --seed 7 --verbose`. Promises are in `invariants`, disruptions in
//! [`Scenario`]; fault injection with [`InjectedFault`] proves that the checks can fail.
//!
//! | file | subject |
//! |---|---|
//! | `choice`, `run` | parameters by seed; one seed from start to end |
//! | `replace` | a mesh in which a thousand routers are replaced |
//! | `many` | many seeds on all cores, and their results |
//! | `scenario`, `action`, `apply` | disruptions: schedule, kinds, execution |
//! | `checks` | checks in the middle of some scenarios |
//! | `world`, `host`, `queue`, `trace` | world, hosts, event queue, trace |
//! | `network`, `stream`, `transfer` | underlay, TCP, data in flight |
//! | `process`, `router`, `hostile`, `sybils` | processes on hosts: routers, a malicious member and its sybils |
//! | `addresses`, `disk`, `workload` | address allocation, its journal, the workload of containers |
//! | `names` | announced and known names |
//! | `frames`, `traffic`, `offloads` | traffic of containers, as frames and super-frames |
//! | `layout` | pairs that dial each other |

mod action;
mod addresses;
mod checks;
mod choice;
mod apply;
pub(crate) mod rng;
pub(crate) mod disk;
pub(crate) mod frames;
mod workload;
mod host;
pub(crate) mod hostile;
pub(crate) mod invariants;
mod layout;
mod many;
mod names;
pub(crate) mod network;
mod offloads;
mod fault;
pub(crate) mod process;
mod queue;
mod replace;
pub(crate) mod router;
mod run;
mod scenario;
mod stream;
mod sybils;
mod trace;
mod traffic;
mod transfer;
pub(crate) mod verifier;
mod world;

pub use invariants::Violation;
pub use layout::Layout;
pub use many::{SeedSummary, hunt, run_many};
pub use fault::InjectedFault;
pub use replace::replace;
pub use run::{RunOptions, RunReport, run};
pub use scenario::Scenario;
