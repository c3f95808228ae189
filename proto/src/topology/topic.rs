//! What a record is about, and the key under which records are kept: whose it is, and what it is about.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::PeerId;
use crate::limits::{
    HOLD_DOWN, MAX_IDENTITY_RECORD, MAX_LINKS_RECORD, MAX_RECORD, MAX_TOPICS, MAX_UNKNOWN_RECORD,
    NAMES_HOLD_DOWN,
};

/// What a record is about: 1 to [`MAX_TOPICS`]. A router keeps and passes on the topics it does not know, so that later
/// versions may say new things through old routers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Topic(u8);

impl Topic {
    /// Keys, names, addresses: [`super::bodies::IdentityBody`]. All other records of its origin are verified with the key in it.
    pub const IDENTITY: Self = Self(1);
    /// The links of its origin: [`super::bodies::Neighbour`].
    pub const LINKS: Self = Self(2);
    /// Containers' interfaces: [`super::bodies::Attached`].
    pub const ATTACHED: Self = Self(3);
    /// Names of containers, for DNS.
    pub const NAMES: Self = Self(4);
    /// Ranges of addresses that their origin allocates from.
    pub const ADDRESSES: Self = Self(5);
    /// Settings that all routers must share: [`super::settings::Settings`].
    pub const SETTINGS: Self = Self(6);

    /// The topic of this number, if there can be one.
    pub fn new(number: u8) -> Option<Self> {
        (1..=MAX_TOPICS).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether the control plane itself makes the records of this topic, and checks what others say in them.
    pub fn is_built_in(self) -> bool {
        self <= Self::ATTACHED
    }

    /// Least time between two records of one router about it.
    pub fn hold_down(self) -> Duration {
        match self {
            Self::NAMES => NAMES_HOLD_DOWN,
            _ => HOLD_DOWN,
        }
    }

    /// Bytes that a record of this topic may have, signature included.
    pub fn max_record(self) -> usize {
        match self {
            Self::IDENTITY => MAX_IDENTITY_RECORD,
            Self::LINKS => MAX_LINKS_RECORD,
            Self::ATTACHED | Self::NAMES | Self::ADDRESSES => MAX_RECORD,
            _ => MAX_UNKNOWN_RECORD,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IDENTITY => f.write_str("identity"),
            Self::LINKS => f.write_str("links"),
            Self::ATTACHED => f.write_str("attached"),
            Self::NAMES => f.write_str("names"),
            Self::ADDRESSES => f.write_str("addresses"),
            Self::SETTINGS => f.write_str("settings"),
            Self(number) => write!(f, "topic {number}"),
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom("no such topic"))
    }
}

/// Whose record, about what; in order of origins, the identity first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// Who says it.
    pub origin: PeerId,
    /// What it is about.
    pub topic: Topic,
}

impl RecordKey {
    /// The key of what `origin` says about `topic`.
    pub fn new(origin: PeerId, topic: Topic) -> Self {
        Self { origin, topic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    #[test]
    fn only_the_numbers_there_can_be_are_topics() {
        for number in 0..=u8::MAX {
            let valid = (1..=MAX_TOPICS).contains(&number);
            assert_eq!(
                Topic::new(number).map(Topic::number),
                valid.then_some(number)
            );
            let mut bytes = Vec::new();
            codec::encode(&number, &mut bytes).unwrap();
            assert_eq!(codec::decode::<Topic>(&bytes).is_ok(), valid);
        }
    }

    #[test]
    fn identities_come_first_and_topics_have_names() {
        let key = |n, topic| RecordKey::new(PeerId([n; 16]), topic);
        assert!(key(1, Topic::IDENTITY) < key(1, Topic::LINKS));
        assert!(key(1, Topic::ADDRESSES) < key(2, Topic::IDENTITY));
        let words: Vec<String> = (1..=7)
            .filter_map(Topic::new)
            .map(|t| t.to_string())
            .collect();
        assert_eq!(
            words,
            [
                "identity",
                "links",
                "attached",
                "names",
                "addresses",
                "settings",
                "topic 7"
            ]
        );
        assert!(Topic::ATTACHED.is_built_in() && !Topic::NAMES.is_built_in());
    }
}
