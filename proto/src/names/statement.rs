//! What one router says of the names of its containers: replaced as a whole, by whoever carries it, when a newer one comes.
//!
//! `01`, then the list of [`Entry`], as [`crate::wire::codec`] writes it. Of the names of one address that which comes first is
//! the first in reverse answers. Bounds are those in [`crate::limits`]; a statement beyond them is refused.

use core::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::MeshName;
use crate::limits::{
    MAX_DNS_NAME, MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER,
    MAX_NAME_PORTS, MAX_NAMES_STATEMENT, MAX_SERVICE,
};
use crate::wire::bounded;
use crate::wire::codec;

/// First byte; another one is a statement of a later version.
const FORMAT: u8 = 1;

/// A name of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Without the domain.
    pub name: MeshName,
    /// Short id of the container; empty for a name that belongs to none.
    #[serde(deserialize_with = "bounded::text::<_, MAX_NAME_CONTAINER>")]
    pub container: String,
    /// 1 to [`MAX_NAME_ADDRESSES`], each once.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NAME_ADDRESSES>")]
    pub addresses: Vec<IpAddr>,
    /// What listens there, for SRV; at most [`MAX_NAME_PORTS`].
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NAME_PORTS>")]
    pub ports: Vec<Port>,
}

/// A port of a container that others may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number, not 0.
    pub number: u16,
    /// Over what.
    pub transport: Transport,
    /// Name of the service (`http`), if there is one: letters, digits and `-`.
    #[serde(deserialize_with = "bounded::text::<_, MAX_SERVICE>")]
    pub service: String,
}

/// Over what a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// `_tcp`.
    Tcp,
    /// `_udp`.
    Udp,
    /// `_sctp`.
    Sctp,
}

/// Why a statement is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than [`MAX_NAMES_STATEMENT`].
    #[error("{0} bytes of names")]
    TooLong(usize),
    /// Not the encoding of one, or beyond a bound.
    #[error("malformed names")]
    Malformed,
    /// An address that no container has: multicast, loopback or unspecified.
    #[error("{0} is no container's address")]
    NotAnAddress(IpAddr),
    /// There is no room for it beside those of others.
    #[error("too many names in the mesh")]
    Full,
    /// Of a router of which nothing is kept.
    #[error("too many routers")]
    TooManyOrigins,
}

/// The encoding of as many of these entries as one statement holds, with those that it holds: one that does not fit is
/// left out, and those behind it are tried.
pub(super) fn encode(entries: &[Entry]) -> (Vec<u8>, Vec<Entry>) {
    let mut bodies = Vec::new();
    let (mut kept, mut pairs) = (Vec::new(), 0);
    for entry in entries {
        if kept.len() == MAX_HOST_NAMES {
            break;
        }
        let before = bodies.len();
        let with = pairs + entry.addresses.len();
        let written = codec::encode(entry, &mut bodies);
        // The head takes at most ten bytes.
        let fits = bodies.len() + 10 <= MAX_NAMES_STATEMENT && with <= MAX_HOST_NAME_PAIRS;
        if written.is_err() || !fits {
            bodies.truncate(before);
            continue;
        }
        pairs = with;
        kept.push(entry.clone());
    }
    let mut out = vec![FORMAT];
    // A list is its length and its elements.
    let _ = codec::encode(&kept.len(), &mut out);
    out.extend_from_slice(&bodies);
    (out, kept)
}

/// Reads a statement.
///
/// # Errors
/// [`StatementError`], for anything that a router of this version does not say.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, StatementError> {
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
struct List(#[serde(deserialize_with = "bounded::list::<_, _, MAX_HOST_NAMES>")] Vec<Entry>);

fn check(entry: &Entry) -> Result<(), StatementError> {
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

/// Whether a name may lead there: what leads to the asking host itself, or to many, is somebody's mistake or trick.
pub(super) fn is_containers(ip: IpAddr) -> bool {
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || mapped || broadcast)
}

impl Port {
    /// Whether number and service are of the form they should be.
    pub fn is_sound(&self) -> bool {
        let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        self.number != 0 && self.service.len() <= MAX_SERVICE && self.service.bytes().all(fit)
    }
}

impl Transport {
    /// The label that stands for it in names of services.
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
        // Written in lower case: what reads as one name must not travel as two.
        let name = Self::relative(&text).map_err(serde::de::Error::custom)?;
        match name.as_str() == text {
            true => Ok(name),
            false => Err(serde::de::Error::custom("not in lower case")),
        }
    }
}
