//! Addresses that Docker gave up while no router answered. The router still holds their leases, so a container that starts
//! again can have one of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_proto::limits::MAX_ATTACHED;

/// Released addresses by pool, each pool's in the order of their release; at most [`MAX_ATTACHED`] of a pool, and of pools.
#[derive(Debug, Default)]
pub struct ReleasedAddresses(BTreeMap<String, Vec<IpAddr>>);

impl ReleasedAddresses {
    /// Notes an address. One that has no room is not given again.
    pub fn note(&mut self, pool: &str, address: IpAddr) {
        if self.0.len() >= MAX_ATTACHED && !self.0.contains_key(pool) {
            return;
        }
        let released = self.0.entry(pool.to_owned()).or_default();
        released.retain(|other| *other != address);
        if released.len() < MAX_ATTACHED {
            released.push(address);
        }
    }

    /// Takes an address of a pool that `is_held` accepts, the one that was released last: Docker starts a container again
    /// right after it has stopped.
    pub fn take_last(&mut self, pool: &str, is_held: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let released = self.0.get_mut(pool)?;
        released.retain(|address| is_held(*address));
        released.pop()
    }

    /// Takes an address of a pool, if it is there.
    pub fn take(&mut self, pool: &str, address: IpAddr) {
        if let Some(released) = self.0.get_mut(pool) {
            released.retain(|other| *other != address);
        }
    }

    /// Forgets all: a router answers, and gives addresses itself.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        [10, 40, 0, n].into()
    }

    #[test]
    fn the_last_address_is_given_first_and_once() {
        let mut released = ReleasedAddresses::default();
        for n in [1, 2, 3, 1] {
            released.note("p", ip(n));
        }
        assert_eq!(released.take_last("other", |_| true), None);
        assert_eq!(released.take_last("p", |_| true), Some(ip(1)));
        released.take("p", ip(3));
        assert_eq!(released.take_last("p", |_| true), Some(ip(2)));
        assert_eq!(released.take_last("p", |_| true), None);
        released.note("p", ip(4));
        assert_eq!(released.take_last("p", |address| address != ip(4)), None);
        released.note("p", ip(5));
        released.clear();
        assert_eq!(released.take_last("p", |_| true), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut released = ReleasedAddresses::default();
        for n in 0..=u32::try_from(MAX_ATTACHED).unwrap() {
            released.note("p", IpAddr::V4(n.into()));
            released.note(&n.to_string(), ip(1));
        }
        assert_eq!(released.0.len(), MAX_ATTACHED);
        assert_eq!(released.0["p"].len(), MAX_ATTACHED);
    }
}
