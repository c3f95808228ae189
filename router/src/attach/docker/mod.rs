//! Docker's part: endpoints that it plugs through the network driver, networks that its containers need, containers that
//! it gave up on.

mod endpoints;
mod networks;
mod pools;
mod revival;
mod user_networks;

pub(super) use endpoints::DockerEndpoints;
pub(super) use networks::DockerNetworks;
pub(super) use pools::DockerPools;
pub(super) use revival::Revival;
pub(super) use user_networks::UserNetworks;
