//! Calls of the rest of the router, and their answers.

use core::time::Duration;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_ipam::AddressQuery;
use mesh_proto::api::ipam::Left;
use mesh_proto::network::NetworkId;

/// Number of a call that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// An address for a container: any of a subnet, or this very one.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// The network that it is in.
    pub network: NetworkId,
    /// The lease owner that it is for.
    pub owner: String,
    /// The subnet or the address.
    pub query: AddressQuery,
    /// The time it may take.
    pub patience: Duration,
    /// The process that asked; 0 if it is not known.
    pub caller: u32,
}

/// An address of this host, with its lease owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerLease {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub addr: IpAddr,
    /// The lease owner.
    pub owner: String,
}

/// The reason no address is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGiven {
    /// A container has the address that was requested.
    pub is_in_use: bool,
    /// One line that says why, and what to do.
    pub text: String,
}

impl From<String> for NotGiven {
    fn from(text: String) -> Self {
        Self {
            is_in_use: false,
            text,
        }
    }
}

/// The answer to a call. Errors are one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// An address with its prefix length; this owner has it until it is released.
    Acquired {
        /// The network that it is in.
        network: NetworkId,
        /// The lease owner that asked.
        owner: String,
        /// The address, or the reason there is none.
        result: Result<IpNet, NotGiven>,
    },
    /// The range has an owner, or the time is over.
    Primed(Result<(), String>),
    /// The space is handed over.
    Left(Left),
}
