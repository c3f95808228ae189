//! Broadcast domain of one network: everything that the data plane learns and keeps of it.
//!
//! Each network has its own, so that equal MAC and IP addresses in several networks do not meet, and a storm in one of
//! them takes neither room nor rate from another. That of the network `default` has the bounds of a mesh without other
//! networks. The others have lower bounds each; beyond a part that each has in any case, they share room and rates.

mod bridge;
mod group_limits;
mod pending;
mod port_limits;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(super) use self::bridge::BridgeTables;
pub use self::group_limits::{GroupLimits, PortLosses};
pub(super) use self::pending::PendingFrames;
pub(super) use self::port_limits::PortLimits;
use self::port_limits::SharedRates;
use super::{Counters, DropReason, lock};
use crate::arp_proxy::{ArpProxy, ArpProxyLimits};
use crate::entropy::Entropy;
use crate::fdb::{Fdb, FdbLimits, Owner};
use crate::ids::{Mac, PeerId};
use crate::limits::{
    MAX_NETWORK_CLAIMS, MAX_NETWORK_DOUBTED, MAX_NETWORK_FDB, MAX_NETWORK_FDB_PER_OWNER,
    MAX_NETWORK_PENDING_BYTES, MAX_NETWORK_UNANSWERED, MAX_PENDING_BYTES, SHARED_NETWORK_CLAIMS,
    SHARED_NETWORK_FDB, SURE_NETWORK_CLAIMS, SURE_NETWORK_FDB,
};
use crate::network::NetworkId;
use crate::shared_room::{RoomShare, SharedRoom};
use crate::time::Instant;
use crate::wire::datagram::InnerFrame;

/// Broadcast domain of one network (RFC 7432), shared by all lanes and by the control plane. Each part locks its own
/// state.
#[derive(Debug)]
pub struct BroadcastDomain {
    network: NetworkId,
    tables: BridgeTables,
    limits: PortLimits,
    pending: Mutex<PendingFrames>,
}

/// Room and rates that all networks other than `default` share.
#[derive(Debug)]
pub(super) struct DomainShares {
    fdb: Arc<SharedRoom>,
    claims: Arc<SharedRoom>,
    rates: SharedRates,
    limits: GroupLimits,
}

impl DomainShares {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            fdb: SharedRoom::new(SHARED_NETWORK_FDB),
            claims: SharedRoom::new(SHARED_NETWORK_CLAIMS),
            rates: SharedRates::new(limits),
            limits,
        }
    }
}

impl BroadcastDomain {
    /// Creates the domain of the network `default`; `entropy` gives the hash key of the MAC table.
    pub(super) fn of_default(limits: GroupLimits, entropy: &mut dyn Entropy) -> Self {
        Self {
            network: NetworkId::DEFAULT,
            tables: BridgeTables::new(Fdb::new(entropy), ArpProxy::default()),
            limits: PortLimits::alone(limits),
            pending: Mutex::new(PendingFrames::new(MAX_PENDING_BYTES)),
        }
    }

    /// Creates the domain of another network.
    pub(super) fn of_network(
        network: NetworkId,
        shares: &DomainShares,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let macs = FdbLimits {
            total: MAX_NETWORK_FDB,
            per_owner: MAX_NETWORK_FDB_PER_OWNER,
        };
        let fdb = Fdb::sharing(entropy, macs, RoomShare::of(&shares.fdb, SURE_NETWORK_FDB));
        let claims = ArpProxyLimits {
            bindings: MAX_NETWORK_CLAIMS,
            doubted: MAX_NETWORK_DOUBTED,
            asked: MAX_NETWORK_UNANSWERED,
        };
        let share = RoomShare::of(&shares.claims, SURE_NETWORK_CLAIMS);
        Self {
            network,
            tables: BridgeTables::new(fdb, ArpProxy::sharing(claims, share)),
            limits: PortLimits::sharing(shares.limits, &shares.rates),
            pending: Mutex::new(PendingFrames::new(MAX_NETWORK_PENDING_BYTES)),
        }
    }

    /// Returns the network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// Returns the MAC table.
    pub fn fdb(&self) -> &Fdb {
        self.tables.fdb()
    }

    /// Returns the table of addresses that routers announce for their containers in this network.
    pub fn arp_proxy(&self) -> &ArpProxy {
        self.tables.arp_proxy()
    }

    /// Takes the MAC addresses that flapped since the last call, each with its last two owners.
    pub fn take_flapping(&self) -> BTreeMap<Mac, (Owner, Owner)> {
        self.tables.take_flapping()
    }

    pub(super) fn tables(&self) -> &BridgeTables {
        &self.tables
    }

    pub(super) fn limits(&self) -> &PortLimits {
        &self.limits
    }

    /// Returns the frames that wait for sessions.
    pub(super) fn pending(&self) -> &Mutex<PendingFrames> {
        &self.pending
    }

    /// Removes expired entries, and drops frames that waited too long.
    pub(super) fn sweep(&self, counters: &Counters, now: Instant) {
        self.tables.sweep(now);
        self.expire_pending(counters, now);
    }

    /// Drops frames that waited too long for a session.
    pub(super) fn expire_pending(&self, counters: &Counters, now: Instant) {
        let expired = lock(&self.pending).expire(now);
        counters.drop_many(DropReason::PendingExpired, expired);
    }

    /// Keeps a frame until there is a session with `peer`.
    pub(super) fn keep(
        &self,
        peer: PeerId,
        frame: InnerFrame<'_>,
        counters: &Counters,
        now: Instant,
    ) {
        self.expire_pending(counters, now);
        if !lock(&self.pending).push(peer, frame, now) {
            counters.drop(DropReason::PendingFull);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::limits::MAX_NETWORKS_HERE;

    #[test]
    fn an_idle_network_costs_less_than_two_kib() {
        // Empty tables have no memory of their own.
        assert!(size_of::<BroadcastDomain>() <= 2_048);
    }

    #[test]
    fn networks_share_room_for_addresses_and_each_has_some_in_any_case() {
        let shares = DomainShares::new(GroupLimits::default());
        let entropy = &mut SeededEntropy::new(1);
        let mut domain = |n: usize| {
            BroadcastDomain::of_network(NetworkId([u8::try_from(n).unwrap(); 16]), &shares, entropy)
        };
        let domains: Vec<_> = (1..=MAX_NETWORKS_HERE).map(&mut domain).collect();
        let learn = |domain: &BroadcastDomain, macs: usize| {
            for n in 0..macs {
                let [a, b] = u16::try_from(n).unwrap().to_be_bytes();
                let owner = Owner::Peer(PeerId([a; 16]));
                domain
                    .fdb()
                    .learn(Mac([2, 0, 0, 0, a, b]), owner, Instant::ZERO);
            }
            domain.fdb().len()
        };
        let sum: usize = domains[1..]
            .iter()
            .map(|d| learn(d, MAX_NETWORK_FDB + 9))
            .sum();
        assert_eq!(
            sum,
            (MAX_NETWORKS_HERE - 1) * SURE_NETWORK_FDB + SHARED_NETWORK_FDB
        );
        assert!(
            domains[1..]
                .iter()
                .all(|d| d.fdb().len() <= MAX_NETWORK_FDB)
        );
        assert_eq!(learn(&domains[0], 300), SURE_NETWORK_FDB);
        drop(domains);
        assert_eq!(learn(&domain(1), MAX_NETWORK_FDB + 9), MAX_NETWORK_FDB);
    }
}
