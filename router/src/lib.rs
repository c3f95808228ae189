//! The mesh router: one per host, moves frames between the local bridge and its peers.
//!
//! Two planes. The control plane is one single-threaded tokio runtime: `shell` moves bytes for
//! `mesh_proto::control`, `api` answers the `mesh` command, `driver` Docker. The data plane is plain threads (`lanes`).
//! They share one snapshot, the fdb and the sessions' counters, nothing else.

#![forbid(unsafe_code)]

pub mod api;
pub mod attach;
mod background;
pub mod cipher;
pub mod cleanup;
pub mod clock;
pub mod config;
pub mod dns;
pub mod driver;
pub mod engine;
pub mod fastpath;
pub mod host;
pub mod ipam;
pub mod lanes;
pub mod latency;
mod log;
pub mod names;
pub mod plugin;
pub mod port;
pub mod reset;
pub mod resolve;
pub mod run;
pub mod secret;
pub mod shell;
pub mod state;
pub mod supervise;
pub mod warnings;
pub mod ways;
