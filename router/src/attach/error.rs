//! Why something was not put on the mesh, or taken off it.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::address::{AddressArg, AddressError};
use mesh_proto::limits::MAX_ATTACHED;

use super::MAX_ADDRESSES;
use super::kernel::KernelError;
use crate::engine::EngineError;
use crate::state::StateError;

/// Why it was not done; one line, ready to print. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// An address argument that cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address cannot be allocated, or is not free.
    #[error("{0}")]
    Allocation(String),
    /// More addresses than one container may have.
    #[error("{0} addresses for one container; at most {MAX_ADDRESSES} are possible")]
    TooManyAddresses(usize),
    /// The table is full.
    #[error("this host has {MAX_ATTACHED} addresses on the mesh already; detach some")]
    Full,
    /// Someone has the address.
    #[error("{ip} is already used by {holder}")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// Who has it, in words.
        holder: String,
    },
    /// The container has the address in another subnet.
    #[error("container {name} has {has} already; detach it first")]
    OtherPrefix {
        /// The container.
        name: String,
        /// Its address.
        has: IpNet,
    },
    /// An address to be detached is not there.
    #[error("{} is not attached to container {name}", wanted(*what))]
    NotAttached {
        /// The address, or the subnet.
        what: AddressArg,
        /// The container.
        name: String,
    },
    /// A preparation that is not there, or not any more.
    #[error("nothing is prepared under the id {0}; it may have been given up already")]
    NotPrepared(String),
    /// A process that is not there.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// The host has the address in another subnet.
    #[error("this host is exposed as {0} already; `mesh hide {0}` first")]
    ExposedOtherwise(IpNet),
    /// More addresses or names than the host may have.
    #[error("this host has {0} on the mesh already; hide some")]
    TooMuchExposed(String),
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

impl AttachError {
    /// Whether the caller can mend it (HTTP 4xx) rather than the operator of the host (5xx).
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

/// An argument as operators speak of it: an address without its subnet.
pub(super) fn wanted(arg: AddressArg) -> String {
    match arg {
        AddressArg::Ip(ip) => ip.addr().to_string(),
        other => other.to_string(),
    }
}
