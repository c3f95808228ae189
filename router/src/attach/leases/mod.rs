//! Leases of addresses: acquired before anything is made with them, released when nobody can use them any more.

mod acquire;
mod acquired;
mod collector;

pub use acquire::AddressBook;
pub(super) use acquire::{LeaseRequest, LeaseSource};
pub(super) use acquired::AcquiredAddresses;
pub(super) use collector::LeaseCollector;
