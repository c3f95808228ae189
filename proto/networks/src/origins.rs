//! Statements of the other routers: who states, removes and uses which networks, and who is within reach.

use core::num::NonZeroU16;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_PEERS;
use mesh_proto::network::NetworkId;

use super::statement::NetworksStatement;

/// Routers by network.
type Mentions = BTreeMap<NetworkId, BTreeSet<PeerId>>;

/// A router's membership in a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) label: NonZeroU16,
    /// True if it has no container in it any more.
    pub(crate) is_idle: bool,
}

/// All statements, at most those of [`MAX_PEERS`] routers.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Networks that each router states, removes or uses.
    mentioned: BTreeMap<PeerId, BTreeSet<NetworkId>>,
    stated: Mentions,
    removed: Mentions,
    members: BTreeMap<NetworkId, BTreeMap<PeerId, Membership>>,
    reachable: BTreeSet<PeerId>,
    /// Routers of which definitions were refused for lack of room.
    refused: BTreeSet<PeerId>,
}

impl Origins {
    /// Replaces what a router states. Returns the networks whose members are others than before; `None` if there are too
    /// many routers.
    pub(crate) fn replace(
        &mut self,
        origin: PeerId,
        statement: &NetworksStatement,
    ) -> Option<BTreeSet<NetworkId>> {
        let is_full = self.mentioned.len() >= MAX_PEERS;
        if is_full && !self.mentioned.contains_key(&origin) {
            return None;
        }
        let before = self.forget(&origin);
        let mut mentioned = BTreeSet::new();
        for definition in &statement.definitions {
            let by = self.stated.entry(definition.id).or_default();
            by.insert(origin);
            mentioned.insert(definition.id);
        }
        for removal in &statement.removals {
            let by = self.removed.entry(removal.network).or_default();
            by.insert(origin);
            mentioned.insert(removal.network);
        }
        let mut changed = before;
        for membership in &statement.memberships {
            let network = membership.network;
            let members = self.members.entry(network).or_default();
            let (label, is_idle) = (membership.label, membership.is_idle);
            members.insert(origin, Membership { label, is_idle });
            mentioned.insert(network);
            let same = (network, membership.label);
            if !changed.remove(&same) {
                changed.insert(same);
            }
        }
        self.mentioned.insert(origin, mentioned);
        Some(changed.into_iter().map(|(network, _)| network).collect())
    }

    /// Removes a router's statement. Returns its memberships.
    pub(crate) fn forget(&mut self, origin: &PeerId) -> BTreeSet<(NetworkId, NonZeroU16)> {
        let mut used = BTreeSet::new();
        for id in self.mentioned.remove(origin).unwrap_or_default() {
            drop_origin(&mut self.stated, &id, origin);
            drop_origin(&mut self.removed, &id, origin);
            if let Some(members) = self.members.get_mut(&id) {
                used.extend(members.remove(origin).map(|member| (id, member.label)));
                if members.is_empty() {
                    self.members.remove(&id);
                }
            }
        }
        self.refused.remove(origin);
        used
    }

    /// Sets the reachability of a router, which is none at first. Returns the networks of which it is a member, if it
    /// changed.
    pub(crate) fn set_reachable(
        &mut self,
        origin: PeerId,
        is_reachable: bool,
    ) -> Option<Vec<NetworkId>> {
        let changed = match is_reachable {
            true => self.reachable.len() < MAX_PEERS && self.reachable.insert(origin),
            false => self.reachable.remove(&origin),
        };
        if !changed {
            return None;
        }
        let mentioned = self.mentioned.get(&origin).into_iter().flatten();
        let used = mentioned.filter(|id| self.is_member(id, &origin));
        Some(used.copied().collect())
    }

    /// Takes note that definitions of a router were refused for lack of room.
    pub(crate) fn note_refused(&mut self, origin: PeerId) {
        self.refused.insert(origin);
    }

    /// Returns those routers, whose statements are to be read again, once.
    pub(crate) fn take_refused(&mut self) -> BTreeSet<PeerId> {
        core::mem::take(&mut self.refused)
    }

    /// Returns the number of those routers.
    pub(crate) fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Returns the routers that state a network.
    pub(crate) fn stating(&self, id: &NetworkId) -> impl Iterator<Item = &PeerId> {
        self.stated.get(id).into_iter().flatten()
    }

    /// Returns the routers within reach that state a network.
    pub(crate) fn stating_here(&self, id: &NetworkId) -> impl Iterator<Item = &PeerId> {
        self.stating(id).filter(|peer| self.is_reachable(peer))
    }

    /// Returns the routers within reach that state the removal of a network.
    pub(crate) fn removing_here(&self, id: &NetworkId) -> impl Iterator<Item = &PeerId> {
        let removing = self.removed.get(id).into_iter().flatten();
        removing.filter(|peer| self.is_reachable(peer))
    }

    /// Returns true if any known router states a network, within reach or not.
    pub(crate) fn is_stated(&self, id: &NetworkId) -> bool {
        self.stated.contains_key(id)
    }

    /// Returns the known members of a network.
    pub(crate) fn members(&self, id: &NetworkId) -> impl Iterator<Item = (&PeerId, &Membership)> {
        self.members.get(id).into_iter().flatten()
    }

    /// Returns the routers within reach with containers in a network, by id.
    pub(crate) fn members_here(&self, id: &NetworkId) -> Vec<PeerId> {
        let members = self.members(id).map(|(peer, _)| *peer);
        members.filter(|peer| self.is_reachable(peer)).collect()
    }

    pub(crate) fn is_member(&self, id: &NetworkId, origin: &PeerId) -> bool {
        let members = self.members.get(id);
        members.is_some_and(|members| members.contains_key(origin))
    }

    pub(crate) fn is_reachable(&self, origin: &PeerId) -> bool {
        self.reachable.contains(origin)
    }

    /// Returns the number of routers within reach with a lower id.
    pub(crate) fn below(&self, me: &PeerId, most: u32) -> u32 {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let below = self.reachable.range(..*me).take(most).count();
        u32::try_from(below).unwrap_or(u32::MAX)
    }
}

fn drop_origin(mentions: &mut Mentions, id: &NetworkId, origin: &PeerId) {
    if let Some(by) = mentions.get_mut(id) {
        by.remove(origin);
        if by.is_empty() {
            mentions.remove(id);
        }
    }
}
