//! Which network has a name: of several with one name, created before their creators heard of one another, the one
//! with the older creation stamp, then the lower id. The others are *shadowed*: known by their ids only.

use std::collections::BTreeMap;

use mesh_proto::limits::MAX_NETWORK_NAME;
use mesh_proto::network::NetworkId;

use super::definition::name::{DEFAULT_NETWORK, NetworkName};
use super::ledger::NetworkLedger;
use super::refusal::UnknownNetwork;
use super::{Networks, NetworksOutput};

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

    /// Returns the networks that have their names.
    pub(crate) fn all(&self) -> &BTreeMap<NetworkName, NetworkId> {
        &self.names
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
    names: &BTreeMap<NetworkName, NetworkId>,
    ids: impl Iterator<Item = &'a NetworkId>,
) -> Result<NetworkId, UnknownNetwork> {
    if text == DEFAULT_NETWORK {
        return Ok(NetworkId::DEFAULT);
    }
    let name = NetworkName::parse(text).ok();
    if let Some(id) = name.and_then(|name| names.get(&name)) {
        return Ok(*id);
    }
    let missing = || match closest(text, names.keys()) {
        Some(meant) => UnknownNetwork::Mistyped {
            typed: text.to_owned(),
            meant: meant.clone(),
        },
        None => UnknownNetwork::Missing(text.to_owned()),
    };
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

/// Returns the name that a text with a typo or two is meant to be, if there is one.
fn closest<'a>(
    text: &str,
    names: impl Iterator<Item = &'a NetworkName>,
) -> Option<&'a NetworkName> {
    let slips = match text.len() {
        0..=2 => return None,
        3..=4 => 1,
        5..=MAX_NETWORK_NAME => 2,
        _ => return None,
    };
    let typed = text.to_lowercase();
    let distance = |name: &NetworkName| strsim::osa_distance(&typed, &name.as_str().to_lowercase());
    let close = names.map(|name| (distance(name), name));
    let close = close.filter(|(distance, _)| *distance <= slips);
    close
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

impl Networks {
    /// Computes the names again, and reports which networks lost or got theirs.
    pub(crate) fn rename(&mut self) {
        let names = NameTable::of(&self.ledger);
        if names == self.names {
            return;
        }
        let before = core::mem::replace(&mut self.names, names);
        for (id, by) in self.names.shadowed() {
            let Some(definition) = self.ledger.get(id) else {
                continue;
            };
            if before.shadowed_by(id) != Some(*by) {
                let is_author = definition.version.author == self.me;
                self.outputs.push_back(NetworksOutput::Shadowed {
                    definition: definition.clone(),
                    by: *by,
                    is_own: is_author || self.labels.used().contains_key(id),
                });
            }
        }
        for id in before.shadowed().keys() {
            let is_revealed = self.names.shadowed_by(id).is_none();
            let definition = self.ledger.get(id).filter(|_| is_revealed);
            let output = definition.cloned().map(NetworksOutput::Revealed);
            self.outputs.extend(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_told_with_the_name_that_is_meant() {
        let name = |text| NetworkName::parse(text).unwrap();
        let all = ["web", "frontend", "front-end", "db"].map(name);
        let names = all.map(|name| (name, NetworkId([7; 16]))).into();
        let said = |text: &str| match resolve(text, &names, [].into_iter()) {
            Err(UnknownNetwork::Mistyped { meant, .. }) => meant.to_string(),
            Err(other) => other.to_string(),
            Ok(id) => id.to_string(),
        };
        for (typed, meant) in [("wbe", "web"), ("Web", "web"), ("frontedn", "frontend")] {
            assert_eq!(said(typed), meant);
        }
        for far in ["x", "bd", "nope", "back", "", &"web".repeat(100)] {
            assert!(said(far).starts_with("there is no network"), "{far}");
        }
        assert_eq!(said("web"), NetworkId([7; 16]).to_string());
        let error = resolve("w\neb", &names, [].into_iter()).unwrap_err();
        let says = "there is no network 'w\\neb'; is 'web' meant? `mesh network ls` lists all";
        assert_eq!(error.to_string(), says);
    }
}
