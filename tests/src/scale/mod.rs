//! Large meshes: a thousand shipping routers on a virtual clock and network, measured.
//!
//! `make sim N=1000 SEED=1` prints what docs/SCALE.md explains. The routers are those of [`crate::sim`]; their world is
//! leaner: it opens no frame, and hosts step in two halves on two threads.
//!
//! | file | subject |
//! |---|---|
//! | `underlay`, `tcp`, `bytes` | the network, one end of a connection, what the wire carries |
//! | `node`, `streams` | a host, and its kernel's connections |
//! | `plan`, `engine`, `world` | how a mesh begins; time; all hosts together |
//! | `at_rest` | a mesh that begins as if it had run for long |
//! | `observe` | who agrees, where frames go |
//! | `measure`, `faults` | the measures: of a mesh at rest, and of what goes wrong |
//! | `figures`, `model` | figures beside goals; what to compare with |
//! | `memory` | what a run takes, and what of it is one router's |
//! | `scenario`, `promises` | what goes wrong, and what must hold after it |
//! | `run` | a run from outside |

mod at_rest;
mod bytes;
mod engine;
mod faults;
mod figures;
mod measure;
mod memory;
mod model;
mod node;
mod observe;
mod plan;
mod promises;
mod run;
mod scenario;
mod streams;
mod tcp;
mod underlay;
mod world;

pub use figures::{Figure, Table};
pub use plan::MANY;
pub use run::{Outcome, Played, measure_all, play};
pub use scenario::Scenario;
