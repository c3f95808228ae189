//! Numbers of addresses: the state machine counts in 32 bits, and its statements, messages and journals have nothing else.
//!
//! | subnet | number of an address | in code and on the wire |
//! |---|---|---|
//! | IPv4 | the address itself | `10.40.0.9` |
//! | IPv6 | its distance from the first address of the subnet | `0.0.0.9` for `fd00::9` of `fd00::/64` |
//!
//! Only the addresses that are leased ([`leased_part`]) have numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::network::leased_part;

use super::Slicing;

/// Returns the numbers of the leased part of a subnet.
pub(crate) fn numbered(subnet: IpNet) -> Ipv4Net {
    match leased_part(subnet) {
        IpNet::V4(v4) => v4,
        IpNet::V6(v6) => Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, v6.prefix_len() - 96),
    }
}

impl Slicing {
    /// Returns the address that has a number.
    pub fn address(&self, number: Ipv4Addr) -> IpAddr {
        match self.subnet() {
            IpNet::V4(_) => IpAddr::V4(number),
            IpNet::V6(v6) => {
                let first = u128::from(v6.network());
                IpAddr::V6(Ipv6Addr::from(first | u128::from(u32::from(number))))
            }
        }
    }

    /// Returns the address that has a number, with the prefix length of its subnet for that of its numbers.
    pub fn with_prefix(&self, number: Ipv4Addr, numbers: u8) -> IpNet {
        let address = self.address(number);
        IpNet::new(address, self.prefix_of(numbers)).unwrap_or(address.into())
    }

    /// Returns the number of an address of the leased part.
    pub fn number(&self, address: IpAddr) -> Option<Ipv4Addr> {
        if !leased_part(self.subnet()).contains(&address) {
            return None;
        }
        Some(match (self.subnet(), address) {
            (IpNet::V6(v6), IpAddr::V6(address)) => {
                let distance = u128::from(address) - u128::from(v6.network());
                Ipv4Addr::from(u32::try_from(distance).ok()?)
            }
            (_, IpAddr::V4(v4)) => v4,
            (_, IpAddr::V6(_)) => return None,
        })
    }

    /// Returns the subnet that has these numbers.
    pub fn net_of(&self, numbers: Ipv4Net) -> IpNet {
        let prefix = self.prefix_of(numbers.prefix_len());
        IpNet::new(self.address(numbers.network()), prefix).unwrap_or(self.subnet())
    }

    /// Returns the numbers of a part of the leased part.
    pub fn numbers(&self, part: IpNet) -> Option<Ipv4Net> {
        let first = self.number(part.network())?;
        self.number(part.broadcast())?;
        let host_bits = part.max_prefix_len() - part.prefix_len();
        Ipv4Net::new(first, 32 - host_bits).ok()
    }

    /// Returns the prefix length that containers have with an address, for that of its numbers.
    fn prefix_of(&self, numbers: u8) -> u8 {
        match self.subnet() {
            IpNet::V4(_) => numbers,
            // The subnet is longer than its leased part.
            IpNet::V6(v6) if numbers == self.range().prefix_len() => v6.prefix_len(),
            IpNet::V6(_) => numbers + 96,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_of_an_ipv6_subnet_are_distances_from_its_beginning() {
        let slicing = Slicing::of_subnet(net("fd00:1:2:3::/64")).unwrap();
        assert_eq!(slicing.range().to_string(), "0.0.0.0/8");
        assert_eq!((slicing.count(), slicing.size()), (4_096, 4_096));
        for (address, number) in [
            ("fd00:1:2:3::", [0, 0, 0, 0]),
            ("fd00:1:2:3::9", [0, 0, 0, 9]),
            ("fd00:1:2:3::ff:ffff", [0, 255, 255, 255]),
        ] {
            assert_eq!(
                slicing.number(ip(address)),
                Some(number.into()),
                "{address}"
            );
            assert_eq!(slicing.address(number.into()), ip(address));
        }
        for beyond in ["fd00:1:2:3::100:0", "fd00:1:2:4::1", "10.0.0.1"] {
            assert_eq!(slicing.number(ip(beyond)), None, "{beyond}");
        }
        let part = net("fd00:1:2:3::1:0/112");
        let numbers = slicing.numbers(part).unwrap();
        assert_eq!(numbers.to_string(), "0.1.0.0/16");
        assert_eq!(slicing.net_of(numbers), part);
        assert_eq!(slicing.net_of(slicing.range()), slicing.subnet());
        for part in [
            "fd00:1:2:3::/64",
            "fd00:1:2:3::100:0/112",
            "::/0",
            "0.0.0.0/8",
        ] {
            assert_eq!(slicing.numbers(net(part)), None, "{part}");
        }
    }

    #[test]
    fn the_number_of_an_ipv4_address_is_itself() {
        let slicing = Slicing::of_subnet(net("10.40.0.0/16")).unwrap();
        let nine = Ipv4Addr::new(10, 40, 0, 9);
        assert_eq!(slicing.number(nine.into()), Some(nine));
        assert_eq!(slicing.address(nine), IpAddr::V4(nine));
        assert_eq!(slicing.number(ip("10.41.0.1")), None);
        assert_eq!(slicing.number(ip("::a28:9")), None);
        let part = Ipv4Net::new_assert(Ipv4Addr::new(10, 40, 1, 0), 24);
        assert_eq!(slicing.numbers(part.into()), Some(part));
        assert_eq!(slicing.net_of(part), IpNet::V4(part));
        assert_eq!(slicing.numbers(net("10.0.0.0/8")), None);
    }

    #[test]
    fn small_subnets_have_numbers_for_all_their_addresses() {
        for (subnet, count) in [
            ("fd00::/126", 4),
            ("fd00::/120", 256),
            ("fd00::/104", 1 << 24),
        ] {
            let slicing = Slicing::of_subnet(net(subnet)).unwrap();
            assert_eq!(leased_part(net(subnet)), net(subnet));
            assert_eq!(
                u32::from(slicing.count()) * slicing.size(),
                count,
                "{subnet}"
            );
        }
        for bad in ["fd00::/127", "fd00::/128", "fd00::1/64"] {
            assert!(Slicing::of_subnet(net(bad)).is_err(), "{bad}");
        }
    }
}
