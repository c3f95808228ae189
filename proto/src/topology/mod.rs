//! Topology: signed records of all routers, the link-state database that merges them, and the routes computed from
//! it.

pub mod bodies;
mod error;
pub mod lsdb;
pub mod record;
pub mod routes;
pub mod settings;
mod signed;
#[cfg(test)]
pub(crate) mod testing;
pub mod unicast;

pub use bodies::{Attached, IdentityBody, Neighbour};
pub use error::RecordError;
pub use lsdb::{Difference, Lsdb, Merge, Refusal};
pub use record::{Ed25519, SignedRecord, Verifier};
pub use routes::Routes;
pub use unicast::SignedUnicast;
