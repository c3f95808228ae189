//! Tags: the names of spaces on the wire.
//!
//! | subnet | `id` | `numbers` |
//! |---|---|---|
//! | IPv4 | the network's id | the subnet |
//! | IPv6 | the first 16 bytes of SHA-256 over `mesh space v6`, the network's id, the subnet's address (16 bytes), its prefix length (1 byte) | `0.0.0.0/n` with the numbers of its leased part ([`crate::slices::numbers`]) |
//!
//! So routers that know nothing of IPv6 read all records and messages, and take no part in what they do not know.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::SpaceId;
use crate::slices::Slicing;
use crate::slices::numbers::numbered;
use mesh_proto::network::NetworkId;

/// The tag of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpaceTag {
    /// The id of the network, or a hash of it and an IPv6 subnet.
    pub id: NetworkId,
    /// The numbers of the addresses.
    pub numbers: Ipv4Net,
}

impl SpaceTag {
    /// Returns the tag of a space.
    pub fn of(space: &SpaceId) -> Self {
        let id = match space.subnet {
            IpNet::V4(_) => space.network,
            IpNet::V6(subnet) => {
                let hash = Sha256::new()
                    .chain_update(b"mesh space v6")
                    .chain_update(space.network.0)
                    .chain_update(subnet.network().octets())
                    .chain_update([subnet.prefix_len()])
                    .finalize();
                let mut id = [0; 16];
                id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
                NetworkId(id)
            }
        };
        let numbers = numbered(space.subnet);
        Self { id, numbers }
    }

    /// Returns whether there can be such a space.
    pub(super) fn is_sound(&self) -> bool {
        !self.id.is_default() && Slicing::of_subnet(self.numbers.into()).is_ok()
    }
}

/// The spaces of IPv6 that are known here, by their tags.
#[derive(Debug, Default)]
pub(super) struct SpaceTags {
    ipv6: BTreeMap<SpaceTag, SpaceId>,
}

impl SpaceTags {
    /// Notes a space.
    pub(super) fn note(&mut self, space: SpaceId) {
        if matches!(space.subnet, IpNet::V6(_)) {
            self.ipv6.insert(SpaceTag::of(&space), space);
        }
    }

    /// Forgets the spaces of a network.
    pub(super) fn forget(&mut self, network: &NetworkId) {
        self.ipv6.retain(|_, space| space.network != *network);
    }

    /// Returns the space of a tag; of one that is not known, an IPv4 space that nobody here takes part in.
    pub(super) fn space_of(&self, tag: &SpaceTag) -> SpaceId {
        let known = self.ipv6.get(tag).copied();
        known.unwrap_or(SpaceId {
            network: tag.id,
            subnet: tag.numbers.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lead_back_to_their_spaces() {
        let mut tags = SpaceTags::default();
        let network = NetworkId([7; 16]);
        let space = |subnet: &str| SpaceId {
            network,
            subnet: subnet.parse().unwrap(),
        };
        let all = ["10.1.0.0/24", "fd00::/64", "fd00::/112", "fd00:1::/64"].map(space);
        for space in all {
            let tag = SpaceTag::of(&space);
            assert!(tag.is_sound(), "{space:?}");
            let is_v4 = tags.space_of(&tag) == space;
            assert_eq!(is_v4, space.subnet == all[0].subnet, "{space:?}");
            tags.note(space);
            assert_eq!(tags.space_of(&tag), space);
        }
        tags.forget(&NetworkId([8; 16]));
        assert_eq!(tags.space_of(&SpaceTag::of(&all[1])), all[1]);
        tags.forget(&network);
        assert_ne!(tags.space_of(&SpaceTag::of(&all[1])), all[1]);
    }
}
