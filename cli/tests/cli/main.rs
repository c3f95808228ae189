//! The `mesh` program as a user meets it: its output, its exit status, what it asks of the router and of the engines.

// All of this crate is tests: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod attach;
mod host;
mod launch;
mod mistakes;
mod names;
mod process;
mod run;
mod status;
mod support;
mod words;
