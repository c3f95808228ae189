//! Statement of the names of one router's containers, replaced as a whole by a newer one.
//!
//! It is encoded as `01`, then the list of [`NameEntry`], by [`mesh_proto::wire::codec`]. The first name of an address is the
//! first in reverse answers. Bounds are those in [`mesh_proto::limits`]; a statement that exceeds them is refused.

use core::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::MeshName;
use mesh_proto::limits::{
    MAX_DNS_NAME, MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER,
    MAX_NAME_PORTS, MAX_NAMES_STATEMENT, MAX_SERVICE,
};
use mesh_proto::wire::bounded;
use mesh_proto::wire::codec;

/// First byte; others are formats of later versions.
const FORMAT: u8 = 1;

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

/// Reason why a statement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than [`MAX_NAMES_STATEMENT`].
    #[error("{0} bytes of names")]
    TooLong(usize),
    /// Malformed, or a bound is exceeded.
    #[error("malformed names")]
    Malformed,
    /// Address that no container has: multicast, broadcast, loopback, unspecified or IPv4-mapped.
    #[error("{0} is no container's address")]
    NotAnAddress(IpAddr),
    /// No room beside the statements of other routers.
    #[error("too many names in the mesh")]
    Full,
    /// The table of routers is full.
    #[error("too many routers")]
    TooManyOrigins,
}

/// Encodes as many of the entries as fit one statement, and returns the encoding with those entries. An entry that
/// does not fit is left out, and the following ones are tried.
pub(super) fn encode(entries: &[NameEntry]) -> (Vec<u8>, Vec<NameEntry>) {
    let mut bodies = Vec::new();
    let (mut kept, mut pairs) = (Vec::new(), 0);
    for entry in entries {
        if kept.len() == MAX_HOST_NAMES {
            break;
        }
        let before = bodies.len();
        let with = pairs + entry.addresses.len();
        let written = codec::encode(entry, &mut bodies);
        // Format and length take at most ten bytes.
        let fits = bodies.len() + 10 <= MAX_NAMES_STATEMENT && with <= MAX_HOST_NAME_PAIRS;
        if written.is_err() || !fits {
            bodies.truncate(before);
            continue;
        }
        pairs = with;
        kept.push(entry.clone());
    }
    let mut out = vec![FORMAT];
    // A list is its length, then its elements.
    let _ = codec::encode(&kept.len(), &mut out);
    out.extend_from_slice(&bodies);
    (out, kept)
}

/// Decodes a statement.
///
/// # Errors
/// [`StatementError`] for anything that a router of this version does not encode.
pub fn decode(bytes: &[u8]) -> Result<Vec<NameEntry>, StatementError> {
    if bytes.len() > MAX_NAMES_STATEMENT {
        return Err(StatementError::TooLong(bytes.len()));
    }
    let [FORMAT, rest @ ..] = bytes else {
        return Err(StatementError::Malformed);
    };
    let List(entries) = codec::decode(rest).map_err(|_| StatementError::Malformed)?;
    entries.iter().try_for_each(check)?;
    let pairs: usize = entries.iter().map(|e| e.addresses.len()).sum();
    if pairs > MAX_HOST_NAME_PAIRS {
        return Err(StatementError::Malformed);
    }
    Ok(entries)
}

#[derive(Deserialize)]
struct List(#[serde(deserialize_with = "bounded::list::<_, _, MAX_HOST_NAMES>")] Vec<NameEntry>);

fn check(entry: &NameEntry) -> Result<(), StatementError> {
    let bad = entry.addresses.iter().find(|ip| !is_containers(**ip));
    if let Some(ip) = bad {
        return Err(StatementError::NotAnAddress(*ip));
    }
    let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let ports_fit = entry.ports.iter().all(Port::is_sound);
    match !entry.addresses.is_empty() && printable(&entry.container) && ports_fit {
        true => Ok(()),
        false => Err(StatementError::Malformed),
    }
}

/// Returns true if a name may lead to this address. Names that lead to the querying host itself, or to many hosts,
/// are mistakes or attacks.
pub(super) fn is_containers(ip: IpAddr) -> bool {
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
