//! An address and the network in which it is meant: equal addresses in two networks are two addresses.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

/// Separates the id of a network from what is in it.
const AT: char = '@';

/// An address with the prefix length of its subnet, in a network.
///
/// Written `10.2.1.1/24` in the network `default`, and `10.2.1.1/24@` with the id of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ScopedAddress {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub address: IpNet,
}

impl ScopedAddress {
    /// Returns an address in a network.
    pub fn new(network: NetworkId, address: IpNet) -> Self {
        Self { network, address }
    }

    /// Returns the address without the prefix length of its subnet.
    pub fn ip(&self) -> IpAddr {
        self.address.addr()
    }
}

impl fmt::Display for ScopedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mark(&self.address.to_string(), self.network))
    }
}

impl FromStr for ScopedAddress {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, network) = unmark(text);
        let address = address.parse()?;
        Ok(Self { network, address })
    }
}

impl From<ScopedAddress> for String {
    fn from(address: ScopedAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for ScopedAddress {
    type Error = ipnet::AddrParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Returns a text with the id of its network behind it, unless that is `default`.
pub(crate) fn mark(text: &str, network: NetworkId) -> String {
    match network.is_default() {
        true => text.to_owned(),
        false => format!("{text}{AT}{network}"),
    }
}

/// Returns a text and the network that it was marked with.
pub(crate) fn unmark(marked: &str) -> (&str, NetworkId) {
    let found = marked
        .rsplit_once(AT)
        .and_then(|(text, id)| Some((text, NetworkId::from_hex(id)?)));
    found.unwrap_or((marked, NetworkId::DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_default_is_written_as_ever_and_any_is_read_again() {
        let web = NetworkId([7; 16]);
        for text in ["10.2.1.1/24", "fd00::5/64"] {
            let address: IpNet = text.parse().unwrap();
            let plain = ScopedAddress::new(NetworkId::DEFAULT, address);
            assert_eq!(plain.to_string(), text);
            let marked = ScopedAddress::new(web, address);
            assert_eq!(marked.to_string(), format!("{text}@{}", "07".repeat(16)));
            for one in [plain, marked] {
                assert_eq!(one.to_string().parse(), Ok(one));
                let json = serde_json::to_string(&one).unwrap();
                assert_eq!(serde_json::from_str::<ScopedAddress>(&json).unwrap(), one);
            }
            assert!(plain < marked, "those of default come first");
        }
    }

    #[test]
    fn what_is_no_address_or_no_network_is_refused() {
        let id = "07".repeat(16);
        for bad in [
            "",
            "@",
            "10.2.1.1/24@",
            "10.2.1.1/24@07",
            &format!("10.2.1.1@{id}"),
            &format!("10.2.1.1/24@{id}@"),
            &format!("@{id}"),
        ] {
            assert!(bad.parse::<ScopedAddress>().is_err(), "{bad}");
            let json = format!("\"{bad}\"");
            assert!(serde_json::from_str::<ScopedAddress>(&json).is_err());
        }
    }
}
