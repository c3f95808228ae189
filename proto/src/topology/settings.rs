//! Settings that must be equal on all routers of a mesh, as announced by each: the body of a record about
//! [`crate::wire::topic::Topic::SETTINGS`].
//!
//! Lines of UTF-8 text, `name=value`, with the names of the command line. Unknown names are ignored.

use std::collections::BTreeMap;

use crate::limits::{MAX_SETTING, MAX_SETTINGS};

/// MTU inside the mesh, in decimal.
pub const MTU: &str = "mtu";
/// DNS domain of the mesh.
pub const DNS_DOMAIN: &str = "dns-domain";
/// Subnet of containers that request no other.
pub const DEFAULT_SUBNET: &str = "ipalloc-default-subnet";
/// IPv6 subnet of the network `default`, or `off`.
pub const RANGE6: &str = "ipalloc-range6";

/// Settings of one router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Adds a setting. A value longer than [`MAX_SETTING`], or with control characters, is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    fn add(&mut self, name: &str, value: &str) {
        let fits = |text: &str| text.len() <= MAX_SETTING && !text.chars().any(char::is_control);
        if self.0.len() < MAX_SETTINGS && fits(name) && fits(value) && !name.contains('=') {
            self.0.entry(name.to_owned()).or_insert(value.to_owned());
        }
    }

    /// Encodes the body of the record.
    pub fn encode(&self) -> Vec<u8> {
        let line = |(name, value): (&String, &String)| format!("{name}={value}\n");
        self.0.iter().map(line).collect::<String>().into_bytes()
    }

    /// Decodes the body of a record. Lines of another form, and lines beyond [`MAX_SETTINGS`], are ignored.
    pub fn decode(body: &[u8]) -> Self {
        let most = MAX_SETTINGS * (2 * MAX_SETTING + 2);
        let body = body.get(..most).unwrap_or(body);
        let mut settings = Self::default();
        for line in body.split(|byte| *byte == b'\n') {
            let line = core::str::from_utf8(line).unwrap_or_default();
            if let Some((name, value)) = line.split_once('=') {
                settings.add(name, value);
            }
        }
        settings
    }

    /// Returns the settings that both have with different values, as (name, ours, theirs).
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.0.iter().filter_map(|(name, ours)| {
            let theirs = other.0.get(name).filter(|theirs| *theirs != ours)?;
            Some((name.as_str(), ours.as_str(), theirs.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_settings_of_both_sides_can_differ() {
        let ours = Settings::default().with(MTU, "8876").with("new", "1");
        let theirs = Settings::default().with(MTU, "1376").with("other", "2");
        let theirs = Settings::decode(&theirs.encode());
        let all: Vec<_> = ours.differences(&theirs).collect();
        assert_eq!(all, [(MTU, "8876", "1376")]);
        assert_eq!(ours.differences(&ours).count(), 0);
    }

    #[test]
    fn settings_that_are_not_printable_are_left_out() {
        let bad = Settings::decode(b"mtu=13\x1b[2J76\nmtu\n=\xff\ndns-domain=a\rb\n");
        assert_eq!(bad, Settings::default());
        let long = "x".repeat(MAX_SETTING + 1);
        assert_eq!(Settings::default().with(MTU, &long), Settings::default());
    }

    proptest! {
        #[test]
        fn any_body_decodes_and_round_trips(body in proptest::collection::vec(prop_oneof![Just(b'='), Just(b'\n'), any::<u8>()], 0..300)) {
            let settings = Settings::decode(&body);
            prop_assert!(settings.0.len() <= MAX_SETTINGS);
            prop_assert_eq!(Settings::decode(&settings.encode()), settings);
        }
    }
}
