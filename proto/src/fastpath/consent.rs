//! To whose underlay address plain traffic may go.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// What the operator consents to; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    everywhere: bool,
    subnets: Vec<IpNet>,
}

impl Consent {
    /// Plain traffic with every peer that consents (`--no-encryption`), or with those in `subnets`
    /// (`--trusted-subnets`).
    pub fn new(everywhere: bool, subnets: Vec<IpNet>) -> Self {
        Self {
            everywhere,
            subnets,
        }
    }

    /// Whether there is anybody at all it allows.
    pub fn is_none(&self) -> bool {
        !self.everywhere && self.subnets.is_empty()
    }

    /// Whether plain traffic with a peer at `address` is allowed.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.everywhere || self.subnets.iter().any(|net| net.contains(&address))
    }
}

/// For `mesh status`: with whom.
impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.everywhere {
            return f.write_str("peers that agree");
        }
        let subnets: Vec<String> = self.subnets.iter().map(IpNet::to_string).collect();
        write!(f, "peers that agree in {}", subnets.join(", "))
    }
}
