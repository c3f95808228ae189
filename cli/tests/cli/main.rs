//! The `mesh` program from outside: output, exit status, and requests to the router and the engines.

// This crate contains only tests: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod attach;
mod host;
mod launch;
mod mistakes;
mod names;
mod net_flag;
mod network;
mod process;
mod run;
mod status;
mod support;
mod words;
