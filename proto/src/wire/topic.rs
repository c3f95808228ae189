//! Topics of records, and the key under which records are stored: origin and topic.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::PeerId;
use crate::limits::{
    HOLD_DOWN, MAX_IDENTITY_RECORD, MAX_LINKS_RECORD, MAX_RECORD, MAX_TOPICS, MAX_UNKNOWN_RECORD,
    NAMES_HOLD_DOWN,
};

/// Subject of a record: 1 to [`MAX_TOPICS`]. A router stores and propagates records with unknown topics, so that
/// later versions can add topics that older routers carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Topic(u8);

impl Topic {
    /// Keys, name and addresses: [`crate::topology::bodies::IdentityBody`]. Its key verifies all other records of the origin.
    pub const IDENTITY: Self = Self(1);
    /// Links of the origin: [`crate::topology::bodies::Neighbour`].
    pub const LINKS: Self = Self(2);
    /// Interfaces of containers: [`crate::topology::bodies::Attached`].
    pub const ATTACHED: Self = Self(3);
    /// Names of containers, for DNS.
    pub const NAMES: Self = Self(4);
    /// Address ranges from which the origin allocates.
    pub const ADDRESSES: Self = Self(5);
    /// Settings that must be equal on all routers: [`crate::topology::settings::Settings`].
    pub const SETTINGS: Self = Self(6);
    /// Networks of the mesh, and in which of them the origin has containers.
    pub const NETWORKS: Self = Self(7);

    /// Returns the topic with this number; `None` if it is out of range.
    pub fn new(number: u8) -> Option<Self> {
        (1..=MAX_TOPICS).contains(&number).then_some(Self(number))
    }

    /// Returns the number of the topic.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Returns true if the control plane itself makes records of this topic and checks those of others.
    pub fn is_built_in(self) -> bool {
        self <= Self::ATTACHED
    }

    /// Returns the hold-down: the shortest time between two records of one router about this topic.
    pub fn hold_down(self) -> Duration {
        match self {
            Self::NAMES => NAMES_HOLD_DOWN,
            _ => HOLD_DOWN,
        }
    }

    /// Returns the longest record of this topic in bytes, signature included.
    pub fn max_record(self) -> usize {
        match self {
            Self::IDENTITY => MAX_IDENTITY_RECORD,
            Self::LINKS => MAX_LINKS_RECORD,
            Self::ATTACHED | Self::NAMES | Self::ADDRESSES | Self::NETWORKS => MAX_RECORD,
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
            Self::NETWORKS => f.write_str("networks"),
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

/// Key of a record. The order is by origin, with the identity first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// Router that made the record.
    pub origin: PeerId,
    /// Topic of the record.
    pub topic: Topic,
}

impl RecordKey {
    /// Returns the key of the record of `origin` about `topic`.
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
        let words: Vec<String> = (1..=8)
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
                "networks",
                "topic 8"
            ]
        );
        assert!(Topic::ATTACHED.is_built_in() && !Topic::NAMES.is_built_in());
    }
}
