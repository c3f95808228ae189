//! The DNS server as seen by clients, on the loopback interface: the `dns-server` example with `dig`, the C library's
//! resolver, and hand-written messages.

// This crate contains only tests: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod clients;
mod forwarding;
mod limits;
mod support;
