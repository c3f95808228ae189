//! What the records say whose topics the control plane knows: who a router is, its links, its containers.

use core::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::record::RecordError;
use crate::crypto::identity::Identity;
use crate::ids::{Mac, PeerName, PeerPrefix};
use crate::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_ENDPOINTS, MAX_NEIGHBOURS, MAX_NICKNAME, MAX_RECORD,
    RECORD_OVERHEAD,
};
use crate::wire::bounded;
use crate::wire::codec;

/// Who a router is. Lists and texts beyond the bounds in [`crate::limits`] are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityBody {
    /// Ed25519 public key, of which the origin's [`crate::ids::PeerId`] is a hash.
    pub sign_key: [u8; 32],
    /// X25519 public key of links and sessions.
    pub dh_key: [u8; 32],
    /// What people call the router.
    pub name: PeerName,
    /// Its host name, for people; without control characters.
    #[serde(deserialize_with = "bounded::text::<_, MAX_NICKNAME>")]
    pub nickname: String,
    /// Underlay addresses (TCP and UDP) where it may be reached, best first. IPv6 scopes are not carried.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ENDPOINTS>")]
    pub endpoints: Vec<SocketAddr>,
    /// Optional parts of the protocol it speaks.
    pub features: u64,
}

/// One link of a router, as that router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who is at the other end.
    pub peer: PeerPrefix,
    /// Whether the record's origin dialled.
    pub outbound: bool,
    /// Whether frames may go this way; a link carries frames when both ends say so.
    pub established: bool,
    /// What the link costs: its round-trip time in milliseconds, from 1.
    pub cost: u16,
    /// The other end's underlay address, as the record's origin sees it; none where the other end announces it itself.
    pub address: Option<SocketAddr>,
}

/// One interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its MAC address.
    pub mac: Mac,
    /// Its address and prefix length.
    pub addr: IpNet,
    /// Short name of the container, for people; empty where the record would have become too long.
    #[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_NAME>")]
    pub container: String,
    /// How often it moved to another router; of two that announce it the one with more moves is right.
    pub moves: u32,
}

/// What a record says, as far as this version understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Who its origin is.
    Identity(Box<IdentityBody>),
    /// Its origin's links.
    Links(Box<[Neighbour]>),
    /// Its origin's containers.
    Attached(Box<[Attached]>),
    /// Bytes that mean something to somebody else.
    Opaque,
}

#[derive(Serialize, Deserialize)]
struct Link(PeerPrefix, u8, u16, Option<SocketAddr>);

#[derive(Serialize, Deserialize)]
struct LinkList(#[serde(deserialize_with = "bounded::list::<_, _, MAX_NEIGHBOURS>")] Vec<Link>);

#[derive(Serialize, Deserialize)]
struct AttachedList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ATTACHED>")] Vec<Attached>,
);

const OUTBOUND: u8 = 1;
const ESTABLISHED: u8 = 2;

impl IdentityBody {
    /// What a router with these keys says of itself, without addresses.
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

    /// The body of a record about [`super::Topic::IDENTITY`].
    pub fn encode(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads such a body.
    ///
    /// # Errors
    /// [`RecordError`] when it is malformed, out of bounds or not fit to print.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let identity: Self = codec::decode(body)?;
        fit_to_print(&identity.nickname)?;
        Ok(identity)
    }
}

/// As people call the router: `7a:…(host2)`.
impl fmt::Display for IdentityBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.nickname)
    }
}

/// The body of a record about [`super::Topic::LINKS`].
pub fn encode_links(neighbours: &[Neighbour]) -> Vec<u8> {
    let link = |n: &Neighbour| {
        let flags = (u8::from(n.outbound) * OUTBOUND) | (u8::from(n.established) * ESTABLISHED);
        Link(n.peer, flags, n.cost, n.address)
    };
    encoded(&LinkList(neighbours.iter().map(link).collect()))
}

/// Reads such a body; an empty one says that there are none. Flags that later versions add are passed over.
///
/// # Errors
/// [`RecordError::Malformed`] when it is malformed or out of bounds.
pub fn decode_links(body: &[u8]) -> Result<Vec<Neighbour>, RecordError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let LinkList(links) = codec::decode(body)?;
    let neighbour = |Link(peer, flags, cost, address)| Neighbour {
        peer,
        outbound: flags & OUTBOUND != 0,
        established: flags & ESTABLISHED != 0,
        cost,
        address,
    };
    Ok(links.into_iter().map(neighbour).collect())
}

/// The body of a record about [`super::Topic::ATTACHED`]. Container names are cut to their bound and cleaned of control
/// characters; if the record would be longer than [`MAX_RECORD`], they are left out altogether.
pub fn encode_attached(attached: &[Attached]) -> Vec<u8> {
    let mut attached = attached.to_vec();
    for one in &mut attached {
        one.container = presentable(&one.container);
    }
    let mut list = AttachedList(attached);
    let body = encoded(&list);
    if body.len() + RECORD_OVERHEAD <= MAX_RECORD {
        return body;
    }
    list.0.iter_mut().for_each(|a| a.container.clear());
    encoded(&list)
}

/// Reads such a body; an empty one says that there are none.
///
/// # Errors
/// [`RecordError`] when it is malformed, out of bounds or not fit to print.
pub fn decode_attached(body: &[u8]) -> Result<Vec<Attached>, RecordError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let AttachedList(attached) = codec::decode(body)?;
    attached
        .iter()
        .try_for_each(|a| fit_to_print(&a.container))?;
    Ok(attached)
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Nothing here has a type that cannot be encoded; bounds are checked where the record is made.
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

fn presentable(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    bounded::truncated(&clean, MAX_CONTAINER_NAME).to_owned()
}

#[cfg(test)]
#[path = "bodies_tests.rs"]
mod tests;
