//! Networks: segments of one mesh that are apart, each with broadcasts, addresses and keys of its own.
//!
//! Frames of one network never enter another, whatever addresses they carry. The network `default` is there always;
//! without others, datagrams are as if there were no networks.

use core::fmt;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::ids::PeerId;

/// Id of a network in the protocol, the same on all routers; all zero for the network `default`.
///
/// Formatted as 32 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkId(pub [u8; 16]);

/// Handle of a network in datagrams, assigned by their receiver for one of its own networks; 0 is the network
/// `default`.
///
/// It is downstream-assigned, as the labels of MPLS (RFC 3031 section 3.4): a router announces for each of its
/// networks the label that others put into datagrams for it. Within one boot epoch a label never gets another
/// meaning.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NetworkLabel(pub u16);

/// Id of the key of a network, derived from the key: the same key has the same id everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkKeyId(pub u32);

/// Fingerprint of the key of a network, derived from key and network. The id of a key is too short to tell keys apart
/// that somebody made up to have the same one; two keys with one fingerprint cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkKeyPrint(pub [u8; 16]);

/// All broadcasts of one network that one run of a router sends; they are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastStream {
    /// Network of the frames.
    pub network: NetworkId,
    /// Router at whose port the frames entered.
    pub origin: PeerId,
    /// Boot epoch of the origin.
    pub epoch: u64,
    /// Random number of this run of the origin: distinguishes two runs with one epoch, as after an old state
    /// directory was restored.
    pub salt: u64,
}

impl NetworkId {
    /// The network `default`.
    pub const DEFAULT: NetworkId = NetworkId([0; 16]);

    /// Returns true for the network `default`.
    pub fn is_default(&self) -> bool {
        *self == Self::DEFAULT
    }

    /// Returns the id that is formatted as this text; `None` if there is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        let digits = text.as_bytes();
        if digits.len() != 2 * id.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(id))
    }
}

impl NetworkLabel {
    /// Label of the network `default` on all routers.
    pub const DEFAULT: NetworkLabel = NetworkLabel(0);

    /// Returns true for the label of the network `default`.
    pub fn is_default(self) -> bool {
        self == Self::DEFAULT
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for NetworkKeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bits of the addresses of an IPv6 subnet that are leased, at most: as many as the largest IPv4 subnet has.
const LEASED_BITS: u8 = 24;

/// Returns the part of a subnet of which addresses are leased: all of it, or the first 2^24 addresses of an IPv6 subnet, as
/// counting to 2^64 helps nobody. Any other address is given by operators.
pub fn leased_part(subnet: IpNet) -> IpNet {
    let IpNet::V6(v6) = subnet else {
        return subnet;
    };
    let prefix = v6.prefix_len().max(128 - LEASED_BITS);
    // At most 128, so there is such a subnet.
    Ipv6Net::new(v6.network(), prefix).map_or(subnet, IpNet::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_is_the_network_default() {
        assert!(NetworkId::default().is_default() && NetworkLabel::default().is_default());
        for at in 0..16 {
            let mut id = [0; 16];
            id[at] = 1;
            assert!(!NetworkId(id).is_default());
        }
        assert!(!NetworkLabel(0x100).is_default());
    }

    #[test]
    fn a_network_is_written_in_hexadecimal_digits() {
        let mut id = [0xab; 16];
        id[15] = 1;
        let text = NetworkId(id).to_string();
        assert_eq!(text, format!("{}01", "ab".repeat(15)));
        for good in [&text, &text.to_uppercase()] {
            assert_eq!(NetworkId::from_hex(good), Some(NetworkId(id)));
        }
        let (plus, wide) = (format!("+{}", &text[1..]), format!("ä{}", &text[2..]));
        for bad in ["", "ab", &text[1..], &plus, &wide] {
            assert_eq!(NetworkId::from_hex(bad), None, "{bad}");
        }
    }
}
