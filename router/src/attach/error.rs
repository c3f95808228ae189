//! Why something was not put on the mesh, or taken off it.

use mesh_engine::error::EngineError;
use mesh_host::arguments::ArgumentError;
use mesh_host::docker::swarm::SwarmAddressError;
use mesh_host::docker::user_networks::UserNetworkError;
use mesh_host::network::addresses::NetworkAddressError;
use mesh_host::table::AttachRefusal;

use super::kernel::KernelError;
use crate::state::StateError;

/// Why it was not done; one line, ready to print. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// An argument that cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// An address argument that a network does not have.
    #[error(transparent)]
    NetworkAddress(#[from] NetworkAddressError),
    /// A network, pool or address that Docker asks for and does not get.
    #[error(transparent)]
    UserNetwork(#[from] UserNetworkError),
    /// An address that Docker's Swarm asks for and does not get.
    #[error(transparent)]
    Swarm(#[from] SwarmAddressError),
    /// A network that the mesh does not have, or that this host cannot join.
    #[error("{0}")]
    Network(String),
    /// An address cannot be allocated, or is not free.
    #[error("{0}")]
    Allocation(String),
    /// An address that someone else has, or one more than fits.
    #[error(transparent)]
    Refused(#[from] AttachRefusal),
    /// An address to be detached is not there.
    #[error("{what} is not attached to container {name}")]
    NotAttached {
        /// The address, or the subnet.
        what: String,
        /// The container.
        name: String,
    },
    /// An address to be detached, or hidden, is there in another network.
    #[error("container {name} has {what} in the network {network}; add --net {network}")]
    OtherNetwork {
        /// The address, or the subnet.
        what: String,
        /// The container.
        name: String,
        /// The network.
        network: String,
    },
    /// A preparation that is not there, or not any more.
    #[error("nothing is prepared under the id {0}; it may have been given up already")]
    NotPrepared(String),
    /// A process that is not there.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// Something else that the caller did wrong.
    #[error("{0}")]
    Invalid(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The state could not be stored.
    #[error(transparent)]
    State(#[from] StateError),
}

impl AttachmentError {
    /// Returns whether the caller can mend it (HTTP 4xx) rather than the operator of the host (5xx).
    pub fn is_callers(&self) -> bool {
        !matches!(
            self,
            Self::Kernel(_)
                | Self::State(_)
                | Self::Engine(
                    EngineError::Unavailable(_)
                        | EngineError::Silent(_)
                        | EngineError::Refused { .. }
                )
        )
    }
}
