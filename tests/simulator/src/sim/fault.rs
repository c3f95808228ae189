//! Fault injection, to prove that the checkers can fail.

use std::str::FromStr;

use mesh_proto::forward::{Path, Snapshot};

use super::network::HostId;

/// An injected fault of one router, or of the instruments that observe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// A router also sends the frames of its containers in clear text (I8).
    CleartextCopy,
    /// A router reuses a counter for other bytes, like a cloned transport (I9).
    CounterReuse,
    /// A router's lanes ignore new snapshots after the disruptions (I3, I6).
    StaleSnapshot,
    /// A router injects a broadcast into its bridge twice (I5).
    DoubleDelivery,
    /// A router forwards a datagram twice (I4).
    RelayTwice,
    /// A router drops frames that it must relay or flood (I6).
    BlackHole,
    /// A router relays to a wrong neighbour (I6).
    Detour,
    /// A router computes its digest from a frozen database (I3).
    FrozenDigest,
    /// A router panics on a datagram shorter than a header (I12).
    PanicOnRunt,
    /// A table holds one more than its bound (I10).
    OverfullTable,
    /// A router modifies a byte of frames that it delivers (I5).
    ChangedFrame,
    /// A router forgets the broadcasts that it has seen (I4, I5).
    SkippedDedup,
    /// A router accepts records without a check of their signature (I3).
    SkippedSignature,
    /// A router ignores its timers: no heartbeat, no dead-peer detection, no redial (I3, I6).
    DeafTimer,
    /// A router loses the last byte of a long read (I3).
    ShortRead,
    /// A router never withdraws the announcement of a container (S5).
    ForgottenTombstone,
    /// A router drops session handshakes (I3, I6).
    DeafToHandshakes,
    /// A router confirms addresses before they are on its disk (I1, I13).
    GrantBeforeSync,
    /// A router with a map ignores the claims of other owners (I1, I2, I3, S6).
    DeafToClaims,
    /// A router does not announce its held addresses in other owners' space, so they are allocated again (I1).
    ForgottenPins,
    /// A router's disk loses synced bytes in a crash (I1, I13).
    LyingDisk,
    /// A router never frees the addresses of a container (S6).
    LeakedAddress,
    /// A router keeps announcing names of removed containers (D1).
    ForgottenName,
    /// A router answers names of unreachable routers (D2).
    ShownOutOfReach,
    /// A router lets old announcements of names replace newer ones (D1).
    OldNames,
    /// A router delivers broadcasts of a network to all its networks (I14).
    FloodedNetwork,
    /// A router ignores the label of relayed frames (I14).
    RelayedLabel,
    /// A router knows addresses of all networks in each of them (I6).
    BindingsOfAll,
    /// A router states names of all networks in `default` (D1).
    NamesOfAll,
    /// A router forgets the addresses in networks when it starts again (I1, I13).
    ForgottenSpaces,
}

impl InjectedFault {
    /// All faults, each with the invariants of which at least one must catch it.
    pub const ALL: [(InjectedFault, &'static [&'static str]); 30] = [
        (InjectedFault::CleartextCopy, &["I8"]),
        (InjectedFault::CounterReuse, &["I9"]),
        (InjectedFault::StaleSnapshot, &["I3", "I6"]),
        (InjectedFault::DoubleDelivery, &["I5"]),
        (InjectedFault::RelayTwice, &["I4"]),
        (InjectedFault::BlackHole, &["I6"]),
        (InjectedFault::Detour, &["I6"]),
        (InjectedFault::FrozenDigest, &["I3"]),
        (InjectedFault::PanicOnRunt, &["I12"]),
        (InjectedFault::OverfullTable, &["I10"]),
        (InjectedFault::ChangedFrame, &["I5"]),
        (InjectedFault::SkippedDedup, &["I4", "I5"]),
        (InjectedFault::SkippedSignature, &["I3"]),
        (InjectedFault::DeafTimer, &["I3", "I6"]),
        (InjectedFault::ShortRead, &["I3"]),
        (InjectedFault::ForgottenTombstone, &["S5"]),
        (InjectedFault::DeafToHandshakes, &["I3", "I6"]),
        (InjectedFault::GrantBeforeSync, &["I1", "I13"]),
        (InjectedFault::DeafToClaims, &["I1", "I2", "I3", "S6"]),
        (InjectedFault::ForgottenPins, &["I1"]),
        (InjectedFault::LyingDisk, &["I1", "I13"]),
        (InjectedFault::LeakedAddress, &["S6"]),
        (InjectedFault::ForgottenName, &["D1"]),
        (InjectedFault::ShownOutOfReach, &["D2"]),
        (InjectedFault::OldNames, &["D1"]),
        (InjectedFault::FloodedNetwork, &["I14"]),
        (InjectedFault::RelayedLabel, &["I14"]),
        (InjectedFault::BindingsOfAll, &["I6"]),
        (InjectedFault::NamesOfAll, &["D1"]),
        (InjectedFault::ForgottenSpaces, &["I1", "I13"]),
    ];

    /// True if the fault shows only where there are networks besides `default`.
    pub(crate) fn needs_networks(self) -> bool {
        matches!(
            self,
            InjectedFault::FloodedNetwork
                | InjectedFault::RelayedLabel
                | InjectedFault::BindingsOfAll
                | InjectedFault::NamesOfAll
                | InjectedFault::ForgottenSpaces
        )
    }
}

impl FromStr for InjectedFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter().map(|(fault, _)| fault);
        let found = all.find(|fault| format!("{fault:?}").eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("no injected fault '{text}'; there are {:?}", Self::ALL))
    }
}

/// Router with the fault.
pub(crate) const VICTIM: HostId = 1;

/// Returns the snapshot with wrong next hops for relayed destinations.
pub(crate) fn detours(view: &Snapshot) -> Snapshot {
    let mut wrong = view.clone();
    for peer in view.routes.reachable() {
        let Path::Via(right) = view.path(peer) else {
            continue;
        };
        let mut others = view.neighbours.iter().filter(|other| **other != right);
        if let Some(other) = others.next() {
            wrong.peers.entry(peer).or_default().path = Path::Via(*other);
        }
    }
    wrong
}
