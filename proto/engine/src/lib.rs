//! Container engines of one host, as data: their answers and events, their networks, and Docker's calls to our network
//! driver.
//!
//! | module | subject |
//! |---|---|
//! | [`container`] | a container as its engine describes it |
//! | [`error`] | errors of engines |
//! | [`event`] | notifications of engines |
//! | [`network`] | Docker networks with our driver, and names for them |
//! | [`search`] | the container that several engines may have |
//! | [`deadlines`] | requests that wait for an answer of an engine |
//! | [`docker`] | Docker's answers and our requests |
//! | [`podman`] | podman's output and our command lines |
//! | [`plugin`] | libnetwork's remote driver protocol |
//!
//! Nothing here waits, reads a clock or opens a socket: answers and the time are arguments, requests are return values.

#![forbid(unsafe_code)]

pub mod container;
pub mod deadlines;
pub mod docker;
pub mod error;
pub mod event;
pub mod network;
pub mod plugin;
pub mod podman;
pub mod search;
