//! Subnets of a network.

use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use mesh_proto::limits::MAX_NETWORK_SUBNETS;
use mesh_proto::network::leased_part;

/// Shortest and longest prefix of an IPv4 subnet: one of 31 bits has no room for containers.
const PREFIX4: core::ops::RangeInclusive<u8> = 8..=30;
/// Shortest and longest prefix of an IPv6 subnet.
const PREFIX6: core::ops::RangeInclusive<u8> = 16..=126;

/// Subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkSubnet {
    /// Network address and prefix length.
    pub net: IpNet,
    /// Address of the default gateway of the containers, in `net`.
    pub gateway: Option<IpAddr>,
    /// Part of `net` of which addresses are allocated; without one, all of it.
    pub ip_range: Option<IpNet>,
}

/// Reason why subnets cannot be those of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Two subnets have addresses in common.
    #[error("the subnets {0} and {1} overlap; give subnets of one network that are apart")]
    Overlap(IpNet, IpNet),
    /// Bits beyond the prefix are set.
    #[error("{} is not a network address; write {}", .0, .0.trunc())]
    HostBits(IpNet),
    /// Addresses that no container has, or too few or too many of them.
    #[error("{0} cannot be a subnet of containers; give a private one, like 10.40.0.0/16")]
    Unusable(IpNet),
    /// The gateway is in no subnet.
    #[error("the gateway {gateway} is outside {}", outside(.subnets, "an address"))]
    GatewayOutside {
        /// Gateway.
        gateway: IpAddr,
        /// Subnets.
        subnets: Vec<IpNet>,
    },
    /// The gateway is the network or the broadcast address.
    #[error(
        "the gateway {gateway} is the first or last address of {subnet}; give another one of it"
    )]
    GatewayUnusable {
        /// Gateway.
        gateway: IpAddr,
        /// Subnet.
        subnet: IpNet,
    },
    /// Two gateways are in one subnet.
    #[error("{subnet} has two gateways, {first} and {second}; give one")]
    TwoGateways {
        /// Subnet.
        subnet: IpNet,
        /// One of them.
        first: IpAddr,
        /// The other.
        second: IpAddr,
    },
    /// The range of addresses is in no subnet.
    #[error("the range {range} is outside {}", outside(.subnets, "a part"))]
    RangeOutside {
        /// Range.
        range: IpNet,
        /// Subnets.
        subnets: Vec<IpNet>,
    },
    /// The range is beyond the addresses that are leased.
    #[error("the range {range} is beyond the addresses that are given; give a part of {leased}")]
    RangeBeyond {
        /// Range.
        range: IpNet,
        /// Part of the subnet of which addresses are leased.
        leased: IpNet,
    },
    /// Two ranges are in one subnet.
    #[error("{subnet} has two ranges, {first} and {second}; give one")]
    TwoRanges {
        /// Subnet.
        subnet: IpNet,
        /// One of them.
        first: IpNet,
        /// The other.
        second: IpNet,
    },
    /// More than [`MAX_NETWORK_SUBNETS`].
    #[error("{0} subnets, and one network has {MAX_NETWORK_SUBNETS} at most; give fewer")]
    TooMany(usize),
}

impl NetworkSubnet {
    /// Returns a subnet of which all addresses are allocated, without a gateway.
    pub fn new(net: IpNet) -> Self {
        Self {
            net,
            gateway: None,
            ip_range: None,
        }
    }

