//! Cipher suites of sessions, and their negotiation.

use core::fmt;

use crate::limits::MAX_OFFERED_SUITES;

/// Cipher of a data session. The discriminant is its number in handshakes; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Suite {
    /// ChaCha20-Poly1305 (RFC 8439): fast on every processor.
    ChaCha20Poly1305 = 1,
    /// AES-256-GCM (NIST SP 800-38D): faster on processors with instructions for AES and carry-less multiplication.
    Aes256Gcm = 2,
}

impl Suite {
    /// All suites, in order of their numbers.
    pub const ALL: [Suite; 2] = [Suite::ChaCha20Poly1305, Suite::Aes256Gcm];

    /// Returns the number in handshakes.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns the suite with this number; `None` for 0 and for unknown suites.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.number() == number)
    }

    /// Returns `chacha20-poly1305` or `aes-256-gcm`, the name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Suite::ChaCha20Poly1305 => "chacha20-poly1305",
            Suite::Aes256Gcm => "aes-256-gcm",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Suites in order of preference, each once. A router's own list is never empty; that offered by a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suites {
    ordered: [Option<Suite>; Suite::ALL.len()],
}

impl Suites {
    /// ChaCha20-Poly1305 only: for processors without AES instructions.
    pub const CHACHA: Suites = Suites::only(Suite::ChaCha20Poly1305);
    /// AES-256-GCM, then ChaCha20-Poly1305: for processors with AES instructions.
    pub const AES_FIRST: Suites = Suites {
        ordered: [Some(Suite::Aes256Gcm), Some(Suite::ChaCha20Poly1305)],
    };

    /// Creates a list of one suite.
    pub const fn only(suite: Suite) -> Self {
        Self {
            ordered: [Some(suite), None],
        }
    }

    /// Returns the suites in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = Suite> {
        self.ordered.into_iter().flatten()
    }

    /// Returns true if the list has this suite.
    pub fn contains(&self, suite: Suite) -> bool {
        self.iter().any(|s| s == suite)
    }

    /// Returns true if the list is empty.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Chooses the answer to an offer: the first suite of this list that was offered, whatever the order of the
    /// offer.
    pub fn choose(&self, offered: &Suites) -> Option<Suite> {
        self.iter().find(|s| offered.contains(*s))
    }

    /// Encodes the numbers for an Init, padded with zeros.
    pub fn encode(&self) -> [u8; MAX_OFFERED_SUITES] {
        let mut bytes = [0; MAX_OFFERED_SUITES];
        for (byte, suite) in bytes.iter_mut().zip(self.iter()) {
            *byte = suite.number();
        }
        bytes
    }

    /// Decodes the suites of an Init. Unknown numbers and repetitions are ignored, so that later versions can offer
    /// more.
    pub fn decode(bytes: &[u8; MAX_OFFERED_SUITES]) -> Self {
        let mut suites = Self {
            ordered: [None; Suite::ALL.len()],
        };
        for suite in bytes.iter().filter_map(|n| Suite::from_number(*n)) {
            let free = suites.ordered.iter().position(Option::is_none);
            if let Some(place) = free.filter(|_| !suites.contains(suite))
                && let Some(slot) = suites.ordered.get_mut(place)
            {
                *slot = Some(suite);
            }
        }
        suites
    }
}

// All suites of this version can be offered at once.
const _: () = assert!(Suite::ALL.len() <= MAX_OFFERED_SUITES);

/// Formats the names, separated by commas; `none` if empty.
impl fmt::Display for Suites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (n, suite) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{suite}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AES: Suites = Suites::only(Suite::Aes256Gcm);

    #[test]
    fn the_responder_chooses_by_its_own_preference() {
        let choose = |own: Suites, offered: Suites| own.choose(&offered);
        let (aes, chacha) = (Some(Suite::Aes256Gcm), Some(Suite::ChaCha20Poly1305));
        assert_eq!(choose(Suites::AES_FIRST, Suites::AES_FIRST), aes);
        assert_eq!(choose(Suites::AES_FIRST, Suites::CHACHA), chacha);
        assert_eq!(choose(Suites::CHACHA, Suites::AES_FIRST), chacha);
        assert_eq!(choose(AES, Suites::AES_FIRST), aes);
        assert_eq!(choose(AES, Suites::CHACHA), None);
        assert_eq!(choose(Suites::CHACHA, AES), None);
        // The order of the responder counts, not that of the offer.
        let chacha_first = Suites::decode(&[1, 2, 0, 0]);
        assert_eq!(choose(Suites::AES_FIRST, chacha_first), aes);
    }

    #[test]
    fn unknown_numbers_and_repetitions_are_passed_over() {
        assert_eq!(Suites::decode(&[9, 2, 2, 1]), Suites::AES_FIRST);
        assert_eq!(Suites::decode(&[0, 7, 0, 1]), Suites::CHACHA);
        assert!(Suites::decode(&[0, 3, 255, 0]).is_empty());
        assert_eq!(Suites::AES_FIRST.encode(), [2, 1, 0, 0]);
    }

    #[test]
    fn names_are_those_of_the_flag() {
        assert_eq!(
            Suites::AES_FIRST.to_string(),
            "aes-256-gcm, chacha20-poly1305"
        );
        assert_eq!(Suites::decode(&[0; 4]).to_string(), "none");
        assert_eq!(Suite::from_number(0), None);
    }

    proptest! {
        #[test]
        fn any_offer_is_read_and_read_again_alike(bytes: [u8; MAX_OFFERED_SUITES]) {
            let read = Suites::decode(&bytes);
            prop_assert_eq!(Suites::decode(&read.encode()), read);
            for number in 0..=u8::MAX {
                let known = Suite::from_number(number);
                prop_assert!(known.is_none_or(|s| read.contains(s) == bytes.contains(&number)));
            }
        }
    }
}
