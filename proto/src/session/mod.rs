//! Data sessions between two routers.

pub mod replay;
pub mod transport;