    /// Assigns gateways and ranges to the subnets that contain them, as options of a command line give them.
    ///
    /// # Errors
    /// [`SubnetError`].
    pub fn arrange(
        subnets: &[IpNet],
        gateways: &[IpAddr],
        ranges: &[IpNet],
    ) -> Result<Vec<Self>, SubnetError> {
        let mut arranged: Vec<Self> = subnets.iter().copied().map(Self::new).collect();
        for gateway in gateways {
            let within = arranged.iter_mut().find(|s| s.net.contains(gateway));
            let Some(subnet) = within else {
                return Err(SubnetError::GatewayOutside {
                    gateway: *gateway,
                    subnets: subnets.to_vec(),
                });
            };
            if let Some(first) = subnet.gateway.replace(*gateway) {
                return Err(SubnetError::TwoGateways {
                    subnet: subnet.net,
                    first,
                    second: *gateway,
                });
            }
        }
        for range in ranges {
            let within = arranged.iter_mut().find(|s| s.net.contains(range));
            let Some(subnet) = within else {
                return Err(SubnetError::RangeOutside {
                    range: *range,
                    subnets: subnets.to_vec(),
                });
            };
            let leased = leased_part(subnet.net);
            if !leased.contains(range) && !range.contains(&leased) {
                return Err(SubnetError::RangeBeyond {
                    range: *range,
                    leased,
                });
            }
            if let Some(first) = subnet.ip_range.replace(*range) {
                return Err(SubnetError::TwoRanges {
                    subnet: subnet.net,
                    first,
                    second: *range,
                });
            }
        }
        check(&arranged).map(|()| arranged)
    }

    fn check(&self) -> Result<(), SubnetError> {
        let net = self.net;
        if net != net.trunc() {
            return Err(SubnetError::HostBits(net));
        }
        if !is_usable(net) {
            return Err(SubnetError::Unusable(net));
        }
        if let Some(gateway) = self.gateway {
            if !net.contains(&gateway) {
                return Err(SubnetError::GatewayOutside {
                    gateway,
                    subnets: vec![net],
                });
            }
            let is_last = net.addr().is_ipv4() && gateway == net.broadcast();
            if gateway == net.network() || is_last {
                let subnet = net;
                return Err(SubnetError::GatewayUnusable { gateway, subnet });
            }
        }
        let Some(range) = self.ip_range else {
            return Ok(());
        };
        if range != range.trunc() {
            return Err(SubnetError::HostBits(range));
        }
        match net.contains(&range) {
            true => Ok(()),
            false => Err(SubnetError::RangeOutside {
                range,
                subnets: vec![net],
            }),
        }
    }
}

/// Checks the subnets of one network.
pub(crate) fn check(subnets: &[NetworkSubnet]) -> Result<(), SubnetError> {
    if subnets.len() > MAX_NETWORK_SUBNETS {
        return Err(SubnetError::TooMany(subnets.len()));
    }
    for (n, subnet) in subnets.iter().enumerate() {
        subnet.check()?;
        let others = subnets.iter().take(n).map(|other| other.net);
        if let Some(other) = others.into_iter().find(|other| overlap(*other, subnet.net)) {
            return Err(SubnetError::Overlap(other, subnet.net));
        }
    }
    Ok(())
}

/// Returns true if two subnets have addresses in common.
pub(super) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Returns true if containers can have the addresses of this subnet.
fn is_usable(net: IpNet) -> bool {
    let first = net.network();
    let (prefixes, is_reserved) = match first {
        IpAddr::V4(v4) => (PREFIX4, v4.octets()[0] == 0),
        // Each interface has a link-local address of its own.
        IpAddr::V6(v6) => {
            let is_mapped = v6.to_ipv4_mapped().is_some();
            (PREFIX6, is_mapped || v6.is_unicast_link_local())
        }
    };
    let is_special = |ip: IpAddr| ip.is_loopback() || ip.is_multicast() || ip.is_unspecified();
    prefixes.contains(&net.prefix_len())
        && !is_reserved
        && !is_special(first)
        && !is_special(net.broadcast())
}

