//! Reasons why a request about networks is refused: what happened, to what, and what to do next, each in one line.

use ipnet::IpNet;

use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    LABEL_QUARANTINE, MAX_NETWORKS, MAX_RESTING_LABELS, MAX_STATED_NETWORKS, MAX_USED_NETWORKS,
};
use mesh_proto::network::NetworkId;

use super::definition::DefinitionError;
use super::definition::name::{NetworkName, NetworkNameError};
use super::definition::subnet::SubnetError;

/// Reason why a network is not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateNetworkError {
    /// Bad name, subnets, MTU or labels.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The network exists, and is not as asked for.
    #[error("the network {name} exists with {has}, and {asked} was asked for; {remedy}")]
    Contradiction {
        /// Name.
        name: NetworkName,
        /// Value that it has.
        has: String,
        /// Value that was asked for.
        asked: String,
        /// Next step.
        remedy: &'static str,
    },
    /// No subnet is free.
    #[error("no subnet is free for the network {0}; choose one with --subnet")]
    NoSubnet(NetworkName),
    /// The mesh has no room.
    #[error(
        "the mesh has {MAX_NETWORKS} networks, and no more are possible; remove one that is not used"
    )]
    TooMany,
    /// The statement of this router has no room.
    #[error(
        "this host created {MAX_STATED_NETWORKS} networks or as much as it can announce; remove one that is not used, or \
         create it on another host"
    )]
    TooManyHere,
}

/// Reason why a network is not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveNetworkError {
    /// No such network.
    #[error(transparent)]
    Unknown(#[from] UnknownNetwork),
    /// The network that always exists.
    #[error("the network 'default' cannot be removed; name another one")]
    Default,
    /// Routers have containers in it.
    #[error("the network {name} has containers on {}; detach them there, or use --force", listed(.holders))]
    InUse {
        /// Name.
        name: NetworkName,
        /// Routers that have containers in it, by id.
        holders: Vec<PeerId>,
    },
}

/// Reason why this router does not join a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinNetworkError {
    /// No such network.
    #[error("there is no network with the id {0}; create it, or name another one")]
    Unknown(NetworkId),
    /// The network of which every router is a member.
    #[error("every router is in the network 'default'; it needs no label")]
    Default,
    /// This router uses as many networks as it can.
    #[error(
        "the network {0} has no room on this host, which uses {MAX_USED_NETWORKS} networks; stop the containers of one, or use \
         another host"
    )]
    TooMany(NetworkName),
    /// Too many networks were left a short time ago.
    #[error(
        "the network {} has to wait: this host left {} networks within {} minutes; try again later",
        .0, MAX_RESTING_LABELS, LABEL_QUARANTINE.as_secs() / 60
    )]
    Resting(NetworkName),
}

/// Reason why a text means no network. Carries the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownNetwork {
    /// No network has this name or id.
    #[error("there is no network '{}'; `mesh network ls` lists all", .0.escape_debug())]
    Missing(String),
    /// No network has this name or id, and one has a name that is almost this.
    #[error("there is no network '{}'; is '{meant}' meant? `mesh network ls` lists all", .typed.escape_debug())]
    Mistyped {
        /// The text.
        typed: String,
        /// Name of the other one.
        meant: NetworkName,
    },
    /// The ids of several networks begin with it.
    #[error("the ids of several networks begin with '{}'; give more digits", .0.escape_debug())]
    Ambiguous(String),
}

impl From<NetworkNameError> for CreateNetworkError {
    fn from(error: NetworkNameError) -> Self {
        Self::Definition(error.into())
    }
}

impl From<SubnetError> for CreateNetworkError {
    fn from(error: SubnetError) -> Self {
        Self::Definition(error.into())
    }
}

fn listed(holders: &[PeerId]) -> String {
    let names: Vec<String> = holders
        .iter()
        .map(|peer| peer.derived_name().to_string())
        .collect();
    names.join(", ")
}

/// Formats subnets for an error.
pub(crate) fn subnets(nets: &[IpNet]) -> String {
    match nets {
        [] => "no subnet".to_owned(),
        [one] => format!("the subnet {one}"),
        _ => {
            let texts: Vec<String> = nets.iter().map(ToString::to_string).collect();
            format!("the subnets {}", texts.join(", "))
        }
    }
}
