//! Statement of the names of one router's containers, replaced as a whole by a newer one.
//!
//! It is encoded as `01`, then the list of [`NameEntry`] of the network `default`, by [`mesh_proto::wire::codec`]. If there
//! are names in other networks, a list of groups follows: id of the network and list of entries, in ascending order of ids,
//! none empty. The first name of an address is the first in reverse answers. Bounds are those in [`mesh_proto::limits`],
//! for all networks together; a statement that exceeds them is refused.

mod entry;

pub(crate) use entry::is_containers;
pub use entry::{NameEntry, Port, ServiceProtocol};

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::Deserialize;

use mesh_proto::limits::{
    MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_NAMES_STATEMENT, MAX_USED_NETWORKS,
};
use mesh_proto::network::NetworkId;
use mesh_proto::wire::bounded;
use mesh_proto::wire::codec::{self, CodecError};

/// First byte; others are formats of later versions.
const FORMAT: u8 = 1;
/// Bytes around the entries of the network `default` and around the groups, at most.
const AROUND: usize = 10;
/// Bytes around the entries of another network, at most.
const AROUND_GROUP: usize = 16 + 3;

/// Names that one router states, by network; of each network in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedNames(BTreeMap<NetworkId, Vec<NameEntry>>);

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

impl StatedNames {
    /// Returns the entries of a network.
    pub fn of(&self, network: &NetworkId) -> &[NameEntry] {
        self.0.get(network).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns all entries with their networks, in ascending order of networks.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkId, &NameEntry)> {
        let groups = self.0.iter();
        groups.flat_map(|(network, entries)| entries.iter().map(|entry| (*network, entry)))
    }

    /// Returns the number of entries.
    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of pairs of a name and an address.
    pub(crate) fn pairs(&self) -> usize {
        let entries = self.0.values().flatten();
        entries.map(|entry| entry.addresses.len()).sum()
    }

    /// Returns the networks with their entries, none empty.
    pub(crate) fn into_groups(self) -> impl Iterator<Item = (NetworkId, Vec<NameEntry>)> {
        self.0.into_iter()
    }

    /// Returns the number of networks other than `default`.
    pub(crate) fn others(&self) -> usize {
        self.0.len() - usize::from(self.0.contains_key(&NetworkId::DEFAULT))
    }

    fn push(&mut self, network: NetworkId, entry: NameEntry) {
        self.0.entry(network).or_default().push(entry);
    }
}

impl From<Vec<NameEntry>> for StatedNames {
    /// Returns these entries in the network `default`.
    fn from(entries: Vec<NameEntry>) -> Self {
        let entries = entries.into_iter();
        entries.map(|entry| (NetworkId::DEFAULT, entry)).collect()
    }
}

impl FromIterator<(NetworkId, NameEntry)> for StatedNames {
    fn from_iter<I: IntoIterator<Item = (NetworkId, NameEntry)>>(entries: I) -> Self {
        let mut stated = Self::default();
        for (network, entry) in entries {
            stated.push(network, entry);
        }
        stated
    }
}

/// Encodes as many of the entries as fit one statement, and returns the encoding with those entries. An entry that
/// does not fit is left out, and the following ones are tried; no network comes before another.
pub(super) fn encode(entries: &[(NetworkId, NameEntry)]) -> (Vec<u8>, StatedNames) {
    let mut bodies: BTreeMap<NetworkId, Vec<u8>> = BTreeMap::new();
    let mut kept = StatedNames::default();
    let (mut names, mut pairs, mut bytes) = (0, 0, AROUND);
    for (network, entry) in entries {
        if names == MAX_HOST_NAMES {
            break;
        }
        let is_first = !network.is_default() && !bodies.contains_key(network);
        if is_first && kept.others() == MAX_USED_NETWORKS {
            continue;
        }
        let mut body = Vec::new();
        let written = codec::encode(entry, &mut body);
        let with = bytes + body.len() + if is_first { AROUND_GROUP } else { 0 };
        let fits =
            with <= MAX_NAMES_STATEMENT && pairs + entry.addresses.len() <= MAX_HOST_NAME_PAIRS;
        if written.is_err() || !fits {
            continue;
        }
        names += 1;
        pairs += entry.addresses.len();
        bytes = with;
        bodies.entry(*network).or_default().extend_from_slice(&body);
        kept.push(*network, entry.clone());
    }
    (whole(&kept, bodies), kept)
}

/// Returns the encoding of a statement with these entries; `bodies` are their encodings.
fn whole(kept: &StatedNames, mut bodies: BTreeMap<NetworkId, Vec<u8>>) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let list = |network: &NetworkId, body: Vec<u8>, out: &mut Vec<u8>| {
        // A list is its length, then its elements.
        let _ = codec::encode(&kept.of(network).len(), out);
        out.extend_from_slice(&body);
    };
    let of_default = bodies.remove(&NetworkId::DEFAULT).unwrap_or_default();
    list(&NetworkId::DEFAULT, of_default, &mut out);
    if !bodies.is_empty() {
        let _ = codec::encode(&bodies.len(), &mut out);
    }
    for (network, body) in bodies {
        let _ = codec::encode(&network, &mut out);
        list(&network, body, &mut out);
    }
    out
}

#[derive(Deserialize)]
struct EntryList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_HOST_NAMES>")] Vec<NameEntry>,
);

#[derive(Deserialize)]
struct NetworkGroup {
    network: NetworkId,
    entries: EntryList,
}

#[derive(Deserialize)]
struct ManyNetworks {
    of_default: EntryList,
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_USED_NETWORKS>")]
    groups: Vec<NetworkGroup>,
}

/// Decodes a statement.
///
/// # Errors
/// [`StatementError`] for anything that a router of this version does not encode.
pub fn decode(bytes: &[u8]) -> Result<StatedNames, StatementError> {
    if bytes.len() > MAX_NAMES_STATEMENT {
        return Err(StatementError::TooLong(bytes.len()));
    }
    let [FORMAT, rest @ ..] = bytes else {
        return Err(StatementError::Malformed);
    };
    let stated = match codec::decode(rest) {
        Ok(EntryList(entries)) => entries.into(),
        Err(CodecError::Trailing(_)) => {
            let many = codec::decode(rest).map_err(|_| StatementError::Malformed)?;
            merged(many)?
        }
        Err(_) => return Err(StatementError::Malformed),
    };
    stated.iter().try_for_each(|(_, entry)| check(entry))?;
    match stated.count() <= MAX_HOST_NAMES && stated.pairs() <= MAX_HOST_NAME_PAIRS {
        true => Ok(stated),
        false => Err(StatementError::Malformed),
    }
}

/// Returns the entries of all networks; an error if there is another encoding of them.
fn merged(many: ManyNetworks) -> Result<StatedNames, StatementError> {
    let EntryList(of_default) = many.of_default;
    let (mut stated, mut last) = (StatedNames::from(of_default), NetworkId::DEFAULT);
    if many.groups.is_empty() {
        return Err(StatementError::Malformed);
    }
    for group in many.groups {
        let EntryList(entries) = group.entries;
        if group.network <= last || entries.is_empty() {
            return Err(StatementError::Malformed);
        }
        last = group.network;
        stated.0.insert(group.network, entries);
    }
    Ok(stated)
}

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
