//! Whole meshes of real state machines on a virtual network, clock and disk: [`sim`] checks promises under faults,
//! [`scale`] measures large meshes. A crate of its own, since no other part of the tests is worth optimising.

pub mod scale;
pub mod sim;

/// A simulated mesh has hundreds of millions of small allocations; glibc's allocator would spend half of the run time
/// on them. Here rather than in the programs, since these are not optimised.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
