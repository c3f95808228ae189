//! Containers and processes that the router plugs itself: `mesh run`, `mesh attach`, `mesh detach`.

mod arrival;
mod commands;
mod detachment;
mod find;
mod members;
mod prepare;
mod tenants;

pub(super) use arrival::await_addresses;
pub(super) use commands::ContainerCommands;
pub(super) use detachment::Detachment;
pub(super) use members::Members;
pub(super) use prepare::Preparations;
pub(super) use tenants::Tenants;