/// Returns the subnets, and what is to be given of them.
fn outside(subnets: &[IpNet], wanted: &str) -> String {
    let texts: Vec<String> = subnets.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [] => "any subnet, as none was given; give its subnet with --subnet, too".to_owned(),
        [one] => format!("the subnet {one}; give {wanted} of it"),
        _ => format!("the subnets {}; give {wanted} of one", texts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn says(subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> String {
        let nets = |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|t| net(t)).collect() };
        let gateways: Vec<IpAddr> = gateways.iter().map(|t| t.parse().unwrap()).collect();
        match NetworkSubnet::arrange(&nets(subnets), &gateways, &nets(ranges)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn gateways_and_ranges_go_to_their_subnets() {
        let arranged = NetworkSubnet::arrange(
            &[net("10.1.0.0/16"), net("fd00::/64")],
            &["fd00::1".parse().unwrap(), "10.1.0.1".parse().unwrap()],
            &[net("10.1.2.0/24")],
        )
        .unwrap();
        assert_eq!(arranged[0].gateway, Some("10.1.0.1".parse().unwrap()));
        assert_eq!(arranged[0].ip_range, Some(net("10.1.2.0/24")));
        assert_eq!(arranged[1].gateway, Some("fd00::1".parse().unwrap()));
        assert_eq!(arranged[1].ip_range, None);
        assert!(says(&["10.0.0.0/8", "fd00::/16", "11.0.0.0/30"], &[], &[]).is_empty());
        assert!(says(&["10.1.0.0/24"], &[], &["10.1.0.0/24"]).is_empty());
        assert!(says(&[], &[], &[]).is_empty());
    }

    #[test]
    fn bad_input_is_named_in_one_line() {
        for (subnets, gateways, ranges, text) in [
            (
                &["10.1.0.0/16", "10.1.2.0/24"][..],
                &[][..],
                &[][..],
                "the subnets 10.1.0.0/16 and 10.1.2.0/24 overlap; give subnets of one network that are apart",
            ),
            (
                &["10.1.0.0/16"],
                &["10.2.0.1"],
                &[],
                "the gateway 10.2.0.1 is outside the subnet 10.1.0.0/16; give an address of it",
            ),
            (
                &[],
                &["10.2.0.1"],
                &[],
                "the gateway 10.2.0.1 is outside any subnet, as none was given; give its subnet with --subnet, too",
            ),
            (
                &["10.1.0.0/16"],
                &["10.1.0.0"],
                &[],
                "the gateway 10.1.0.0 is the first or last address of 10.1.0.0/16; give another one of it",
            ),
            (
                &["10.1.0.0/16"],
                &["10.1.0.1", "10.1.0.2"],
                &[],
                "10.1.0.0/16 has two gateways, 10.1.0.1 and 10.1.0.2; give one",
            ),
            (
                &["10.1.0.0/16"],
                &[],
                &["10.2.0.0/24"],
                "the range 10.2.0.0/24 is outside the subnet 10.1.0.0/16; give a part of it",
            ),
            (
                &["10.1.0.0/16"],
                &[],
                &["10.0.0.0/8"],
                "the range 10.0.0.0/8 is outside the subnet 10.1.0.0/16; give a part of it",
            ),
            (
                &["10.1.0.0/16"],
                &[],
                &["10.1.1.0/24", "10.1.2.0/24"],
                "10.1.0.0/16 has two ranges, 10.1.1.0/24 and 10.1.2.0/24; give one",
            ),
            (
                &["fd00::/64"],
                &[],
                &["fd00::1:0:0:0/80"],
                "the range fd00::1:0:0:0/80 is beyond the addresses that are given; give a part of fd00::/104",
            ),
            (
                &["10.1.2.3/24"],
                &[],
                &[],
                "10.1.2.3/24 is not a network address; write 10.1.2.0/24",
            ),
        ] {
            assert_eq!(says(subnets, gateways, ranges), text);
        }
        let many: Vec<String> = (0..9).map(|n| format!("10.{n}.0.0/16")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = "9 subnets, and one network has 8 at most; give fewer";
        assert_eq!(says(&many, &[], &[]), text);
        assert!(says(&many[1..], &[], &[]).is_empty());
    }

    #[test]
    fn subnets_have_addresses_of_containers() {
        for bad in [
            "0.0.0.0/8",
            "0.0.0.0/0",
            "127.0.0.0/16",
            "224.0.0.0/8",
            "10.0.0.0/31",
            "10.0.0.1/32",
            "0.0.0.0/1",
            "::/64",
            "::ffff:10.0.0.0/112",
            "ff02::/64",
            "fd00::/127",
            "f000::/4",
        ] {
            let text = says(&[bad], &[], &[]);
            assert!(text.contains("cannot be a subnet"), "{bad}: {text}");
        }
    }
}
