//! Observations of a router, for checks and measures.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mesh_ipam::Ipam;
use mesh_proto::forward::Path;
use mesh_proto::ids::PeerId;
use mesh_proto::limits;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::topic::RecordKey;

use super::SimRouter;
use crate::sim::addresses::RouterAddresses;
use crate::sim::invariants::bounds::Fill;
use crate::sim::names::AnnouncedNames;

impl SimRouter {
    /// Returns its allocation state, as operators see it.
    pub(crate) fn ipam(&self) -> Option<&Ipam> {
        self.addresses.as_ref().map(RouterAddresses::state)
    }

    /// Returns its allocation state in a network besides `default`; none if it takes no part there.
    pub(crate) fn space(&self, network: NetworkId) -> Option<&Ipam> {
        self.addresses.as_ref()?.space(network)
    }

    /// Returns a record from its database.
    pub(crate) fn record(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.control.record(key)
    }

    /// Returns its view of names.
    pub(crate) fn names(&self) -> &AnnouncedNames {
        &self.names
    }

    /// Returns the longest datagram that its lanes send to `peer`, if the path is direct.
    pub(crate) fn datagram_to(&self, peer: &PeerId) -> Option<u16> {
        let peer = self.snapshot.peers.get(peer)?;
        matches!(peer.path, Path::Direct(_)).then_some(peer.datagram)
    }

    /// Returns the peers with next hop `hop`.
    pub(crate) fn routed_via(&self, hop: &PeerId) -> Vec<PeerId> {
        let mut peers = self.reachable();
        peers.retain(|peer| self.snapshot.path(*peer) == Path::Via(*hop));
        peers
    }

    /// True if frames for `peer` have a path whose next hop is not `hop`.
    pub(crate) fn avoids(&self, hop: &PeerId, peer: &PeerId) -> bool {
        match self.snapshot.path(*peer) {
            Path::Via(via) => via != *hop,
            Path::Direct(_) => true,
            Path::None => false,
        }
    }

    /// Returns the addresses that it knows to be held elsewhere.
    pub(crate) fn held(&self) -> BTreeSet<(NetworkId, IpAddr)> {
        self.held.addresses().collect()
    }

    /// Returns the digest that neighbours compare.
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.control.digest()
    }

    /// Returns the routers it has a route to, itself included.
    pub(crate) fn reachable(&self) -> Vec<PeerId> {
        self.control.reachable()
    }

    /// Returns its warnings to the operator.
    pub(crate) fn warnings(&self, now: Instant) -> Vec<String> {
        self.control.report(self.clock.local(now)).warnings
    }

    /// Returns the age of the oldest key it seals with.
    pub(crate) fn oldest_key(&self, now: Instant) -> Option<Duration> {
        let local = self.clock.local(now);
        let sessions = self.snapshot.peers.values().flat_map(|p| &p.transport);
        sessions.map(|t| local.since(t.established())).max()
    }

    /// Returns the number of records accepted from others.
    pub(crate) fn records_taken(&self) -> u64 {
        self.control.records_taken()
    }

    /// Returns the sizes of its tables with their bounds.
    pub(crate) fn tables(&self) -> Vec<Fill> {
        let (partials, bytes) = self.forwarder.partials();
        let partials = [
            ("partial datagrams", partials, limits::MAX_PARTIALS),
            (
                "bytes of partial datagrams",
                bytes,
                limits::MAX_PARTIAL_BYTES,
            ),
        ];
        let tables = self.control.tables().into_iter().chain(partials);
        tables
            .map(|(table, used, bound)| Fill { table, used, bound })
            .collect()
    }
}
