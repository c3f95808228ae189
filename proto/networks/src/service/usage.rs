//! Memberships that follow the containers of this host: joined before a container starts or when the router starts
//! again, left when the last container is gone.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::limits::NETWORKS_TICK;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use crate::Networks;
use crate::refusal::JoinNetworkError;

/// Time from joining a network until its first container is there; a membership that is not used by then is left.
pub(crate) const JOIN_GRACE: Duration = Duration::from_secs(10);

/// Networks that are open on this host; `default` always is, and not in here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetworks {
    /// Those with containers, running or not.
    pub used: BTreeSet<NetworkId>,
    /// Those whose last container left a short time ago. They may be removed.
    pub idle: BTreeSet<NetworkId>,
}

/// Networks that containers of this host use.
#[derive(Debug, Default)]
pub(crate) struct NetworkUsage {
    /// Those with containers, and those that are idle.
    used: BTreeSet<NetworkId>,
    idle: BTreeSet<NetworkId>,
    /// Networks joined for a container that is not there yet, with the end of [`JOIN_GRACE`].
    expected: BTreeMap<NetworkId, Instant>,
    /// Used networks that cannot be joined, with the reason.
    refused: BTreeMap<NetworkId, JoinNetworkError>,
    retry: Option<Instant>,
}

impl NetworkUsage {
    /// Takes note that a container is about to start in a network.
    pub(crate) fn expect(&mut self, networks: &mut Networks, id: NetworkId, now: Instant) {
        self.expected.insert(id, now + JOIN_GRACE);
        self.idle.remove(&id);
        networks.set_idle(self.idle.clone(), now);
    }

    /// Replaces the networks that are open.
    pub(crate) fn set_open(&mut self, open: HostNetworks) {
        let HostNetworks { mut used, mut idle } = open;
        idle.retain(|id| !used.contains(id) && !self.expected.contains_key(id));
        used.extend(&idle);
        used.remove(&NetworkId::DEFAULT);
        (self.used, self.idle) = (used, idle);
    }

    /// Joins and leaves networks as their use demands.
    pub(crate) fn review(&mut self, networks: &mut Networks, now: Instant) {
        let used = &self.used;
        self.expected
            .retain(|id, until| *until > now && !used.contains(id));
        let members: BTreeSet<NetworkId> = networks.memberships().map(|(id, _)| id).collect();
        for id in &members {
            if !used.contains(id) && !self.expected.contains_key(id) {
                networks.leave(id, now);
            }
        }
        networks.set_idle(self.idle.clone(), now);
        self.refused.clear();
        for id in used.difference(&members) {
            // The containers of a network that was removed are being detached.
            if networks.ledger.gone().contains_key(id) {
                continue;
            }
            if let Err(error) = networks.join(*id, now) {
                self.refused.insert(*id, error);
            }
        }
        self.retry = (!self.refused.is_empty()).then(|| now + NETWORKS_TICK);
    }

    /// Returns the time at which [`NetworkUsage::review`] is to be called.
    pub(crate) fn next_deadline(&self) -> Instant {
        let ends = self.expected.values().copied().chain(self.retry);
        ends.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Returns the used networks that cannot be joined, with the reasons.
    pub(crate) fn refused(&self) -> &BTreeMap<NetworkId, JoinNetworkError> {
        &self.refused
    }
}
