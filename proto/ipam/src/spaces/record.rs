//! The bytes that travel when there are networks besides `default`: the record with the statements of all spaces, and
//! messages about one of them. Described in `docs/PROTOCOL.md`.
//!
//! The statement about `default` stays as it is, at the beginning. Without other spaces it is all there is.

use serde::{Deserialize, Serialize};

use super::tag::SpaceTag;
use crate::wire::{IpamMessage, IpamStatement, WireError};
use mesh_proto::limits::{MAX_ADDRESS_SPACES, MAX_IPAM_BYTES};
use mesh_proto::wire::bounded::{self, Blob};
use mesh_proto::wire::codec;

/// The first byte of a record that states nothing about `default`.
const NO_DEFAULT: u8 = 0;
/// The first byte of a message about another space than `default`.
const SPACE_MESSAGE: u8 = 2;
/// Bytes of a space.
const SPACE: usize = 16 + 4 + 1;
/// Bytes of the number of statements, at most.
const COUNT: usize = 3;

/// The statement about one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceStatement<'a> {
    /// The space.
    pub space: SpaceTag,
    /// An [`IpamStatement`], which is decoded by those that take part in the space only.
    #[serde(borrow)]
    pub statement: Blob<'a, MAX_IPAM_BYTES>,
}

/// All that one router states about addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord<'a> {
    /// The statement about `default`, if there is one.
    pub default: Option<IpamStatement>,
    /// The statements about other spaces, in ascending order.
    pub spaces: Vec<SpaceStatement<'a>>,
}

/// A message about another space than `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceMessage<'a> {
    /// The space.
    pub space: SpaceTag,
    /// An [`IpamMessage`].
    pub message: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct SpaceList<'a> {
    #[serde(borrow, deserialize_with = "bounded::list::<_, _, MAX_ADDRESS_SPACES>")]
    list: Vec<SpaceStatement<'a>>,
}

impl<'a> AddressRecord<'a> {
    /// Reads the body of a record.
    ///
    /// # Errors
    /// [`WireError`], for anything that [`AddressRecord::encode`] does not make.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_IPAM_BYTES {
            return Err(WireError::Malformed);
        }
        let (default, rest) = match bytes.split_first() {
            Some((&NO_DEFAULT, rest)) => (None, rest),
            _ => {
                let (default, used) = IpamStatement::decode_first(bytes)?;
                (Some(default), bytes.get(used..).unwrap_or_default())
            }
        };
        let spaces = match rest.is_empty() && default.is_some() {
            true => Vec::new(),
            false => spaces_of(rest)?,
        };
        Ok(Self { default, spaces })
    }

    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let default = self.default.as_ref().map(IpamStatement::encode);
        compose(default, self.spaces.clone())
    }
}

fn spaces_of(bytes: &[u8]) -> Result<Vec<SpaceStatement<'_>>, WireError> {
    let spaces: SpaceList<'_> = codec::decode(bytes).map_err(|_| WireError::Malformed)?;
    let spaces = spaces.list;
    let is_good = |s: &SpaceStatement<'_>| s.space.is_sound() && !s.statement.0.is_empty();
    let is_ordered = spaces.windows(2).all(|pair| pair[0].space < pair[1].space);
    match !spaces.is_empty() && is_ordered && spaces.iter().all(is_good) {
        true => Ok(spaces),
        false => Err(WireError::Malformed),
    }
}

/// Returns the body of a record with these statements, in ascending order.
fn compose(default: Option<Vec<u8>>, spaces: Vec<SpaceStatement<'_>>) -> Vec<u8> {
    let mut out = default.unwrap_or_else(|| vec![NO_DEFAULT]);
    if !spaces.is_empty() {
        let list = SpaceList { list: spaces };
        // None of our types fails to be encoded.
        let _ = codec::encode(&list, &mut out);
    }
    out
}

/// Returns the body of a record with the statement about `default`, and as many others as there is room for, the first
/// ones first; and how many were left out.
pub(crate) fn fit<'a>(
    default: Option<Vec<u8>>,
    spaces: impl Iterator<Item = (SpaceTag, &'a [u8])>,
) -> (Vec<u8>, usize) {
    let mut bytes = default.as_ref().map_or(1, Vec::len) + COUNT;
    let (mut stated, mut left_out) = (Vec::new(), 0);
    for (space, statement) in spaces {
        // The space, the length, and the statement.
        let length = SPACE + COUNT + 2 + statement.len();
        if stated.len() < MAX_ADDRESS_SPACES && bytes + length <= MAX_IPAM_BYTES {
            bytes += length;
            let statement = Blob(statement);
            stated.push(SpaceStatement { space, statement });
        } else {
            left_out += 1;
        }
    }
    stated.sort_unstable_by_key(|stated| stated.space);
    (compose(default, stated), left_out)
}

impl<'a> SpaceMessage<'a> {
    /// Reads the bytes of a message about a space; `None` for a message about `default`.
    ///
    /// # Errors
    /// [`WireError`], for a space that cannot be.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        let Some((&SPACE_MESSAGE, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let (space, message) = rest.split_at_checked(SPACE).ok_or(WireError::Malformed)?;
        let space: SpaceTag = codec::decode(space).map_err(|_| WireError::Malformed)?;
        match space.is_sound() {
            true => Ok(Some(Self { space, message })),
            false => Err(WireError::Malformed),
        }
    }

    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![SPACE_MESSAGE];
        // None of our types fails to be encoded.
        let _ = codec::encode(&self.space, &mut out);
        out.extend_from_slice(self.message);
        out
    }

    /// Reads the message itself.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn read(&self) -> Result<IpamMessage, WireError> {
        IpamMessage::decode(self.message)
    }
}
