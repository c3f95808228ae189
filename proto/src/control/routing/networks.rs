//! Networks of this router: what the lanes read of them, and what is known of the containers in each.
//!
//! The network `default` is there always. The others come and go with their members on this host
//! ([`RoutedNetworks::set`]). Of a network in which this host has no members nothing is kept but the records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::arp_proxy::{ArpProxy, Binding, Contest};
use crate::entropy::Entropy;
use crate::fdb::Owner;
use crate::forward::{
    BroadcastDomain, Forwarder, NetworkKeys, PeerLabel, SnapshotNetwork, SnapshotNetworks,
    SnapshotNetworksError,
};
use crate::ids::{Mac, PeerId};
use crate::limits::{MAX_MOBILE_MACS, MAX_NETWORK_MOBILE_MACS};
use crate::network::{NetworkId, NetworkLabel};
use crate::time::Instant;

use super::contests::Contests;
use super::mac_mobility::MacMobility;

/// Membership of this host in a network other than `default`.
#[derive(Clone, Debug)]
pub struct JoinedNetwork {
    /// The network.
    pub network: NetworkId,
    /// Label that this router announces for it; not 0. Within a boot epoch it never gets another meaning.
    pub label: NetworkLabel,
    /// The other routers that announce members in it: their labels, each with the boot epoch of the record that has it
    /// ([`crate::control::Announcement::version`]).
    pub peers: BTreeMap<PeerId, PeerLabel>,
    /// Keys of its broadcasts.
    pub keys: NetworkKeys,
}

/// The networks of this router.
#[derive(Debug)]
pub(super) struct RoutedNetworks {
    me: PeerId,
    by_id: BTreeMap<NetworkId, RoutedNetwork>,
    snapshot: Arc<SnapshotNetworks>,
    /// Reasons why memberships are left out at present.
    refused: Vec<SnapshotNetworksError>,
}

/// One network, with what is known of its containers.
#[derive(Debug)]
pub(super) struct RoutedNetwork {
    pub(super) id: NetworkId,
    /// `None` for the network `default`, of which every router is a member.
    membership: Option<Arc<SnapshotNetwork>>,
    pub(super) mobility: MacMobility,
    contests: Contests,
}

/// Difference of new memberships to those before.
#[derive(Debug, Default)]
pub(super) struct MembershipChange {
    /// Routers whose announcements concern other networks of this router than before.
    pub(super) routers: BTreeSet<PeerId>,
    /// Reasons why memberships are left out that did not hold before.
    pub(super) refused: Vec<SnapshotNetworksError>,
}

/// Outcome of the announcement of one router in one network.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    /// True if there was no room for its addresses.
    pub(super) is_full: bool,
    /// MACs that move too often, and the routers from which they came.
    pub(super) flapping: Vec<(Mac, PeerId)>,
}

impl RoutedNetworks {
    /// Creates the networks of a router that has just started: `default`.
    pub(super) fn new(me: PeerId) -> Self {
        let default = RoutedNetwork {
            id: NetworkId::DEFAULT,
            membership: None,
            mobility: MacMobility::new(MAX_MOBILE_MACS),
            contests: Contests::default(),
        };
        Self {
            me,
            by_id: BTreeMap::from([(NetworkId::DEFAULT, default)]),
            snapshot: Arc::default(),
            refused: Vec::new(),
        }
    }

