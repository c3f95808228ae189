//! Leases of the shared range: their owners, the names these have now, and the leases that nobody can use any more.

pub mod container_names;
pub mod lease_gc;
pub mod lease_owner;
