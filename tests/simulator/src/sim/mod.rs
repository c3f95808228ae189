//! The simulator: real router code in a virtual world of hosts, underlay, clock and failures.
//!
//! One seed determines everything, and reproduces a run exactly:
//! `cargo run -p mesh-tests --bin mesh-sim -- --seed 7 --verbose`. Promises are in `invariants`, disruptions in
//! [`Scenario`]; fault injection with [`InjectedFault`] proves that the checks can fail.
//!
//! | file | subject |
//! |---|---|
//! | `choice`, `run`, `report` | parameters by seed; one seed from start to end; its result |
//! | `replace` | a mesh in which a thousand routers are replaced |
//! | `many` | many seeds on all cores, and their results |
//! | `scenario`, `action` | disruptions: schedule, kinds |
//! | `world`, `apply` | all parts together: effects of processes; execution of events and actions |
//! | `plan` | parameters of a world, and of its routers |
//! | `runtime`, `event`, `queue`, `rng`, `trace` | clock and event queue, random numbers, trace |
//! | `hosts`, `host`, `state` | hosts: addresses, timers, state that survives crashes |
//! | `network_stack`, `network`, `tcp` | datagrams and connections in flight, the underlay, TCP |
//! | `occupant`, `process`, `effect` | the process on a host: its interface and its effects |
//! | `router`, `hostile`, `sybils` | routers, a malicious member and its sybils |
//! | `addresses`, `disk` | address allocation of a router, and its journal |
//! | `networks` | networks besides `default`: members, their frames, what a router knows of them |
//! | `names` | announced and known names of a router |
//! | `workload` | containers that start, request an address and stop |
//! | `frames`, `traffic`, `offloads` | traffic of stations, as frames and super-frames |
//! | `monitor`, `checks`, `invariants` | instruments for frames and datagrams; checks of routers; promises |
//! | `fault` | fault injection |
//! | `layout` | pairs that dial each other |

mod action;
mod addresses;
mod apply;
mod checks;
mod choice;
pub(crate) mod disk;
pub(crate) mod effect;
mod event;
mod families;
mod fault;
pub(crate) mod frames;
mod host;
pub(crate) mod hostile;
mod hosts;
pub(crate) mod invariants;
mod layout;
mod many;
mod monitor;
mod names;
pub(crate) mod network;
mod network_stack;
pub(crate) mod networks;
pub(crate) mod occupant;
mod offloads;
mod plan;
pub(crate) mod process;
mod queue;
mod replace;
mod report;
pub(crate) mod rng;
pub(crate) mod router;
mod run;
mod runtime;
mod scenario;
pub(crate) mod state;
mod sybils;
mod tcp;
mod trace;
mod traffic;
pub(crate) mod verifier;
mod workload;
mod world;

pub use choice::RunOptions;
pub use fault::InjectedFault;
pub use invariants::Violation;
pub use layout::Layout;
pub use many::{SeedSummary, hunt, run_many};
pub use replace::replace;
pub use report::RunReport;
pub use run::run;
pub use scenario::Scenario;
