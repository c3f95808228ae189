//! Mistakes that tests plant, to see that their checks find them. None is planted outside tests.

use super::Ipam;

/// Mistakes that tests plant, to see that they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Effects do not wait for the journal.
    NoSync,
    /// A slice is used as soon as the map says so.
    NoAgreement,
    /// Addresses that others hold are not excluded.
    NoPins,
    /// What another claims too is not held back.
    NoContest,
    /// A slice is given away and kept.
    KeepGiven,
    /// A loan ends with any statement that does not list it.
    HastyUnlend,
    /// Each router without a map takes the whole range.
    EverybodyFounds,
    /// A lost slice goes on being used.
    NoConcession,
}

impl Ipam {
    pub(super) fn has_fault(&self, fault: Fault) -> bool {
        #[cfg(test)]
        return self.fault == Some(fault);
        #[cfg(not(test))]
        {
            let _ = fault;
            false
        }
    }
}
