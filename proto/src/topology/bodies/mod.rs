//! Bodies of the records that the control plane itself interprets: identity, links, and attached containers.

mod attached;

use core::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::attached::{Attached, decode_attached, encode_attached};
use super::error::RecordError;
use crate::crypto::identity::Identity;
use crate::ids::{PeerName, PeerPrefix};
use crate::limits::{MAX_ENDPOINTS, MAX_NEIGHBOURS, MAX_NICKNAME};
use crate::wire::bounded;
use crate::wire::codec;

/// Identity of a router. Lists and texts that exceed the bounds in [`crate::limits`] are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityBody {
    /// Ed25519 public key; the origin's [`crate::ids::PeerId`] is its hash.
    pub sign_key: [u8; 32],
    /// X25519 public key for links and sessions.
    pub dh_key: [u8; 32],
    /// Name of the router.
    pub name: PeerName,
    /// Host name, for display; without control characters.
    #[serde(deserialize_with = "bounded::text::<_, MAX_NICKNAME>")]
    pub nickname: String,
    /// Underlay addresses (TCP and UDP) at which it may be reached, in order of preference. IPv6 scopes are not
    /// carried.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ENDPOINTS>")]
    pub endpoints: Vec<SocketAddr>,
    /// Bit set of optional protocol features that it supports.
    pub features: u64,
}

/// One link of a router, as announced by that router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// First bytes of the identity of the router at the other end.
    pub peer: PeerPrefix,
    /// True if the record's origin dialled.
    pub outbound: bool,
    /// True if the origin has established the link; a link carries frames once both ends say so.
    pub established: bool,
    /// Cost of the link: its round-trip time in milliseconds, at least 1.
    pub cost: u16,
    /// Underlay address of the other end, as seen by the record's origin; `None` if the other end announces it
    /// itself.
    pub address: Option<SocketAddr>,
}

/// Body of a record, as far as this version understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Identity of the origin.
    Identity(Box<IdentityBody>),
    /// Links of the origin.
    Links(Box<[Neighbour]>),
    /// Containers of the origin.
    Attached(Box<[Attached]>),
    /// Bytes that the control plane does not interpret.
    Opaque,
}

#[derive(Serialize, Deserialize)]
struct EncodedLink(PeerPrefix, u8, u16, Option<SocketAddr>);

#[derive(Serialize, Deserialize)]
struct LinkList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NEIGHBOURS>")] Vec<EncodedLink>,
);

const OUTBOUND: u8 = 1;
const ESTABLISHED: u8 = 2;

impl IdentityBody {
    /// Creates the identity body of a router with these keys, without addresses.
    pub fn new(identity: &Identity, name: PeerName, nickname: String) -> Self {
        Self {
            sign_key: identity.sign_key(),
            dh_key: identity.dh_key(),
            name,
            nickname,
            endpoints: Vec::new(),
            features: 0,
        }
    }

    /// Encodes the body of a record about [`crate::wire::topic::Topic::IDENTITY`].
    pub fn encode(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Decodes the body of a record about [`crate::wire::topic::Topic::IDENTITY`].
    ///
    /// # Errors
    /// [`RecordError`] if it is malformed, exceeds a bound or has control characters.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let identity: Self = codec::decode(body)?;
        fit_to_print(&identity.nickname)?;
        Ok(identity)
    }
}

/// Formats the router for display: `7a:…(host2)`.
impl fmt::Display for IdentityBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.nickname)
    }
}

/// Encodes the body of a record about [`crate::wire::topic::Topic::LINKS`].
pub fn encode_links(neighbours: &[Neighbour]) -> Vec<u8> {
    let link = |n: &Neighbour| {
        let flags = (u8::from(n.outbound) * OUTBOUND) | (u8::from(n.established) * ESTABLISHED);
        EncodedLink(n.peer, flags, n.cost, n.address)
    };
    encoded(&LinkList(neighbours.iter().map(link).collect()))
}

/// Decodes the body of a record about [`crate::wire::topic::Topic::LINKS`]; an empty body means no links. Unknown flags
/// are ignored.
///
/// # Errors
/// [`RecordError::Malformed`] if it is malformed or exceeds a bound.
pub fn decode_links(body: &[u8]) -> Result<Vec<Neighbour>, RecordError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let LinkList(links) = codec::decode(body)?;
    let neighbour = |EncodedLink(peer, flags, cost, address)| Neighbour {
        peer,
        outbound: flags & OUTBOUND != 0,
        established: flags & ESTABLISHED != 0,
        cost,
        address,
    };
    Ok(links.into_iter().map(neighbour).collect())
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // No type here fails to encode; bounds are checked when the record is made.
    if codec::encode(value, &mut out).is_err() {
        out.clear();
    }
    out
}

fn fit_to_print(text: &str) -> Result<(), RecordError> {
    if text.chars().any(char::is_control) {
        return Err(RecordError::ControlCharacters);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
