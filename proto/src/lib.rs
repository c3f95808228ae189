//! The mesh protocol: every state machine, wire format and decision, without any I/O.
//!
//! Nothing in this crate opens a socket, reads a clock, starts a thread or draws a random number: `now` is an
//! argument ([`time::Instant`]), randomness is an argument ([`entropy::Entropy`]), and effects are returned as data.
//! The simulator therefore runs the very code that ships.
#![forbid(unsafe_code)]

pub mod address;
pub mod announced;
pub mod api;
pub mod control;
pub mod crypto;
pub mod entropy;
pub mod fastpath;
pub mod fdb;
pub mod feed;
pub mod forward;
pub mod fragment;
pub mod frame;
pub mod ids;
pub mod ipam;
pub mod latency;
pub mod limits;
pub mod link;
pub mod names;
pub mod noise;
pub mod offload;
pub mod pmtu;
mod room;
pub mod session;
pub mod source;
pub mod time;
pub mod topology;
pub mod wire;
