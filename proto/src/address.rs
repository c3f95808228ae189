//! Address arguments of the command line, with one grammar everywhere: `10.2.1.1/24`, `ip:10.2.1.1/24`,
//! `net:10.2.0.0/16`, `net:default`.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::ids::Mac;

/// Address argument of `run`, `attach`, `detach`, `expose`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressArg {
    /// This address, with the prefix length of its subnet.
    Ip(IpNet),
    /// Any free address of this subnet.
    Net(IpNet),
    /// Any free address of the default subnet.
    Default,
}

/// Reason why a text is no address argument. The message says how to correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an address nor a subnet.
    #[error("'{0}' is not an address; write it like 10.2.1.1/24")]
    Malformed(String),
    /// An address without `/length`.
    #[error("'{0}' has no prefix length; write {0}/24 if that is its subnet")]
    NoPrefix(String),
    /// Network address, where a host address is needed.
    #[error("'{0}' is the address of the network itself; pick a host address in it")]
    NetworkAddress(String),
    /// Broadcast address (the last one) of an IPv4 subnet.
    #[error("'{0}' is the broadcast address of its subnet; pick another")]
    BroadcastAddress(String),
    /// Multicast, unspecified or loopback.
    #[error("'{0}' cannot be given to a container (multicast, unspecified or loopback)")]
    NotUnicast(String),
    /// `net:` with host bits set.
    #[error("'{0}' has host bits set; write net:{1}")]
    HostBits(String, IpNet),
    /// Request for an allocation, where only explicit addresses are possible.
    #[error("'{0}' asks for any address of a subnet; here an address is needed, like 10.2.1.1/24")]
    Allocation(String),
}

impl AddressArg {
    /// Returns true if `s` is meant as an address argument, not as a flag, an image or a container.
    ///
    /// `run` and `attach` consume leading arguments for which this holds.
    pub fn looks_like(s: &str) -> bool {
        if s.starts_with("ip:") || s.starts_with("net:") {
            return true;
        }
        let host = s.split('/').next().unwrap_or_default();
        let v4 =
            host.split('.').count() == 4 && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let v6 = host.matches(':').count() >= 2
            && host
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
        // 10.2.1/24 and 10.2.1.300/24 are meant as addresses, too; no image has such a form before its slash.
        let almost = s.contains('/')
            && !host.is_empty()
            && host.contains('.')
            && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        v4 || v6 || almost
    }

    /// Returns the explicit address.
    ///
    /// # Errors
    /// [`AddressError::Allocation`] for `net:…`.
    pub fn explicit(self) -> Result<IpNet, AddressError> {
        match self {
            Self::Ip(ip) => Ok(ip),
            Self::Net(_) | Self::Default => Err(AddressError::Allocation(self.to_string())),
        }
    }
}

impl fmt::Display for AddressArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Net(net) => write!(f, "net:{net}"),
            Self::Default => f.write_str("net:default"),
        }
    }
}

impl FromStr for AddressArg {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, AddressError> {
        if s == "net:default" {
            return Ok(Self::Default);
        }
        if let Some(rest) = s.strip_prefix("net:") {
            let net = parse_prefixed(rest)?;
            if net.trunc() != net {
                return Err(AddressError::HostBits(s.to_owned(), net.trunc()));
            }
            return Ok(Self::Net(net));
        }
        let ip = parse_prefixed(s.strip_prefix("ip:").unwrap_or(s))?;
        check_host_address(ip)?;
        Ok(Self::Ip(ip))
    }
}

fn parse_prefixed(s: &str) -> Result<IpNet, AddressError> {
    if s.parse::<IpAddr>().is_ok() {
        return Err(AddressError::NoPrefix(s.to_owned()));
    }
    s.parse().map_err(|_| AddressError::Malformed(s.to_owned()))
}

