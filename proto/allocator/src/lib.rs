//! Addresses for the containers of one host, around the state machine [`mesh_ipam`].
//!
//! | module | subject |
//! |---|---|
//! | [`desk`] | callers that want addresses, and their answers |
//! | [`call`] | what callers say and are told |
//! | [`journal`] | the journal file, and its way to the disk |
//! | [`router_names`] | names of routers that own addresses |
//!
//! Nothing here waits, reads a clock or writes a file: calls and the time are arguments, effects are return values.

#![forbid(unsafe_code)]

pub mod call;
pub mod desk;
pub mod journal;
mod pending;
mod report;
pub mod router_names;
#[cfg(test)]
mod tests;
