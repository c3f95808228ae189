//! Which network has a name: of several with one name, created before their creators heard of one another, the one
//! with the older creation stamp, then the lower id. The others are *shadowed*: known by their ids only.

use std::collections::BTreeMap;

use mesh_proto::network::NetworkId;

use super::definition::name::{DEFAULT_NETWORK, NetworkName};
use super::ledger::NetworkLedger;
use super::refusal::UnknownNetwork;

/// Digits of an id that users give at least; with fewer, a name with a typo might mean some network.
pub(crate) const MIN_ID_DIGITS: usize = 4;

/// Names, and networks that lost theirs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NameTable {
    names: BTreeMap<NetworkName, NetworkId>,
    /// Each shadowed network, and the one that has its name.
    shadowed: BTreeMap<NetworkId, NetworkId>,
}

impl NameTable {
    /// Computes the names of all known networks.
    pub(crate) fn of(ledger: &NetworkLedger) -> Self {
        let mut table = Self::default();
        let networks = ledger.live().values().map(|known| &known.definition);
        let mut ordered: Vec<_> = networks.collect();
        ordered.sort_by_key(|definition| definition.precedence());
        for definition in ordered {
            match table.names.get(&definition.name) {
                None => {
                    table.names.insert(definition.name.clone(), definition.id);
                }
                Some(winner) => {
                    table.shadowed.insert(definition.id, *winner);
                }
            }
        }
        table
    }

    /// Returns the network with this name.
    pub(crate) fn get(&self, name: &NetworkName) -> Option<NetworkId> {
        self.names.get(name).copied()
    }

    /// Returns the network that has the name of this one, if it is another.
    pub(crate) fn shadowed_by(&self, id: &NetworkId) -> Option<NetworkId> {
        self.shadowed.get(id).copied()
    }

    /// Returns the shadowed networks, each with the one that has its name.
    pub(crate) fn shadowed(&self) -> &BTreeMap<NetworkId, NetworkId> {
        &self.shadowed
    }
}

/// Finds the network that a user typed: by its name, or by its id or the start of it.
pub(crate) fn resolve<'a>(
    text: &str,
    named: impl Fn(&NetworkName) -> Option<NetworkId>,
    ids: impl Iterator<Item = &'a NetworkId>,
) -> Result<NetworkId, UnknownNetwork> {
    if text == DEFAULT_NETWORK {
        return Ok(NetworkId::DEFAULT);
    }
    if let Some(id) = NetworkName::parse(text).ok().and_then(|name| named(&name)) {
        return Ok(id);
    }
    let missing = || UnknownNetwork::Missing(text.to_owned());
    if text.len() < MIN_ID_DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let digits = text.to_ascii_lowercase();
    let all = ids.copied().chain([NetworkId::DEFAULT]);
    let mut found = all.filter(|id| id.to_string().starts_with(&digits));
    let first = found.next().ok_or_else(missing)?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(UnknownNetwork::Ambiguous(text.to_owned())),
    }
}
