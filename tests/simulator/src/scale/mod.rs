//! Large meshes: a thousand real routers with a virtual clock and network, measured.
//!
//! `make sim N=1000 SEED=1` prints the figures that docs/SCALE.md explains. The routers are those of [`crate::sim`];
//! the world is leaner: frames are not inspected, and hosts step in two halves on two threads.
//!
//! | file | subject |
//! |---|---|
//! | `underlay`, `bytes` | the network, bytes on the wire |
//! | `node`, `kernel`, `tcp`, `event` | a host: router, kernel, ends of connections, events |
//! | `plan`, `engine`, `world` | initial state of a mesh; clock; all hosts together |
//! | `at_rest` | a mesh that starts settled |
//! | `observe` | agreement, and paths of frames |
//! | `measure`, `measured` | measures one after another, and their results |
//! | `settled`, `link_change`, `faults` | measures of a settled mesh, and of disruptions |
//! | `goals`, `figures`, `model` | goals, figures, predictions for comparison |
//! | `memory` | memory of the process and of the machine |
//! | `scenario`, `promises` | disruptions, and checks after them |
//! | `run` | public interface of a run |

mod at_rest;
mod bytes;
mod engine;
mod event;
mod faults;
mod figures;
mod goals;
mod kernel;
mod link_change;
mod measure;
mod measured;
mod memory;
mod model;
mod node;
mod observe;
mod plan;
mod promises;
mod run;
mod scenario;
mod settled;
mod tcp;
mod underlay;
mod world;

pub use figures::{Figure, FigureTable};
pub use plan::MANY;
pub use run::{ScaleReport, ScenarioReport, measure_all, play};
pub use scenario::ScaleScenario;
