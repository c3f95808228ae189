//! Addresses that were acquired for the arguments of one command.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

/// Addresses for arguments.
#[derive(Debug, Default)]
pub(crate) struct AcquiredAddresses {
    /// All of them, in order.
    pub(crate) addresses: Vec<IpNet>,
    /// Those that the owner did not have before.
    pub(crate) fresh: Vec<IpNet>,
    /// IPv4 addresses with the IPv6 address that was acquired with them, for one interface.
    pub(crate) pairs: BTreeMap<IpNet, IpNet>,
}

impl AcquiredAddresses {
    /// Adds the addresses for one argument.
    pub(super) fn add(&mut self, of_one: &[IpNet]) {
        if let [first @ IpNet::V4(_), second @ IpNet::V6(_)] = of_one {
            self.pairs.insert(*first, *second);
        }
        for address in of_one {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
    }

    /// Returns the addresses that have an interface of their own.
    pub(crate) fn firsts(&self) -> Vec<IpNet> {
        let seconds: BTreeSet<&IpNet> = self.pairs.values().collect();
        let firsts = self
            .addresses
            .iter()
            .filter(|address| !seconds.contains(address));
        firsts.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_argument_share_an_interface() {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mut acquired = AcquiredAddresses::default();
        acquired.add(&nets(&["10.32.0.1/12", "fd00::a20:1/64"]));
        acquired.add(&nets(&["10.2.1.1/24"]));
        acquired.add(&nets(&["fd00::5/64"]));
        acquired.add(&nets(&["10.2.1.1/24"]));
        assert_eq!(acquired.addresses.len(), 4);
        assert_eq!(
            acquired.firsts(),
            nets(&["10.32.0.1/12", "10.2.1.1/24", "fd00::5/64"])
        );
        let first = nets(&["10.32.0.1/12"])[0];
        assert_eq!(
            acquired.pairs.get(&first),
            nets(&["fd00::a20:1/64"]).first()
        );
    }
}
