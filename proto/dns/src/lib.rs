//! Names of one host's containers, and the DNS server that answers for the mesh, as decisions.
//!
//! | module | subject |
//! |---|---|
//! | [`host_names`] | names of this host's containers, from attachments, engines and the operator |
//! | [`containers`] | one container: its names and ports, its `/etc/hosts`, and the way of its queries to the server |
//! | [`update`], [`feed`] | updates of the names that the server answers, and their way from the control plane |
//! | [`server`] | clients that are answered, upstream servers for other names, firewall rules, what operators see |
//!
//! Nothing here waits, reads a clock or opens a socket: inputs and the time are arguments, effects are return values. The
//! answers themselves are in [`mesh_names`].

#![forbid(unsafe_code)]

pub mod containers;
pub mod feed;
pub mod host_names;
pub mod server;
pub mod update;
