//! The host's own part in the mesh: its addresses, and other bridges of it.

mod exposer;
mod uplinks;

pub(super) use exposer::HostExposer;
pub(super) use uplinks::Uplinks;
