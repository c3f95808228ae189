//! The ranges that the routers of a mesh share in the network `default`.
//!
//! IPv4 addresses are allocated. An IPv6 address there has the IPv4 address in its last 32 bits (as in RFC 6052 section 2.2,
//! with a prefix of the mesh): both are leased, owned and given up as one, so the second family needs no agreement of its
//! own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The ranges and the default subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The range that routers share.
    pub range: Ipv4Net,
    /// The subnet of `net:default`.
    pub default_subnet: Ipv4Net,
    /// The subnet of IPv6 beside, of at most 96 bits; none without IPv6.
    pub range6: Option<Ipv6Net>,
}

impl AddressPool {
    /// Returns the IPv6 address that goes with an IPv4 address.
    pub fn beside(&self, address: Ipv4Addr) -> Option<IpNet> {
        let range6 = self.range6.filter(|_| self.range.contains(&address))?;
        let bits = u128::from(range6.network()) | u128::from(u32::from(address));
        let beside = Ipv6Net::new(Ipv6Addr::from(bits), range6.prefix_len());
        beside.ok().map(IpNet::V6)
    }

    /// Returns the IPv4 address with which an address is leased: itself, or the one in its last bits; none for those that
    /// are not allocated.
    pub fn leased_as(&self, address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(v4) => Some(v4).filter(|v4| self.range.contains(v4)),
            IpAddr::V6(v6) => {
                let low = u32::try_from(u128::from(v6) & u128::from(u32::MAX)).ok()?;
                let v4 = Ipv4Addr::from(low);
                let is_it = |beside: IpNet| beside.addr() == IpAddr::V6(v6);
                self.beside(v4).is_some_and(is_it).then_some(v4)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_the_ipv4_address_in_it() {
        let pool = AddressPool {
            range: "10.32.0.0/12".parse().unwrap(),
            default_subnet: "10.32.0.0/16".parse().unwrap(),
            range6: Some("fd12:3456:789a::/64".parse().unwrap()),
        };
        let v4 = Ipv4Addr::new(10, 32, 0, 9);
        let beside = pool.beside(v4).unwrap();
        assert_eq!(beside.to_string(), "fd12:3456:789a::a20:9/64");
        assert_eq!(pool.leased_as(beside.addr()), Some(v4));
        assert_eq!(pool.leased_as(v4.into()), Some(v4));
        assert_eq!(pool.beside(Ipv4Addr::new(10, 48, 0, 1)), None);
        for other in [
            "10.48.0.1",
            "fd12:3456:789a::a30:1",
            "fd12:3456:789a:0:1::a20:9",
            "fd12:3456:789b::a20:9",
        ] {
            assert_eq!(pool.leased_as(other.parse().unwrap()), None, "{other}");
        }
        let without = AddressPool {
            range6: None,
            ..pool
        };
        assert_eq!(without.beside(v4), None);
        assert_eq!(without.leased_as(beside.addr()), None);
    }
}
