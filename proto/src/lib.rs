//! The mesh protocol: every state machine, wire format and decision, without any I/O.
//!
//! Nothing in this crate opens a socket, reads a clock, starts a thread or draws a random number: `now` is an
//! argument ([`time::Instant`]), randomness is an argument ([`entropy::Entropy`]), and effects are returned as data.
//! The simulator therefore runs the very code that ships.
//!
//! ```text
//!              control plane                                data plane
//!  ┌───────────────────────────────────────┐   ┌───────────────────────────────────────┐
//!  │ control   links, gossip, paths, routes│──>│ forward    egress, ingress, relaying  │
//!  │           snapshots for the lanes     │   │ arp_proxy  directs ARP and ND         │
//!  │                                       │   │ fdb        MAC table                  │
//!  │                                       │   │ fastpath   consent to plain VXLAN     │
//!  └───────────────────────────────────────┘   └───────────────────────────────────────┘
//!    topology  records, database, routes         session   keys between two routers
//!    link      one TCP connection                fragment, pmtu, offload, frame
//!  ─────────────────────────────────────────────────────────────────────────────────────
//!    wire  noise  crypto  network  ids  limits  rate  room  shared_room  source  latency  checksum  time  entropy  address  api
//! ```
//!
//! Allocation of addresses and names of containers are crates of their own above this one, `mesh-ipam` and
//! `mesh-names`: a change in them does not rebuild the control plane.
//!
//! Arrows and floors point one way: a module uses those below it. `docs/ARCHITECTURE.md` follows a frame, a record
//! and a request through them, `docs/PROTOCOL.md` has the bytes, and [`limits`] every bound.
#![forbid(unsafe_code)]

pub mod address;
pub mod api;
pub mod arp_proxy;
pub mod checksum;
pub mod control;
pub mod crypto;
pub mod entropy;
pub mod fastpath;
pub mod fdb;
pub mod forward;
pub mod fragment;
pub mod frame;
pub mod ids;
pub mod latency;
pub mod limits;
pub mod link;
pub mod network;
pub mod noise;
pub mod offload;
pub mod pmtu;
pub mod rate;
mod room;
pub mod session;
mod shared_room;
pub mod source;
pub mod time;
pub mod topology;
pub mod wire;
