//! Mistakes that tests plant, to see that their checks find them. None is planted outside tests.

/// A mistake that a test plants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Effects do not wait for the journal.
    NoSync,
    /// A slice is used as soon as the map says so.
    NoAgreement,
    /// Addresses that others lease are not excluded.
    NoPins,
    /// A slice that another router claims too is not held back.
    NoContest,
    /// A slice is granted and kept.
    KeepGranted,
    /// A lease of another router ends with any statement that does not list it.
    HastyRelease,
    /// Each router without a map takes the whole range.
    EverybodyBootstraps,
    /// A lost slice goes on being used.
    NoConcession,
}
