//! Statements to everybody and messages between two routers about addresses. Bytes in `docs/PROTOCOL.md`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::slices::SliceRun;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{
    MAX_ADDRESS_CONFLICTS, MAX_CONTAINER_ID, MAX_FENCES, MAX_IPAM_BYTES, MAX_IPAM_PINS,
    MAX_IPAM_RUNS,
};
use mesh_proto::wire::bounded;
use mesh_proto::wire::codec::{self, CodecError};

/// Format of statements and messages of this version.
const FORMAT: u8 = 1;

/// The space and the leases of one router, as it tells all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamStatement {
    /// Its age: a later one replaces it.
    pub version: Version,
    /// The range it allocates from.
    pub range: Ipv4Net,
    /// Its requests with lower numbers are over: each lease of theirs is in `pins`, or has ended.
    pub settled: u64,
    /// Any address is leased by it, or by another router from it.
    pub live: bool,
    /// Hint: 0 for no empty slice, else 1 + log2 of how many.
    pub free: u8,
    /// Slices that are its own.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
    pub own: Vec<SliceRun>,
    /// Slices of others that cannot state them, or do not yet.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
    pub others: Vec<ForeignClaim>,
    /// Addresses leased in slices that are not the origin's.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
    pub pins: Vec<Pin>,
    /// Routers that were removed.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_FENCES>")]
    pub fences: Vec<(PeerId, Version)>,
    /// Addresses of its slices that two routers lease.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ADDRESS_CONFLICTS>")]
    pub conflicts: Vec<Conflict>,
}

/// Slices of one router as another one states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignClaim {
    /// The owner.
    pub owner: PeerId,
    /// The slices.
    pub run: SliceRun,
}

/// An address leased by a router that does not own its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The address.
    pub addr: Ipv4Addr,
    /// The router that leases it; `None` for the sender.
    pub router: Option<PeerId>,
    /// That router's epoch and the number of its request, as far as the sender knows.
    pub epoch: u64,
    /// See `epoch`.
    pub number: u64,
}

/// An address that two routers lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// The address.
    pub addr: Ipv4Addr,
    /// The router whose lease is taken to be right.
    pub first: PeerId,
    /// The other router.
    pub second: PeerId,
}

/// An address that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressRequest {
    /// Any address of this subnet: the answer is some slices, or one address.
    Subnet(Ipv4Net),
    /// This very address.
    Address(Ipv4Addr),
}

/// The reason an owner does not give what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// Nothing is free there.
    Full,
    /// The asked router owns nothing there.
    NotMine,
    /// Others claim the slice too.
    Contested,
    /// This container of the asked router has the address.
    InUse(#[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_ID>")] String),
    /// A container of this router has the address.
    InUseBy(PeerId),
}

/// A message of one router to another. Each may be lost, late, and come twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpamMessage {
    /// A request; the answer is `Leased`, `Denied`, or a grant.
    Request {
        /// The sender's epoch.
        epoch: u64,
        /// The request's number within the epoch.
        number: u64,
        /// The address, or the subnet of it.
        request: AddressRequest,
        /// The number of slices that are welcome.
        slices: u16,
    },
    /// The receiver leases this address.
    Leased {
        /// The receiver's epoch when it asked.
        epoch: u64,
        /// The number of its request.
        number: u64,
        /// The address.
        addr: Ipv4Addr,
    },
    /// The receiver gets nothing.
    Denied {
        /// The receiver's epoch when it asked.
        epoch: u64,
        /// The number of the request.
        number: u64,
        /// The reason.
        why: Denial,
    },
    /// These slices, which were the sender's, are the receiver's. Repeated until the receiver states so.
    Grant {
        /// The slices.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        runs: Vec<SliceRun>,
        /// Leases there.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
        pins: Vec<Pin>,
    },
    /// The sender takes these slices unless the receiver knows better.
    Agree {
        /// Number of the question.
        number: u64,
        /// The slices.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        runs: Vec<SliceRun>,
    },
    /// The answer to `Agree`.
    Agreed {
        /// Number of the question.
        number: u64,
        /// Higher claims of the same slices.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        over: Vec<ForeignClaim>,
        /// Leases there.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
        pins: Vec<Pin>,
    },
}

/// The reason a statement or message is not read. It is counted, and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is of another version.
    #[error("addresses: format {0} is not known")]
    Format(u8),
    /// It is not what it should be.
    #[error("addresses: malformed or out of bounds")]
    Malformed,
}

impl IpamStatement {
    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads bytes from outside.
    ///
    /// # Errors
    /// [`WireError`], for anything that [`IpamStatement::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }

    /// Reads a statement that other bytes may follow. Returns it with its length.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn decode_first(bytes: &[u8]) -> Result<(Self, usize), WireError> {
        let whole = match bytes.split_first() {
            Some((&FORMAT, rest)) => codec::decode::<Self>(rest),
            _ => return decode(bytes).map(|statement| (statement, bytes.len())),
        };
        let used = match whole {
            Ok(statement) => return Ok((statement, bytes.len())),
            Err(CodecError::Trailing(rest)) => bytes.len() - rest,
            Err(_) => return Err(WireError::Malformed),
        };
        decode(&bytes[..used]).map(|statement| (statement, used))
    }

    /// Returns the version of a statement, without reading the rest.
    pub(crate) fn peek_version(bytes: &[u8]) -> Option<Version> {
        // Two numbers of at most nine bytes.
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let head = &rest[..rest.len().min(18)];
        match codec::decode::<Version>(head) {
            Ok(version) => Some(version),
            Err(CodecError::Trailing(rest)) => codec::decode(&head[..head.len() - rest]).ok(),
            Err(_) => None,
        }
    }
}

impl IpamMessage {
    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads bytes from outside.
    ///
    /// # Errors
    /// [`WireError`], for anything that [`IpamMessage::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // None of our types fails to be encoded.
    let _ = codec::encode(value, &mut out);
    out
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_IPAM_BYTES {
        return Err(WireError::Malformed);
    }
    match bytes.split_first() {
        Some((&FORMAT, rest)) => codec::decode(rest).map_err(|_| WireError::Malformed),
        Some((format, _)) => Err(WireError::Format(*format)),
        None => Err(WireError::Malformed),
    }
}
