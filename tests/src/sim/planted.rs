//! Faults planted on purpose, to prove that the checkers can fail.

use super::network::HostId;

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
    /// A router's digest is read from a frozen database (I3).
    FrozenDigest,
    /// A router panics on a datagram shorter than a header (I12).
    PanicOnRunt,
    /// A table holds one more than its bound (I10).
    OverfullTable,
    /// A router changes a byte of frames it delivers (I5).
    ChangedFrame,
}

impl Planted {
    /// All of them, each with the invariants of which one must catch it.
    pub const ALL: [(Planted, &'static [&'static str]); 10] = [
        (Planted::CleartextCopy, &["I8"]),
        (Planted::CounterReuse, &["I9"]),
        (Planted::StaleSnapshot, &["I3", "I6"]),
        (Planted::DoubleDelivery, &["I5"]),
        (Planted::RelayTwice, &["I4"]),
        (Planted::BlackHole, &["I6"]),
        (Planted::FrozenDigest, &["I3"]),
        (Planted::PanicOnRunt, &["I12"]),
        (Planted::OverfullTable, &["I10"]),
        (Planted::ChangedFrame, &["I5"]),
    ];
}

/// The router that has the fault.
pub(crate) const VICTIM: HostId = 1;
