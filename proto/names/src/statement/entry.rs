//! Names of containers as they are stated.

use core::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::MeshName;
use mesh_proto::limits::{
    MAX_DNS_NAME, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER, MAX_NAME_PORTS, MAX_SERVICE,
};
use mesh_proto::wire::bounded;

/// Name of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NameEntry {
    /// Name without the domain.
    pub name: MeshName,
    /// Short id of the container; empty for a name without a container.
    #[serde(deserialize_with = "bounded::text::<_, MAX_NAME_CONTAINER>")]
    pub container: String,
    /// Addresses, 1 to [`MAX_NAME_ADDRESSES`], each once.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NAME_ADDRESSES>")]
    pub addresses: Vec<IpAddr>,
    /// Ports for SRV answers, at most [`MAX_NAME_PORTS`].
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NAME_PORTS>")]
    pub ports: Vec<Port>,
}

/// Exposed port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Port number, not 0.
    pub number: u16,
    /// Transport protocol.
    pub transport: ServiceProtocol,
    /// Name of the service (`http`), or empty: letters, digits and `-`.
    #[serde(deserialize_with = "bounded::text::<_, MAX_SERVICE>")]
    pub service: String,
}

/// Transport protocol of a service (SRV label, RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServiceProtocol {
    /// TCP, with the label `_tcp`.
    Tcp,
    /// UDP, with the label `_udp`.
    Udp,
    /// SCTP, with the label `_sctp`.
    Sctp,
}

/// Returns true if a name may lead to this address. Names that lead to the querying host itself, or to many hosts,
/// are mistakes or attacks.
pub(crate) fn is_containers(ip: IpAddr) -> bool {
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || mapped || broadcast)
}

impl Port {
    /// Returns true if number and service are valid.
    pub fn is_sound(&self) -> bool {
        let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        self.number != 0 && self.service.len() <= MAX_SERVICE && self.service.bytes().all(fit)
    }
}

impl ServiceProtocol {
    /// Returns its label in names of services.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "_tcp",
            Self::Udp => "_udp",
            Self::Sctp => "_sctp",
        }
    }
}

impl Serialize for MeshName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MeshName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = bounded::text::<D, MAX_DNS_NAME>(deserializer)?;
        // Encoded in lower case, so that there is one encoding of each name.
        let name = Self::relative(&text).map_err(serde::de::Error::custom)?;
        match name.as_str() == text {
            true => Ok(name),
            false => Err(serde::de::Error::custom("not in lower case")),
        }
    }
}
