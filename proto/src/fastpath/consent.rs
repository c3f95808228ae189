//! Consent of the operator to plain traffic, by underlay address.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Underlay addresses with which plain traffic is permitted; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    everywhere: bool,
    subnets: Vec<IpNet>,
}

impl Consent {
    /// Creates the consent to plain traffic with every peer that consents (`--no-encryption`), or with those in
    /// `subnets` (`--trusted-subnets`).
    pub fn new(everywhere: bool, subnets: Vec<IpNet>) -> Self {
        Self {
            everywhere,
            subnets,
        }
    }

    /// Returns true if no address is permitted.
    pub fn is_none(&self) -> bool {
        !self.everywhere && self.subnets.is_empty()
    }

    /// Returns true if plain traffic with a peer at `address` is permitted.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.everywhere || self.subnets.iter().any(|net| net.contains(&address))
    }
}

/// Formats the permitted peers for `mesh status`.
impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.everywhere {
            return f.write_str("peers that agree");
        }
        let subnets: Vec<String> = self.subnets.iter().map(IpNet::to_string).collect();
        write!(f, "peers that agree in {}", subnets.join(", "))
    }
}
