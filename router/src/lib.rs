//! The mesh router: one per host, moves frames between the local bridge and its peers.
//!
//! ```text
//!   mesh (CLI) ── unix socket ──> api ──┐                     ┌─> state   files
//!   dockerd ── plugin ──> driver ──> attach ──> ipam, names ──┤
//!   links (TCP) ──> shell (Control) <── commands ─────────────┘─> dns     server
//!                      │ snapshot                ^ events
//!                      v                         │
//!   port (TAP, pcap) ──> lanes: egress ──> UDP ──> lanes: ingress ──> port
//! ```
//!
//! Two planes. The control plane is one single-threaded tokio runtime: [`shell`] moves bytes for
//! `mesh_proto::control`, [`api`] answers the `mesh` command, [`driver`] answers Docker. The data plane consists of
//! plain threads ([`lanes`]). They share the snapshot, the tables of the forwarder (MACs, announced addresses, duplicate
//! windows, waiting frames, counters) and the counters of the sessions, nothing else. [`run`] puts the parts together;
//! all system calls are in `mesh_sys`.

#![forbid(unsafe_code)]

pub mod api;
pub mod attach;
pub mod clock;
pub mod command;
pub mod config;
pub mod crypto;
pub mod dns;
pub mod driver;
pub mod engine;
pub mod fastpath;
pub mod host;
pub mod host_routes;
pub mod ipam;
pub mod lanes;
pub mod names;
pub mod networks;
pub mod plugin;
pub mod process;
pub mod reset;
pub mod run;
pub mod shell;
pub mod state;
#[cfg(test)]
mod testing;
pub mod warnings;
