//! Endpoints of Docker networks on this host: what Docker keeps of them, and what it is not told.

pub mod deferral;
pub mod driver_options;
pub mod endpoint;
pub mod network_plan;
pub mod swarm;
pub mod user_networks;
