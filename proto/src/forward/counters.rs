//! Counters of the data plane. All are relaxed atomics and only ever grow.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares an enum of counters with the names that the status report uses.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All variants, in order of declaration.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// Returns the name used in the status report.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    };
}

counters! {
    /// Reason why a frame or a datagram was dropped.
    DropReason {
        /// Frames lost because the queue of the local port was full.
        PortQueue = "port_queue",
        /// A frame shorter than an Ethernet header.
        Runt = "runt_frame",
        /// A frame longer than the mesh's MTU allows.
        TooBig = "frame_too_big",
        /// A frame from another router that exceeds the MTU here: the two routers have different MTUs.
        OverMtu = "frame_over_mtu",
        /// A frame that exceeds the path MTU and must not be fragmented; its sender gets an ICMP error.
        PathMtu = "path_mtu",
        /// A frame with invalid offload metadata (segmentation, checksum).
        Offload = "offload",
        /// A frame whose source is a group address.
        GroupSource = "group_source",
        /// A frame to a link-local group that bridges must not forward (STP, LLDP, pause; IEEE 802.1D).
        LinkLocal = "link_local_group",
        /// Underlay traffic between routers of this mesh that would have been carried by the mesh itself.
        Underlay = "underlay",
        /// An ARP request or neighbour solicitation for a remote container, above the rate limit of the port.
        QuestionLimited = "question_limited",
        /// A broadcast above the rate limit of the port or of one interface behind it.
        BroadcastLimited = "broadcast_limited",
        /// A multicast above the rate limit of the port or of one interface behind it.
        MulticastLimited = "multicast_limited",
        /// A frame to an unknown MAC, above the rate limit of the port.
        UnknownLimited = "unknown_limited",
        /// A frame for a peer without a session, when the queue of waiting frames was full.
        PendingFull = "pending_full",
        /// A frame that waited too long for a session.
        PendingExpired = "pending_expired",
        /// No path to the destination.
        NoRoute = "no_route",
        /// No session with the neighbour that is the next hop.
        NoSession = "no_session",
        /// A malformed datagram or body.
        Malformed = "malformed",
        /// A datagram with an unknown session index.
        UnknownIndex = "unknown_index",
        /// A datagram that failed authentication.
        Forged = "forged",
        /// A datagram that was received before, or that is older than the replay window.
        Replayed = "replayed",
        /// A datagram of a session whose keys expired or reached their limits.
        DeadKey = "dead_key",
        /// A relayed datagram or a broadcast whose hop limit is used up.
        HopLimit = "hop_limit",
        /// A relayed datagram whose next hop is the router it came from.
        RelayBack = "relay_back",
        /// A datagram that was already relayed once.
        RelayDuplicate = "relay_duplicate",
        /// A datagram whose fragments did not all arrive in time.
        FragmentLost = "fragment_lost",
        /// A duplicate fragment, or one that contradicts the others of its datagram.
        FragmentRefused = "fragment_refused",
        /// A duplicate broadcast; normal while the topology settles.
        FloodDuplicate = "flood_duplicate",
        /// A broadcast of this router that came back.
        FloodOwn = "flood_own",
        /// A frame of the local port of a network that has no members here any more.
        UnknownNetwork = "unknown_network",
        /// A datagram with a label that this router has not assigned.
        UnknownLabel = "unknown_label",
        /// Frames of a network to or from a router that announces no members there.
        NotMember = "not_a_member",
        /// A broadcast of a network whose key is not known here.
        NoNetworkKey = "no_network_key",
        /// A broadcast that was not sealed with the key of its network.
        NetworkForged = "network_forged",
    }
}

counters! {
    /// Events that are no drops.
    Counter {
        /// Frames taken from the local port.
        FramesIn = "frames_in",
        /// Frames handed to the local port.
        FramesOut = "frames_out",
        /// Frames from the local port to an address behind the same port; the bridge delivers them.
        FramesLocal = "frames_local",
        /// Frames of the local port that were flooded to all routers.
        FramesFlooded = "frames_flooded",
        /// ARP requests sent only to the container announced for the address, instead of flooded.
        ArpDirected = "arp_directed",
        /// IPv6 neighbour solicitations sent only to the container announced for the address.
        NdDirected = "nd_directed",
        /// Frames to a MAC that is announced but not in the MAC table, sent to the announcing router instead of
        /// flooded.
        FramesLocated = "frames_located",
        /// Frames that waited for a session and were then sent.
        FramesPended = "frames_pended",
        /// Data datagrams sent; each has frames for one peer.
        DataSent = "data_sent",
        /// Frames fragmented for a narrow path (IPv4).
        FramesFragmented = "frames_fragmented",
        /// ICMP errors sent because a packet exceeded the path MTU.
        TooBigSent = "too_big_sent",
        /// Datagrams sent in fragments over a narrow path.
        DatagramsCut = "datagrams_cut",
        /// Datagrams reassembled from fragments.
        DatagramsReassembled = "datagrams_reassembled",
        /// Datagrams relayed for other routers.
        Relayed = "relayed",
        /// Broadcast datagrams passed on, each copy counted.
        FloodPassed = "flood_passed",
        /// MAC addresses learnt.
        FdbLearnt = "fdb_learnt",
        /// MAC addresses that moved to another owner.
        FdbMoved = "fdb_moved",
        /// Moves that were ignored because the MAC address moves too often.
        FdbDamped = "fdb_damped",
        /// MAC addresses that replaced an older entry because the table was full.
        FdbReplaced = "fdb_replaced",
    }
}

/// Counters of the data plane of one router.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    counts: [AtomicU64; Counter::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [const { AtomicU64::new(0) }; DropReason::ALL.len()],
            counts: [const { AtomicU64::new(0) }; Counter::ALL.len()],
        }
    }
}

impl Counters {
    pub(super) fn drop(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    pub(super) fn drop_many(&self, reason: DropReason, n: u64) {
        self.drops[reason as usize].fetch_add(n, Relaxed);
    }

    pub(super) fn count(&self, counter: Counter) {
        self.count_many(counter, 1);
    }

    pub(super) fn count_many(&self, counter: Counter, n: u64) {
        self.counts[counter as usize].fetch_add(n, Relaxed);
    }

    /// Returns the number of drops for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Relaxed)
    }

    /// Returns the value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Relaxed)
    }

    /// Returns all reasons that occurred, by name, with the number of drops.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = DropReason::ALL.iter().map(|r| (r.name(), self.dropped(*r)));
        all.filter(|(_, n)| *n > 0)
    }

    /// Returns all counters by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Counter::ALL.iter().map(|c| (c.name(), self.get(*c)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_counter_is_separate_and_has_its_own_name() {
        let counters = Counters::default();
        for (n, reason) in (1..).zip(DropReason::ALL) {
            counters.drop_many(*reason, n);
        }
        counters.count_many(Counter::FdbReplaced, 7);
        for (n, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(counters.dropped(*reason), n);
        }
        let names: BTreeSet<_> = counters.drops().map(|(name, _)| name).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        assert_eq!(
            counters
                .counts()
                .filter(|(_, n)| *n > 0)
                .collect::<Vec<_>>(),
            [("fdb_replaced", 7)]
        );
    }

    #[test]
    fn reasons_that_did_not_occur_are_left_out() {
        let counters = Counters::default();
        counters.drop(DropReason::Runt);
        assert_eq!(counters.drops().collect::<Vec<_>>(), [("runt_frame", 1)]);
    }
}
