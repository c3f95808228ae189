//! Routers that leave the mesh: this one in good order, and others that are gone for good.

pub(crate) mod departure;
pub(crate) mod removal;
