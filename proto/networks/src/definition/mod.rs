//! Definition of a network, the same on every router.

pub(crate) mod name;
pub(crate) mod pools;
pub(crate) mod subnet;
pub(crate) mod swarm;

use serde::{Deserialize, Serialize};

use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    MAX_NETWORK_EXTENSION, MAX_NETWORK_LABEL_BYTES, MAX_NETWORK_LABELS, MAX_NETWORK_SUBNETS,
    MTU_RANGE,
};
use mesh_proto::network::NetworkId;
use mesh_proto::wire::bounded;
use name::{NetworkName, NetworkNameError};
use subnet::{NetworkSubnet, SubnetError};

/// Subnets and labels that are decoded, so that an error can say how many there are.
const DECODED: usize = 4 * MAX_NETWORK_SUBNETS;
/// Bytes of a key or value that are decoded.
const DECODED_LABEL: usize = 2 * MAX_NETWORK_LABEL_BYTES;
/// Smallest MTU with IPv6 (RFC 8200 section 5).
const MIN_MTU6: u16 = 1280;

/// Version of a definition: the higher counter is newer, at equal counters the higher author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkVersion {
    /// Number of the change, from 1.
    pub counter: u64,
    /// Router that made it.
    pub author: PeerId,
}

/// Label that the user gave a network, for `--label`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserLabel {
    /// Key, not empty.
    #[serde(deserialize_with = "bounded::text::<_, DECODED_LABEL>")]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "bounded::text::<_, DECODED_LABEL>")]
    pub value: String,
}

/// Definition of a network. Of two with one id the greater one is newer: the order is first by version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkDefinition {
    /// Random id, never that of `default`.
    pub id: NetworkId,
    /// Version.
    pub version: NetworkVersion,
    /// Time of creation in seconds since 1970 by the clock of the creator, and later than that of each network that the
    /// creator knew; only compared among networks of one name.
    pub stamp: u64,
    /// Name.
    pub name: NetworkName,
    /// Subnets, at most [`MAX_NETWORK_SUBNETS`], none of which overlap.
    #[serde(deserialize_with = "bounded::list::<_, _, DECODED>")]
    pub subnets: Vec<NetworkSubnet>,
    /// True if the network leads nowhere else.
    pub internal: bool,
    /// MTU of the containers; without one, that of the mesh.
    pub mtu: Option<u16>,
    /// Labels, at most [`MAX_NETWORK_LABELS`], in the order of their keys.
    #[serde(deserialize_with = "bounded::list::<_, _, DECODED>")]
    pub labels: Vec<UserLabel>,
    /// Members of later versions, which are passed on as they are.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NETWORK_EXTENSION>")]
    pub extension: Vec<u8>,
}

/// Reason why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Id of the network that is never stated.
    #[error("the network 'default' always exists and cannot be defined")]
    Default,
    /// Bad name.
    #[error(transparent)]
    Name(#[from] NetworkNameError),
    /// Bad subnets.
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    /// MTU out of bounds.
    #[error("an MTU of {mtu} is not possible; give one of {smallest} to {}", MTU_RANGE.end())]
    Mtu {
        /// Given MTU.
        mtu: u16,
        /// Smallest MTU for these subnets.
        smallest: u16,
    },
    /// More than [`MAX_NETWORK_LABELS`].
    #[error("{0} labels, and one network has {MAX_NETWORK_LABELS} at most; give fewer")]
    TooManyLabels(usize),
    /// More than [`MAX_NETWORK_LABEL_BYTES`].
    #[error(
        "labels of {0} bytes, and those of one network have {MAX_NETWORK_LABEL_BYTES} at most; give shorter ones"
    )]
    LabelsTooLong(usize),
    /// Label without a key, or with control characters.
    #[error("'{}' cannot be a label; write KEY=VALUE, without control characters", .0.escape_debug())]
    BadLabel(String),
    /// Two labels with one key.
    #[error("the label '{}' is given twice; give it once", .0.escape_debug())]
    LabelTwice(String),
    /// Labels out of order, in a statement.
    #[error("the label '{}' is out of order", .0.escape_debug())]
    LabelOrder(String),
}

impl NetworkDefinition {
    /// Checks all that a decoder leaves open.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.id.is_default() {
            return Err(DefinitionError::Default);
        }
        self.name.check()?;
        subnet::check(&self.subnets)?;
        let has_v6 = self.subnets.iter().any(|s| s.net.addr().is_ipv6());
        let smallest = match has_v6 {
            true => MIN_MTU6,
            false => *MTU_RANGE.start(),
        };
        match self.mtu {
            Some(mtu) if !MTU_RANGE.contains(&mtu) || mtu < smallest => {
                Err(DefinitionError::Mtu { mtu, smallest })
            }
            _ => check_labels(&self.labels),
        }
    }

    /// Returns the key by which networks of one name are ordered: the least has the name.
    pub(crate) fn precedence(&self) -> (u64, NetworkId) {
        (self.stamp, self.id)
    }
}

fn check_labels(labels: &[UserLabel]) -> Result<(), DefinitionError> {
    if labels.len() > MAX_NETWORK_LABELS {
        return Err(DefinitionError::TooManyLabels(labels.len()));
    }
    let bytes = labels.iter().map(|l| l.key.len() + l.value.len()).sum();
    if bytes > MAX_NETWORK_LABEL_BYTES {
        return Err(DefinitionError::LabelsTooLong(bytes));
    }
    for label in labels {
        let both = label.key.chars().chain(label.value.chars());
        if label.key.is_empty() || both.into_iter().any(char::is_control) {
            let text = format!("{}={}", label.key, label.value);
            return Err(DefinitionError::BadLabel(text));
        }
    }
    let mut pairs = labels.windows(2);
    match pairs.find(|pair| pair[0].key >= pair[1].key) {
        Some([first, second]) if first.key == second.key => {
            Err(DefinitionError::LabelTwice(second.key.clone()))
        }
        Some(pair) => Err(DefinitionError::LabelOrder(pair[1].key.clone())),
        None => Ok(()),
    }
}
