//! Faults planted on purpose, to prove that the checkers can fail.

use std::str::FromStr;

use mesh_proto::forward::{Path, Snapshot};

use super::network::HostId;
use super::scenario::Scenario;

/// A fault of one router or of the instruments that watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A router sends the frames of its containers in clear beside the sealed ones (I8).
    CleartextCopy,
    /// A router uses a counter again for other bytes, as a cloned transport would (I9).
    CounterReuse,
    /// A router's lanes never read a new snapshot after trouble (I3, I6).
    StaleSnapshot,
    /// A router puts a broadcast on its bridge twice (I5).
    DoubleDelivery,
    /// A router's lane forwards what it has forwarded before (I4).
    RelayTwice,
    /// A router drops what it should relay or flood (I6).
    BlackHole,
    /// A router hands what is to be relayed to another neighbour than it should (I6).
    Detour,
    /// A router's digest is read from a frozen database (I3).
    FrozenDigest,
    /// A router panics on a datagram shorter than a header (I12).
    PanicOnRunt,
    /// A table holds one more than its bound (I10).
    OverfullTable,
    /// A router changes a byte of frames it delivers (I5).
    ChangedFrame,
    /// A router forgets which broadcasts it has seen (I4, I5).
    SkippedDedup,
    /// A router takes records without a look at their signature (I3).
    SkippedSignature,
    /// A router never does what is due by time: no heartbeat, no silence noticed, no dial repeated (I3, I6).
    DeafTimer,
    /// A router loses the last byte of a long read (I3).
    ShortRead,
    /// A router never takes back that a container is on its host (S5).
    ForgottenTombstone,
    /// A router throws handshakes of sessions away (I3, I6).
    DeafToHandshakes,
    /// A router gives addresses out before they are on its disk (I1, I13).
    GrantBeforeSync,
    /// A router that has a map does not hear who else owns space (I1, I2, I3, S6).
    DeafToClaims,
    /// A router does not say which addresses of others' space it holds, so they are lent again (I1).
    ForgottenPins,
    /// A router's disk loses synced bytes in a crash (I1, I13).
    LyingDisk,
    /// A router never frees what a container had (S6).
    LeakedAddress,
    /// A router goes on stating names of containers that are gone (D1).
    ForgottenName,
    /// A router shows names of routers that are out of reach (D2).
    ShownOutOfReach,
    /// A router lets old statements of names replace newer ones (D1).
    OldNames,
}

impl Planted {
    /// All of them, each with the invariants of which one must catch it.
    pub const ALL: [(Planted, &'static [&'static str]); 25] = [
        (Planted::CleartextCopy, &["I8"]),
        (Planted::CounterReuse, &["I9"]),
        (Planted::StaleSnapshot, &["I3", "I6"]),
        (Planted::DoubleDelivery, &["I5"]),
        (Planted::RelayTwice, &["I4"]),
        (Planted::BlackHole, &["I6"]),
        (Planted::Detour, &["I6"]),
        (Planted::FrozenDigest, &["I3"]),
        (Planted::PanicOnRunt, &["I12"]),
        (Planted::OverfullTable, &["I10"]),
        (Planted::ChangedFrame, &["I5"]),
        (Planted::SkippedDedup, &["I4", "I5"]),
        (Planted::SkippedSignature, &["I3"]),
        (Planted::DeafTimer, &["I3", "I6"]),
        (Planted::ShortRead, &["I3"]),
        (Planted::ForgottenTombstone, &["S5"]),
        (Planted::DeafToHandshakes, &["I3", "I6"]),
        (Planted::GrantBeforeSync, &["I1", "I13"]),
        (Planted::DeafToClaims, &["I1", "I2", "I3", "S6"]),
        (Planted::ForgottenPins, &["I1"]),
        (Planted::LyingDisk, &["I1", "I13"]),
        (Planted::LeakedAddress, &["S6"]),
        (Planted::ForgottenName, &["D1"]),
        (Planted::ShownOutOfReach, &["D2"]),
        (Planted::OldNames, &["D1"]),
    ];
}

impl Planted {
    /// The trouble in which the fault shows, where most seeds never come to it.
    pub(crate) fn scenario(self) -> Option<Scenario> {
        match self {
            Planted::PanicOnRunt => Some(Scenario::Garbage),
            Planted::SkippedSignature => Some(Scenario::Hostile),
            _ => None,
        }
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter().map(|(fault, _)| fault);
        let found = all.find(|fault| format!("{fault:?}").eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("no planted fault '{text}'; there are {:?}", Self::ALL))
    }
}

/// The router that has the fault.
pub(crate) const VICTIM: HostId = 1;

/// The same view, but what is to be relayed goes to another neighbour than it should.
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
