//! Large meshes: a thousand real routers with a virtual clock and network, measured.
//!
//! `make sim N=1000 SEED=1` prints the figures that docs/SCALE.md explains. The routers are those of [`crate::sim`];
//! the world is leaner: frames are not inspected, and hosts step in two halves on two threads.
//!
//! | file | subject |
//! |---|---|
//! | `underlay`, `tcp`, `bytes` | the network, one end of a connection, bytes on the wire |
//! | `node`, `streams` | a host, and its kernel's connections |
//! | `plan`, `engine`, `world` | initial state of a mesh; clock; all hosts together |
//! | `at_rest` | a mesh that starts settled |
//! | `observe` | agreement, and paths of frames |
//! | `measure`, `faults` | measures of a settled mesh, and of disruptions |
//! | `figures`, `model` | figures with goals; predictions for comparison |
//! | `memory` | memory of a run, and the part of one router |
//! | `scenario`, `promises` | disruptions, and checks after them |
//! | `run` | public interface of a run |

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

pub use figures::{Figure, FigureTable};
pub use plan::MANY;
pub use run::{ScaleReport, ScenarioReport, measure_all, play};
pub use scenario::ScaleScenario;
