//! What routers say of addresses: statements to everybody, messages to one another. Bytes in `docs/PROTOCOL.md`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::slices::Run;
use crate::ids::{PeerId, Version};
use crate::limits::{
    MAX_ADDRESS_CONFLICTS, MAX_CONTAINER_ID, MAX_FENCES, MAX_IPAM_BYTES, MAX_IPAM_PINS,
    MAX_IPAM_RUNS,
};
use crate::wire::{bounded, codec};

/// Format of statements and messages of this version.
const FORMAT: u8 = 1;

/// What one router says to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// How new it is.
    pub version: Version,
    /// The range it allocates from.
    pub range: Ipv4Net,
    /// Its requests with lower numbers are over: what they got is in `pins`, or not wanted.
    pub settled: u64,
    /// Whether it holds or lends any address.
    pub live: bool,
    /// Hint: 0 for no empty slice, else 1 + log2 of how many.
    pub free: u8,
    /// Slices that are its own.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
    pub own: Vec<Run>,
    /// Slices of others, which those cannot say, or do not say yet.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
    pub others: Vec<Foreign>,
    /// Addresses held in slices that are not the origin's.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
    pub pins: Vec<Pin>,
    /// Routers that were removed.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_FENCES>")]
    pub fences: Vec<(PeerId, Version)>,
    /// Addresses of its slices that two routers hold.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ADDRESS_CONFLICTS>")]
    pub conflicts: Vec<Conflict>,
}

/// Slices of a router that somebody else speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// Their owner.
    pub owner: PeerId,
    /// Which.
    pub run: Run,
}

/// An address held by a router that does not own its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The address.
    pub addr: Ipv4Addr,
    /// Who holds it; nobody named is the sender.
    pub holder: Option<PeerId>,
    /// The holder's epoch and the number of its request, as far as the sender knows.
    pub epoch: u64,
    /// See `epoch`.
    pub number: u64,
}

/// An address that two routers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// The address.
    pub addr: Ipv4Addr,
    /// Who is taken to hold it rightly.
    pub first: PeerId,
    /// Who holds it too.
    pub second: PeerId,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// Space in this subnet: some slices, or one address.
    Subnet(Ipv4Net),
    /// This very address.
    Address(Ipv4Addr),
}

/// Why an owner does not give what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// Nothing is free there.
    Full,
    /// The asked router owns nothing there.
    NotMine,
    /// Others claim the slice too.
    Contested,
    /// The address is held by this container of the asked router.
    Held(#[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_ID>")] String),
    /// The address is held by this router.
    HeldBy(PeerId),
}

/// What one router says to another. Every message may be lost, late, and twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A request; the answer is `Lent`, `Denied`, or a grant.
    Ask {
        /// The sender's epoch.
        epoch: u64,
        /// The request's number within the epoch.
        number: u64,
        /// What is wanted.
        want: Want,
        /// How many slices are welcome.
        slices: u16,
    },
    /// This address is the receiver's.
    Lent {
        /// The receiver's epoch when it asked.
        epoch: u64,
        /// The number of its request.
        number: u64,
        /// The address.
        addr: Ipv4Addr,
    },
    /// No.
    Denied {
        /// The receiver's epoch when it asked.
        epoch: u64,
        /// The number of the request.
        number: u64,
        /// Why.
        why: Denial,
    },
    /// These slices, which were the sender's, are the receiver's. Repeated until the receiver states so.
    Grant {
        /// Which.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        runs: Vec<Run>,
        /// Who holds addresses there.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
        pins: Vec<Pin>,
    },
    /// The sender takes these slices unless the receiver knows better.
    Agree {
        /// Number of the question.
        number: u64,
        /// Which.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        runs: Vec<Run>,
    },
    /// The answer.
    Agreed {
        /// Number of the question.
        number: u64,
        /// Higher claims of the same slices.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_RUNS>")]
        over: Vec<Foreign>,
        /// Who holds addresses there.
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IPAM_PINS>")]
        pins: Vec<Pin>,
    },
}

/// Why a statement or message is not read. It is counted, and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Of another version.
    #[error("addresses: format {0} is not known")]
    Format(u8),
    /// Not what it should be.
    #[error("addresses: malformed or out of bounds")]
    Malformed,
}

impl Statement {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads bytes from outside.
    ///
    /// # Errors
    /// [`WireError`], for whatever [`Statement::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }
}

impl Message {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads bytes from outside.
    ///
    /// # Errors
    /// [`WireError`], for whatever [`Message::encode`] does not make.
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