    /// Replaces all memberships. Domains of networks that are left are removed, those of networks that are joined are
    /// new; one that cannot be published is left out.
    pub(super) fn set(
        &mut self,
        joined: Vec<JoinedNetwork>,
        forwarder: &Forwarder,
        entropy: &mut dyn Entropy,
    ) -> MembershipChange {
        let mut change = MembershipChange::default();
        let mut snapshot = SnapshotNetworks::default();
        let before = core::mem::take(&mut self.refused);
        let wanted: BTreeSet<NetworkId> = joined.iter().map(|one| one.network).collect();
        self.retain(|id| wanted.contains(&id), forwarder);
        for one in joined {
            let published = publish(one, self.me, &snapshot, forwarder, entropy);
            match published.and_then(|m| snapshot.add(m.clone()).map(|()| m)) {
                Ok(membership) => change.routers.extend(self.enter(membership)),
                Err(error) if self.refused.contains(&error) => {}
                Err(error) => self.refused.push(error),
            }
        }
        self.retain(|id| snapshot.get(id).is_some(), forwarder);
        self.snapshot = Arc::new(snapshot);
        let news = self.refused.iter().filter(|error| !before.contains(error));
        change.refused = news.copied().collect();
        change
    }

    /// Leaves all networks other than `default` for which `stays` is false.
    fn retain(&mut self, stays: impl Fn(NetworkId) -> bool, forwarder: &Forwarder) {
        self.by_id.retain(|id, _| {
            let stays = id.is_default() || stays(*id);
            if !stays {
                forwarder.leave(*id);
            }
            stays
        });
    }

    /// Takes a new or changed membership. Returns the routers that are members now and were not, and those that were and
    /// are not.
    fn enter(&mut self, membership: Arc<SnapshotNetwork>) -> BTreeSet<PeerId> {
        let id = membership.domain.network();
        let now: BTreeSet<PeerId> = membership.peers.keys().copied().collect();
        let Some(known) = self.by_id.get_mut(&id) else {
            let network = RoutedNetwork {
                id,
                membership: Some(membership),
                mobility: MacMobility::new(MAX_NETWORK_MOBILE_MACS),
                contests: Contests::default(),
            };
            self.by_id.insert(id, network);
            return now.into_iter().chain([self.me]).collect();
        };
        let before = known.membership.replace(membership.clone());
        let before = before.iter().flat_map(|m| m.peers.keys().copied());
        let before: BTreeSet<PeerId> = before.collect();
        for gone in before.difference(&now) {
            membership.domain.fdb().forget_owner(Owner::Peer(*gone));
        }
        now.symmetric_difference(&before).copied().collect()
    }

    /// Returns the memberships, as the lanes read them.
    pub(super) fn snapshot(&self) -> &Arc<SnapshotNetworks> {
        &self.snapshot
    }

    /// Returns one network; `None` if this router is no member.
    pub(super) fn get(&self, network: NetworkId) -> Option<&RoutedNetwork> {
        self.by_id.get(&network)
    }

    /// Returns one network; `None` if this router is no member.
    pub(super) fn get_mut(&mut self, network: NetworkId) -> Option<&mut RoutedNetwork> {
        self.by_id.get_mut(&network)
    }

    /// Returns the number of networks besides `default`.
    pub(super) fn others(&self) -> usize {
        self.by_id.len() - 1
    }

    /// Returns all networks, `default` first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RoutedNetwork> {
        self.by_id.values()
    }

    /// Returns all networks, `default` first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut RoutedNetwork> {
        self.by_id.values_mut()
    }
}

/// Returns a membership as the lanes read it, with the domain of its network.
fn publish(
    joined: JoinedNetwork,
    me: PeerId,
    others: &SnapshotNetworks,
    forwarder: &Forwarder,
    entropy: &mut dyn Entropy,
) -> Result<Arc<SnapshotNetwork>, SnapshotNetworksError> {
    let JoinedNetwork {
        network,
        label,
        mut peers,
        keys,
    } = joined;
    others.check(network, label)?;
    let domain = forwarder
        .join(network, entropy)
        .ok_or(SnapshotNetworksError::TooMany)?;
    peers.remove(&me);
    Ok(Arc::new(SnapshotNetwork {
        domain,
        label,
        peers,
        keys,
    }))
}

impl RoutedNetwork {
    /// Returns the tables that the lanes use.
    pub(super) fn domain<'a>(&'a self, forwarder: &'a Forwarder) -> &'a BroadcastDomain {
        tables(self.membership.as_deref(), forwarder)
    }

