//! Addresses that Docker is not told of, or not of their subnets: the time at which they are set in its place.

use core::time::Duration;

/// Longest time for Docker from Join until the interface is in the container.
pub const FINISH_WAIT: Duration = Duration::from_secs(30);
/// Longest time for Docker from one interface of a container to the last.
const COVER_WAIT: Duration = Duration::from_secs(10);

/// The time at which the address of an interface that Docker plugged is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSetting {
    /// Never: Docker sets it.
    Never,
    /// Once another address of the container brings the route of the subnet.
    OnceCovered,
    /// Now, since no other address does so.
    Now,
}

impl AddressSetting {
    /// Returns the setting for an interface that Docker was to move `waited` ago.
    pub fn after(waited: Duration, is_deferred: bool) -> Self {
        match is_deferred {
            false => Self::Never,
            true if waited < COVER_WAIT => Self::OnceCovered,
            true => Self::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deferred_address_is_set_by_and_by() {
        let setting =
            |seconds, deferred| AddressSetting::after(Duration::from_secs(seconds), deferred);
        assert_eq!(setting(0, false), AddressSetting::Never);
        assert_eq!(setting(9, true), AddressSetting::OnceCovered);
        assert_eq!(setting(10, true), AddressSetting::Now);
    }
}
