//! What the data plane counts. All counters are relaxed atomics and only ever grow.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares an enum of counters together with the names the report gives them.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name in the report.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    };
}

counters! {
    /// Why a frame or a datagram went no further.
    DropReason {
        /// A frame that the local port had no room for: more came than the router takes.
        PortQueue = "port_queue",
        /// A frame shorter than an Ethernet header.
        Runt = "runt_frame",
        /// A frame longer than the mesh carries.
        TooBig = "frame_too_big",
        /// A frame of another router longer than the mesh carries here: that router has another MTU.
        OverMtu = "frame_over_mtu",
        /// A frame longer than its path takes, that must not be fragmented; its sender is told.
        PathMtu = "path_mtu",
        /// A frame whose offloads (segmentation, checksum) do not fit what it is.
        Offload = "offload",
        /// A frame whose source is a group address.
        GroupSource = "group_source",
        /// A frame to a group that bridges must not forward (STP, LLDP, pause).
        LinkLocal = "link_local_group",
        /// A datagram or link between routers of this mesh that would have gone through the mesh itself.
        Underlay = "underlay",
        /// A question for an address of a container elsewhere (ARP, neighbour solicitation) beyond what the port may send of those.
        QuestionLimited = "question_limited",
        /// A broadcast beyond what the port, or one interface behind it, may send of those.
        BroadcastLimited = "broadcast_limited",
        /// A multicast beyond what the port, or one interface behind it, may send of those.
        MulticastLimited = "multicast_limited",
        /// A frame to an unknown MAC beyond what the port may send of those.
        UnknownLimited = "unknown_limited",
        /// A frame for a peer that has no session, and too many wait already.
        PendingFull = "pending_full",
        /// A frame that waited too long for a session.
        PendingExpired = "pending_expired",
        /// No path to the destination.
        NoRoute = "no_route",
        /// No session with the neighbour that a datagram is to go through.
        NoSession = "no_session",
        /// A datagram or a body that is not laid out as it should be.
        Malformed = "malformed",
        /// A datagram for a session we do not have.
        UnknownIndex = "unknown_index",
        /// A datagram that failed to authenticate.
        Forged = "forged",
        /// A datagram that was seen before, or is too old to tell.
        Replayed = "replayed",
        /// A datagram under a key that may not be used any more.
        DeadKey = "dead_key",
        /// A datagram to relay, or a broadcast to pass on, that took too many hops.
        HopLimit = "hop_limit",
        /// A datagram to relay whose way on leads back to where it came from.
        RelayBack = "relay_back",
        /// A datagram to relay that was relayed before.
        RelayDuplicate = "relay_duplicate",
        /// A datagram of which pieces did not come in time.
        FragmentLost = "fragment_lost",
        /// A piece of a datagram that came before, or that does not fit the others.
        FragmentRefused = "fragment_refused",
        /// A broadcast that came before by another way; normal while the topology settles.
        FloodDuplicate = "flood_duplicate",
        /// A broadcast of our own that came back.
        FloodOwn = "flood_own",
    }
}

counters! {
    /// What else is worth counting.
    Counter {
        /// Frames taken from the local port.
        FramesIn = "frames_in",
        /// Frames handed to the local port.
        FramesOut = "frames_out",
        /// Frames from the local port to an address behind the same port; the bridge delivers those itself.
        FramesLocal = "frames_local",
        /// Frames for everybody that were sent.
        FramesFlooded = "frames_flooded",
        /// ARP requests sent to the one container that is announced to have the address, instead of to everybody.
        ArpDirected = "arp_directed",
        /// Neighbour solicitations (IPv6) sent so.
        NdDirected = "nd_directed",
        /// Frames to a MAC that was not known but announced, sent to its router instead of everybody.
        FramesLocated = "frames_located",
        /// Frames that waited for a session and were sent.
        FramesPended = "frames_pended",
        /// Datagrams with frames for one peer that were sent.
        DataSent = "data_sent",
        /// Frames that were fragmented for a narrow path (IPv4).
        FramesFragmented = "frames_fragmented",
        /// Senders told that a packet is too big for its path (ICMP).
        TooBigSent = "too_big_sent",
        /// Datagrams sent in pieces, for a narrow path.
        DatagramsCut = "datagrams_cut",
        /// Datagrams put together from pieces.
        DatagramsReassembled = "datagrams_reassembled",
        /// Datagrams relayed for others.
        Relayed = "relayed",
        /// Broadcast datagrams that were passed on, each copy counted.
        FloodPassed = "flood_passed",
        /// Addresses learnt.
        FdbLearnt = "fdb_learnt",
        /// Addresses that moved to another owner.
        FdbMoved = "fdb_moved",
        /// Moves that were not followed because the address moves too often.
        FdbDamped = "fdb_damped",
        /// Addresses learnt in the place of an older one because the table was full.
        FdbReplaced = "fdb_replaced",
    }
}

/// The counters of a router's data plane.
#[derive(Debug, Default)]
pub struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    counts: [AtomicU64; Counter::ALL.len()],
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

    /// How often `reason` occurred.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Relaxed)
    }

    /// The value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Relaxed)
    }

    /// All reasons that occurred, by name, and how often.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = DropReason::ALL.iter().map(|r| (r.name(), self.dropped(*r)));
        all.filter(|(_, n)| *n > 0)
    }

    /// All counters, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Counter::ALL.iter().map(|c| (c.name(), self.get(*c)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_counts_for_itself_under_its_own_name() {
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
