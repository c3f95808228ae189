//! Content of the state file: all that a router knows of networks, and its labels.
//!
//! `01`, then entries, each as its length (u32, big-endian) and its encoding by [`mesh_proto::wire::codec`]. The file
//! around it has a checksum.

use core::num::NonZeroU16;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use mesh_proto::ids::PeerId;
use mesh_proto::limits::{MAX_NETWORKS, MAX_RESTING_LABELS, MAX_TOMBSTONES};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::codec;

use super::definition::{DefinitionError, NetworkDefinition};
use super::labels::LabelTable;
use super::ledger::NetworkLedger;
use super::statement::NetworkRemoval;

/// First byte; others are formats of later versions.
const FORMAT: u8 = 1;
/// Entries of a file, at most.
const MAX_ENTRIES: usize = MAX_NETWORKS + MAX_TOMBSTONES + MAX_RESTING_LABELS + 1;

/// Entry of the file.
#[derive(Debug, Serialize, Deserialize)]
enum StoredNetwork {
    /// Definition, and the router from which it was first heard.
    Known(PeerId, NetworkDefinition),
    /// Removal, and the router from which it was first heard.
    Removed(PeerId, NetworkRemoval),
    /// Label of a network, and seconds for which it has rested.
    Label(NetworkId, NonZeroU16, u64),
    /// Label that is tried next.
    NextLabel(NonZeroU16),
}

/// Reason why the content of a state file is refused; the owner of the file adds its path and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredNetworksError {
    /// Format of another version.
    #[error(
        "the stored networks are of format {0}, which is not known: use the version that wrote them"
    )]
    Format(u8),
    /// Damaged.
    #[error("the stored networks are damaged at byte {0}")]
    Damaged(usize),
    /// Bad definition.
    #[error("the stored network {0} is refused: {1}")]
    Definition(NetworkId, DefinitionError),
}

/// Encodes what is to be stored.
pub(crate) fn encode(ledger: &NetworkLedger, labels: &LabelTable, now: Instant) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let known = ledger.live().values();
    let known = known.map(|n| StoredNetwork::Known(n.sponsor, (*n.definition).clone()));
    let gone = ledger.gone().iter();
    let gone = gone.map(|(id, s)| StoredNetwork::Removed(s.sponsor, s.removal(*id, now)));
    let used = labels.stored(now);
    let used = used.map(|(id, label, rested)| StoredNetwork::Label(id, label, rested.as_secs()));
    let next = [StoredNetwork::NextLabel(labels.next())];
    for entry in known.chain(gone).chain(used).chain(next) {
        let mut body = Vec::new();
        // None of the types fails to be encoded, and none is longer than a statement.
        let _ = codec::encode(&entry, &mut body);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&body);
    }
    out
}

/// Restores what was stored into an empty ledger and table.
///
/// # Errors
/// [`StoredNetworksError`]; what was read before stays.
pub(crate) fn restore(
    bytes: &[u8],
    ledger: &mut NetworkLedger,
    labels: &mut LabelTable,
    now: Instant,
) -> Result<(), StoredNetworksError> {
    let mut rest = match bytes.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((format, _)) => return Err(StoredNetworksError::Format(*format)),
        None => return Err(StoredNetworksError::Damaged(0)),
    };
    let mut entries = 0;
    while !rest.is_empty() {
        let damaged = StoredNetworksError::Damaged(bytes.len() - rest.len());
        entries += 1;
        let entry;
        (entry, rest) = match split(rest) {
            Some(split) if entries <= MAX_ENTRIES => split,
            _ => return Err(damaged),
        };
        match entry {
            StoredNetwork::Known(sponsor, definition) => {
                let checked = definition.check();
                checked.map_err(|error| StoredNetworksError::Definition(definition.id, error))?;
                ledger.learn(&definition, sponsor);
            }
            StoredNetwork::Removed(sponsor, removal) => {
                ledger.bury(&removal, sponsor, now);
            }
            StoredNetwork::Label(id, label, rested) => {
                let rested = Duration::from_secs(rested);
                if !labels.restore(id, label, rested, now) {
                    return Err(damaged);
                }
            }
            StoredNetwork::NextLabel(label) => labels.set_next(label),
        }
    }
    Ok(())
}

fn split(bytes: &[u8]) -> Option<(StoredNetwork, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((codec::decode(body).ok()?, rest))
}
