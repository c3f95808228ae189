//! The DNS server as clients see it, on the loopback interface: by the `dns-server` example, `dig`, the C library's
//! resolver, and bytes of our own.

// All of this crate is tests: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod clients;
mod forwarding;
mod limits;
mod support;
