//! Identifiers of the protocol: peers, MAC addresses, connections, sessions, record versions.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Id of a router in the protocol: the first 128 bits of a hash of its signing key (`docs/PROTOCOL.md`).
///
/// Formatted as 26 lower-case characters of unpadded base32 (RFC 4648).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 16]);

/// First eight bytes of a [`PeerId`]: enough to distinguish the routers of one mesh, and half as long in a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerPrefix(pub [u8; 8]);

/// Name of a router for operators: six bytes in the form of a MAC address, derived from the [`PeerId`] or set by
/// `--name`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerName(pub [u8; 6]);

/// IEEE 802 MAC address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

/// Handle of a TCP connection; never reused within one run of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Handle of a session, chosen at random by the receiver of its datagrams (0 is never used).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionIndex(pub u32);

/// Version of a record: `epoch` counts starts of its origin, `seq` counts changes within one start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version {
    /// Boot epoch of the origin, which is stored and incremented at each start.
    pub epoch: u64,
    /// Sequence number within the epoch, from 1.
    pub seq: u64,
}

// The same order as derived, but as numbers: tables are searched by id all the time, and a comparison of bytes is a
// call.
impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PeerPrefix {
    fn cmp(&self, other: &Self) -> Ordering {
        u64::from_be_bytes(self.0).cmp(&u64::from_be_bytes(other.0))
    }
}

impl PartialOrd for PeerPrefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl PeerId {
    /// Returns the name of the router unless the operator set another: locally administered, unicast.
    pub fn derived_name(&self) -> PeerName {
        let b = self.0;
        PeerName([(b[0] & 0xfc) | 0x02, b[1], b[2], b[3], b[4], b[5]])
    }

    /// Returns the first eight bytes.
    pub fn prefix(&self) -> PeerPrefix {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        PeerPrefix([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 26 characters hold 130 bits: the last one carries two zero bits of padding.
        for i in 0..26u32 {
            let shift = 123i64 - 5 * i64::from(i);
            let index = if shift >= 0 {
                bits >> shift
            } else {
                bits << -shift
            } & 31;
            let c = BASE32[usize::try_from(index).unwrap_or_default()];
            write!(f, "{}", char::from(c))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PeerPrefix {
    /// Returns the range from the lowest to the highest [`PeerId`] with this prefix.
    pub fn range(&self) -> core::ops::RangeInclusive<PeerId> {
        let bound = |fill: u8| {
            let mut id = [fill; 16];
            id[..8].copy_from_slice(&self.0);
            PeerId(id)
        };
        bound(0)..=bound(0xff)
    }
}

/// Formats the prefix as 16 hexadecimal digits, for a peer whose identity is not known.
impl fmt::Display for PeerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for PeerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error: the text is no six-byte identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not of the form 00:11:22:33:44:55")]
pub struct ParseError(String);

fn parse_six(s: &str) -> Option<[u8; 6]> {
    let mut out = [0; 6];
    let mut parts = s.split(':');
    for byte in &mut out {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// Parses `::1` for `00:00:00:00:00:01`: one run of zero bytes may be left out, as in IPv6.
fn parse_six_short(s: &str) -> Option<[u8; 6]> {
    let (head, tail) = s.split_once("::")?;
    let bytes = |t: &str| -> Option<Vec<u8>> {
        if t.is_empty() {
            return Some(Vec::new());
        }
        t.split(':')
            .map(|p| {
                if p.len() > 2 {
                    None
                } else {
                    u8::from_str_radix(p, 16).ok()
                }
            })
            .collect()
    };
    let (head, tail) = (bytes(head)?, bytes(tail)?);
    if head.len() + tail.len() > 5 {
        return None;
    }
    let mut out = [0; 6];
    out[..head.len()].copy_from_slice(&head);
    out[6 - tail.len()..].copy_from_slice(&tail);
    Some(out)
}

fn fmt_six(b: &[u8; 6], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
        b[0], b[1], b[2], b[3], b[4], b[5]
    )
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_six(&self.0, f)
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_six(&self.0, f)
    }
}

impl FromStr for PeerName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        parse_six(s)
            .or_else(|| parse_six_short(s))
            .map(Self)
            .ok_or_else(|| ParseError(s.to_owned()))
    }
}

impl Mac {
    /// Broadcast address `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Returns true if the group bit is set (multicast and broadcast, IEEE 802).
    pub fn is_group(&self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_six(&self.0, f)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_six(&self.0, f)
    }
}

impl FromStr for Mac {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        parse_six(s)
            .map(Self)
            .ok_or_else(|| ParseError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn peer_id_prints_as_rfc4648_base32() {
        // RFC 4648 section 10 vectors, zero-extended to 16 bytes.
        let mut id = [0; 16];
        id[..6].copy_from_slice(b"foobar");
        let text = PeerId(id).to_string();
        assert_eq!(text.len(), 26);
        assert!(text.starts_with("mzxw6ytbo"), "{text}");
        assert_eq!(
            PeerId([0xff; 16]).to_string(),
            "7777777777777777777777777".to_owned() + "4"
        );
    }

    proptest! {
        #[test]
        fn identities_are_in_the_order_of_their_bytes(a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), same in 0..16usize) {
            let mut b = b;
            b[..same].copy_from_slice(&a[..same]);
            let (x, y) = (PeerId(a), PeerId(b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.partial_cmp(&y), Some(a.cmp(&b)));
            prop_assert_eq!(x.prefix().cmp(&y.prefix()), a[..8].cmp(&b[..8]));
            prop_assert_eq!(x.cmp(&x), Ordering::Equal);
        }
    }

    #[test]
    fn names_parse_long_and_short() {
        assert_eq!(
            "::1".parse::<PeerName>().unwrap(),
            PeerName([0, 0, 0, 0, 0, 1])
        );
        assert_eq!(
            "7a::1c".parse::<PeerName>().unwrap(),
            PeerName([0x7a, 0, 0, 0, 0, 0x1c])
        );
        assert_eq!(
            "7a:1:2:3:4:5".parse::<PeerName>().unwrap(),
            PeerName([0x7a, 1, 2, 3, 4, 5])
        );
        for bad in [
            "",
            ":",
            "1",
            "1:2:3:4:5",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:100",
            "g::1",
            "1::2::3",
            "1:2:3:4:5::6",
        ] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_names_are_local_and_unicast() {
        let name = PeerId([0xff; 16]).derived_name();
        assert_eq!(name.0[0] & 0x03, 0x02);
    }
}
