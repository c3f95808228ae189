//! The journal of all spaces besides `default`: their entries, each with its space, in one file with one sync.
//!
//! The first entry names the router. Every beginning of the journal is a state that there was, as with the journal of
//! `default`, because the entries of one space are in their order.

use std::collections::{BTreeMap, VecDeque};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::plan::SpaceId;
use crate::durable::JournalError;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_IPAM_BYTES;
use mesh_proto::network::NetworkId;
use mesh_proto::wire::bounded::Blob;
use mesh_proto::wire::codec;

/// Format of entries written by this version.
const FORMAT: u8 = 1;

/// One entry. `docs/PROTOCOL.md` lists the tags, which follow the order here.
#[derive(Serialize, Deserialize)]
enum SpaceEntry<'a> {
    /// The router that the journal is of.
    Header { me: PeerId },
    /// An entry of the journal of the space of an IPv4 subnet.
    Entry {
        space: Space4,
        #[serde(borrow)]
        entry: Blob<'a, MAX_IPAM_BYTES>,
    },
    /// The network was removed, and all before about it counts no more.
    Erased { network: NetworkId },
    /// An entry of the journal of the space of an IPv6 subnet.
    Entry6 {
        network: NetworkId,
        subnet: Ipv6Net,
        #[serde(borrow)]
        entry: Blob<'a, MAX_IPAM_BYTES>,
    },
}

/// The space of an IPv4 subnet.
#[derive(Serialize, Deserialize)]
struct Space4 {
    network: NetworkId,
    subnet: Ipv4Net,
}

impl<'a> SpaceEntry<'a> {
    fn of(space: SpaceId, entry: &'a [u8]) -> Self {
        let (network, entry) = (space.network, Blob(entry));
        match space.subnet {
            IpNet::V4(subnet) => Self::Entry {
                space: Space4 { network, subnet },
                entry,
            },
            IpNet::V6(subnet) => Self::Entry6 {
                network,
                subnet,
                entry,
            },
        }
    }
}

/// Entries on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct SpaceJournal {
    /// The number of the newest entry.
    recorded: u64,
    /// Entries that are not synced yet: their numbers here, and in the journals of their spaces.
    unsynced: VecDeque<(u64, SpaceId, u64)>,
    /// The first entry was recorded.
    is_begun: bool,
}

impl SpaceJournal {
    /// Begins after a journal that was read.
    pub(super) fn resumed() -> Self {
        Self {
            is_begun: true,
            ..Self::default()
        }
    }

    /// Returns the number of the newest entry.
    pub(super) fn position(&self) -> u64 {
        self.recorded
    }

    /// Records the entry of a space. Returns the entries to append, with their numbers.
    pub(super) fn record(
        &mut self,
        me: PeerId,
        space: SpaceId,
        position: u64,
        entry: &[u8],
    ) -> Vec<(u64, Vec<u8>)> {
        let appended = self.append(me, &SpaceEntry::of(space, entry));
        self.unsynced.push_back((self.recorded, space, position));
        appended
    }

    /// Records that a network was removed.
    pub(super) fn erase(&mut self, me: PeerId, network: NetworkId) -> Vec<(u64, Vec<u8>)> {
        self.append(me, &SpaceEntry::Erased { network })
    }

    fn append(&mut self, me: PeerId, entry: &SpaceEntry<'_>) -> Vec<(u64, Vec<u8>)> {
        let header = (!self.is_begun).then(|| framed(&SpaceEntry::Header { me }));
        self.is_begun = true;
        let entries = header.into_iter().chain([framed(entry)]);
        let numbered = entries.map(|entry| {
            self.recorded += 1;
            (self.recorded, entry)
        });
        numbered.collect()
    }

    /// Notes that all entries up to `position` are synced. Returns for each space up to which of its own entries.
    pub(super) fn synced(&mut self, position: u64) -> BTreeMap<SpaceId, u64> {
        let mut synced = BTreeMap::new();
        while let Some((number, space, own)) = self.unsynced.front().copied()
            && number <= position
        {
            synced.insert(space, own);
            self.unsynced.pop_front();
        }
        synced
    }
}

/// Returns a short journal that says the same as `snapshots` of all spaces.
pub(super) fn snapshot(
    me: PeerId,
    snapshots: impl Iterator<Item = (SpaceId, Vec<Vec<u8>>)>,
) -> Vec<Vec<u8>> {
    let mut entries = vec![framed(&SpaceEntry::Header { me })];
    for (space, snapshot) in snapshots {
        let snapshot = snapshot.iter();
        entries.extend(snapshot.map(|entry| framed(&SpaceEntry::of(space, entry))));
    }
    entries
}