fn check_host_address(ip: IpNet) -> Result<(), AddressError> {
    let addr = ip.addr();
    let text = ip.to_string();
    if addr.is_multicast() || addr.is_unspecified() || addr.is_loopback() {
        return Err(AddressError::NotUnicast(text));
    }
    if let IpNet::V4(v4) = ip {
        if v4.addr().is_broadcast() {
            return Err(AddressError::NotUnicast(text));
        }
        if v4.prefix_len() <= 30 {
            if v4.addr() == v4.network() {
                return Err(AddressError::NetworkAddress(text));
            }
            if v4.addr() == v4.broadcast() {
                return Err(AddressError::BroadcastAddress(text));
            }
        }
    }
    Ok(())
}

/// Returns the MAC address for a container's interface. It is a function of the IP address, so that an address keeps
/// its MAC when it moves to another host or container, and no ARP cache becomes stale.
///
/// IPv4: `02:6d` and the four bytes of the address. IPv6: `06:6d`, and the last four bytes folded with the others.
pub fn mac_for(addr: IpAddr) -> Mac {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Mac([0x02, 0x6d, a, b, c, d])
        }
        IpAddr::V6(v6) => {
            let mut folded = 0u32;
            for chunk in v6.octets().chunks_exact(4) {
                let word = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
                folded = folded.wrapping_mul(0x9e37_79b1).wrapping_add(word);
            }
            let [a, b, c, d] = folded.to_be_bytes();
            Mac([0x06, 0x6d, a, b, c, d])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let ip = |s: &str| AddressArg::Ip(s.parse().unwrap());
        assert_eq!("10.2.1.1/24".parse(), Ok(ip("10.2.1.1/24")));
        assert_eq!("ip:10.2.1.1/24".parse(), Ok(ip("10.2.1.1/24")));
        assert_eq!("fd00::5/64".parse(), Ok(ip("fd00::5/64")));
        assert_eq!("10.2.1.0/31".parse(), Ok(ip("10.2.1.0/31")));
        assert_eq!("net:default".parse(), Ok(AddressArg::Default));
        assert_eq!(
            "net:10.2.0.0/16".parse(),
            Ok(AddressArg::Net("10.2.0.0/16".parse().unwrap()))
        );
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        let err = |s: &str| s.parse::<AddressArg>().unwrap_err();
        assert!(matches!(err("10.2.1.300/24"), AddressError::Malformed(_)));
        assert!(matches!(err("10.2.1/24"), AddressError::Malformed(_)));
        assert!(matches!(err("10.2.1.1/33"), AddressError::Malformed(_)));
        assert!(matches!(err("10.2.1.1"), AddressError::NoPrefix(_)));
        assert!(matches!(
            err("10.2.1.0/24"),
            AddressError::NetworkAddress(_)
        ));
        assert!(matches!(
            err("10.2.1.255/24"),
            AddressError::BroadcastAddress(_)
        ));
        assert!(matches!(err("224.0.0.1/24"), AddressError::NotUnicast(_)));
        assert!(matches!(err("127.0.0.1/8"), AddressError::NotUnicast(_)));
        assert!(matches!(err("net:10.2.1.1/24"), AddressError::HostBits(..)));
        assert!(matches!(
            AddressArg::Default.explicit(),
            Err(AddressError::Allocation(_))
        ));
    }

    #[test]
    fn addresses_are_distinguished_from_images_and_flags() {
        for yes in [
            "10.2.1.1/24",
            "10.2.1.1",
            "ip:x",
            "net:default",
            "fd00::1/64",
            "10.2.1/24",
            "10.2.1.300/24",
        ] {
            assert!(AddressArg::looks_like(yes), "{yes}");
        }
        for no in [
            "ubuntu",
            "ubuntu:22.04",
            "registry.io/ubuntu",
            "-ti",
            "--name",
            "localhost:5000/x",
            "10.2.1.1:5000/x/y:z",
            "web",
        ] {
            assert!(!AddressArg::looks_like(no), "{no}");
        }
    }

    #[test]
    fn macs_are_unicast_and_local() {
        for addr in ["10.2.1.1", "fd00::1"] {
            let mac = mac_for(addr.parse().unwrap());
            assert_eq!(mac.0[0] & 3, 2);
        }
        assert_eq!(
            mac_for("10.2.1.1".parse().unwrap()).to_string(),
            "02:6d:0a:02:01:01"
        );
    }
}
