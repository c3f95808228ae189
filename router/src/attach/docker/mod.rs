//! Docker's part: endpoints that it plugs through the network driver, networks that its containers need, containers that
//! it gave up on.

mod endpoints;
mod networks;
mod pools;
mod revival;
mod swarm;
mod user_networks;

use std::sync::Arc;

pub(super) use endpoints::DockerEndpoints;
pub(super) use networks::DockerNetworks;
pub(super) use pools::DockerPools;
pub(super) use revival::Revival;
pub(crate) use swarm::SwarmNetworks;
pub(super) use user_networks::UserNetworks;

/// The parts that Docker's calls and events are for.
pub(crate) struct DockerParts {
    pub(crate) endpoints: Arc<DockerEndpoints>,
    pub(crate) networks: Arc<DockerNetworks>,
    pub(crate) users: Arc<UserNetworks>,
    pub(crate) pools: DockerPools,
    pub(crate) swarm: Arc<SwarmNetworks>,
}