    /// Returns true if frames can be sent to `peer` in this network.
    pub(super) fn has_member(&self, peer: &PeerId) -> bool {
        let membership = self.membership.as_ref();
        membership.is_none_or(|membership| membership.peers.contains_key(peer))
    }

    /// Replaces the bindings of `peer`, and takes note of what came and went.
    pub(super) fn announce(
        &mut self,
        (peer, me): (PeerId, PeerId),
        bindings: Vec<Binding>,
        forwarder: &Forwarder,
        now: Instant,
    ) -> HandedOut {
        let owner = owner_of(peer, me);
        let arp_proxy = tables(self.membership.as_deref(), forwarder).arp_proxy();
        let old: BTreeMap<Mac, u32> = arp_proxy.announced_by(owner).collect();
        if old.is_empty() && bindings.is_empty() {
            return HandedOut::default();
        }
        let new: BTreeSet<Mac> = bindings.iter().map(|binding| binding.mac).collect();
        let came = new.iter().filter(|mac| !old.contains_key(mac));
        let before = |mac: &Mac| (*mac, live(arp_proxy, *mac, me).map(|(owner, _)| owner));
        let came: Vec<_> = came.map(before).collect();
        let is_full = !arp_proxy.set(owner, bindings, now);
        for (mac, moves) in old.iter().filter(|(mac, _)| !new.contains(mac)) {
            self.mobility.went(*mac, peer, *moves, now);
        }
        let mut flapping = Vec::new();
        for (mac, before) in came {
            if let Some(from) = self.mobility.came(mac, peer, before, now) {
                arp_proxy.doubt(mac, now);
                flapping.push((mac, from));
            }
        }
        HandedOut { is_full, flapping }
    }

    /// Settles contests by the rightful owners of addresses.
    pub(super) fn settle_contests(
        &mut self,
        forwarder: &Forwarder,
        rightful: impl Fn(IpAddr) -> Option<Owner>,
        now: Instant,
    ) {
        let arp_proxy = tables(self.membership.as_deref(), forwarder).arp_proxy();
        self.contests.settle(arp_proxy, rightful, now);
    }

    /// Returns the contests that have begun since the last call.
    pub(super) fn new_contests(&mut self, forwarder: &Forwarder, now: Instant) -> Vec<Contest> {
        let arp_proxy = tables(self.membership.as_deref(), forwarder).arp_proxy();
        self.contests.news(arp_proxy, now)
    }

    /// Returns the number of moves to announce when `me` attaches a MAC.
    pub(super) fn next_moves(&self, mac: Mac, me: PeerId, forwarder: &Forwarder) -> u32 {
        let live = live(self.domain(forwarder).arp_proxy(), mac, me);
        self.mobility.next(mac, me, live)
    }
}

/// Returns the tables of the network of a membership; without one, of the network `default`.
fn tables<'a>(
    membership: Option<&'a SnapshotNetwork>,
    forwarder: &'a Forwarder,
) -> &'a BroadcastDomain {
    membership.map_or(forwarder.default_domain(), |m| &m.domain)
}

/// Returns the router that announces a MAC now, with its number of moves.
fn live(arp_proxy: &ArpProxy, mac: Mac, me: PeerId) -> Option<(PeerId, u32)> {
    let (owner, moves) = arp_proxy.binding_of(mac)?;
    Some((peer_of(owner, me), moves))
}

/// Returns the owner that the tables of router `me` have for what is behind `peer`.
pub(super) fn owner_of(peer: PeerId, me: PeerId) -> Owner {
    match peer == me {
        true => Owner::Local,
        false => Owner::Peer(peer),
    }
}

/// Returns the router that the tables of router `me` mean by `owner`.
pub(super) fn peer_of(owner: Owner, me: PeerId) -> PeerId {
    match owner {
        Owner::Local => me,
        Owner::Peer(peer) => peer,
    }
}
