//! Who is where: signed records of all routers, the database that merges them, and the routes that follow.

mod graph;
pub mod lsdb;
pub mod record;
pub mod routes;
#[cfg(test)]
pub(crate) mod testing;

pub use lsdb::{Lsdb, Merge, Missing, Refusal};
pub use record::{Attached, Ed25519, Neighbour, RecordBody, RecordError, SignedRecord, Verifier};
pub use routes::Routes;
