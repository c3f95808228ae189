//! Topology: signed records of all routers, the link-state database that merges them, and the routes computed from
//! it.

pub mod bodies;
pub mod budget;
mod entry;
mod graph;
pub mod lsdb;
mod parts;
pub mod record;
pub mod routes;
mod search;
pub mod settings;
mod signed;
pub mod sums;
pub mod sync;
#[cfg(test)]
pub(crate) mod testing;
pub mod topic;
mod trees;
pub mod unicast;

pub use bodies::{Attached, IdentityBody, Neighbour};
pub use lsdb::{Lsdb, Merge, Refusal};
pub use record::{Ed25519, RecordError, SignedRecord, Verifier};
pub use routes::Routes;
pub use sync::Missing;
pub use topic::{RecordKey, Topic};
pub use unicast::SignedUnicast;