/// Returns the entries of each space, in their order.
pub(super) fn replay<'a>(
    me: PeerId,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<BTreeMap<SpaceId, Vec<&'a [u8]>>, JournalError> {
    let mut spaces: BTreeMap<SpaceId, Vec<&[u8]>> = BTreeMap::new();
    for (index, bytes) in entries.into_iter().enumerate() {
        match (unframed(bytes, index)?, index) {
            (SpaceEntry::Header { me: theirs }, _) if theirs != me => {
                return Err(JournalError::Foreign(theirs));
            }
            (SpaceEntry::Header { .. }, 0) => {}
            (SpaceEntry::Header { .. }, _) | (_, 0) => return Err(JournalError::Malformed(index)),
            (SpaceEntry::Entry { space, entry }, _) => {
                let (network, subnet) = (space.network, space.subnet.into());
                let space = SpaceId { network, subnet };
                spaces.entry(space).or_default().push(entry.0);
            }
            (
                SpaceEntry::Entry6 {
                    network,
                    subnet,
                    entry,
                },
                _,
            ) => {
                let subnet = subnet.into();
                let space = SpaceId { network, subnet };
                spaces.entry(space).or_default().push(entry.0);
            }
            (SpaceEntry::Erased { network }, _) => spaces.retain(|s, _| s.network != network),
        }
    }
    Ok(spaces)
}

fn framed(entry: &SpaceEntry<'_>) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // None of our types fails to be encoded.
    let _ = codec::encode(entry, &mut out);
    out
}

fn unframed(bytes: &[u8], index: usize) -> Result<SpaceEntry<'_>, JournalError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => codec::decode(rest).map_err(|_| JournalError::Malformed(index)),
        Some((format, _)) => Err(JournalError::Format(*format)),
        None => Err(JournalError::Malformed(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: PeerId = PeerId([5; 16]);

    fn space(n: u8) -> SpaceId {
        let subnet = match n {
            1 => "10.1.0.0/24",
            _ => "fd00::/64",
        };
        SpaceId {
            network: NetworkId([n; 16]),
            subnet: subnet.parse().unwrap(),
        }
    }

    #[test]
    fn entries_come_back_by_space_and_removed_networks_do_not() {
        let mut journal = SpaceJournal::default();
        let mut all = journal.record(ME, space(1), 1, b"a");
        all.extend(journal.record(ME, space(2), 1, b"b"));
        all.extend(journal.record(ME, space(1), 2, b"c"));
        let numbers: Vec<u64> = all.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4], "the first names the router");
        let synced = journal.synced(3);
        assert_eq!(synced, BTreeMap::from([(space(1), 1), (space(2), 1)]));
        assert_eq!(journal.synced(9), BTreeMap::from([(space(1), 2)]));
        let bytes = |all: &[(u64, Vec<u8>)]| all.iter().map(|(_, e)| e.clone()).collect();
        let entries: Vec<Vec<u8>> = bytes(&all);
        let read = replay(ME, entries.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(read[&space(1)], [b"a", b"c"]);
        let short = snapshot(
            ME,
            read.iter().map(|(id, entries)| {
                let entries = entries.iter().map(|e| e.to_vec());
                (*id, entries.collect())
            }),
        );
        let again = replay(ME, short.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(again, read);
        all.extend(journal.erase(ME, space(1).network));
        let entries: Vec<Vec<u8>> = bytes(&all);
        let read = replay(ME, entries.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(read.into_keys().collect::<Vec<_>>(), [space(2)]);
    }

    #[test]
    fn a_journal_of_another_router_or_without_its_beginning_is_refused() {
        let mut journal = SpaceJournal::default();
        let entries = journal.record(ME, space(1), 1, b"a");
        let all = entries.iter().map(|(_, entry)| entry.as_slice());
        let other = replay(PeerId([9; 16]), all.clone());
        assert_eq!(other, Err(JournalError::Foreign(ME)));
        assert_eq!(replay(ME, all.skip(1)), Err(JournalError::Malformed(0)));
        assert_eq!(replay(ME, [&[2, 0][..]]), Err(JournalError::Format(2)));
        for length in 0..entries[1].1.len() {
            let cut = [&entries[0].1[..], &entries[1].1[..length]];
            assert!(replay(ME, cut).is_err(), "cut at {length}");
        }
    }
}
