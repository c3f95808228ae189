//! The simulator: shipping routers in a virtual world of hosts, underlay, clock and mishaps.
//!
//! One seed decides everything and reproduces a run exactly: `cargo run -p mesh-tests --bin mesh-sim -- --seed 7
//! --verbose`. What must hold is in `invariants`, what goes wrong in [`Scenario`]; [`Planted`] faults prove that the
//! checks can fail.
//!
//! | file | subject |
//! |---|---|
//! | `choice`, `run` | what a seed chooses; one seed from start to end |
//! | `replace` | one mesh in which a thousand routers are replaced |
//! | `many` | many seeds on all cores, and what came of them |
//! | `scenario`, `action`, `deeds` | what goes wrong: when, what, and how it is done |
//! | `checks` | what is checked in the middle of some scenarios |
//! | `world`, `host`, `queue`, `trace` | the world, its hosts, events in order, the trace |
//! | `network`, `stream`, `transfer` | the underlay, TCP, and what is on its way |
//! | `process`, `router`, `hostile`, `sybils` | what runs on hosts, and what a hostile one makes up |
//! | `addresses`, `disk`, `guests` | who gives addresses, where it is written, who asks for them |
//! | `names` | what routers say and know of names |
//! | `frames`, `traffic`, `offloads` | what containers say, one by one and in super-frames |
//! | `layout` | who dials whom |

mod action;
mod addresses;
mod checks;
mod choice;
mod deeds;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod frames;
mod guests;
mod host;
pub(crate) mod hostile;
pub(crate) mod invariants;
mod layout;
mod many;
mod names;
pub(crate) mod network;
mod offloads;
mod planted;
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
pub use many::{Summary, hunt, run_many};
pub use planted::Planted;
pub use replace::replace;
pub use run::{Options, Report, run};
pub use scenario::Scenario;
