//! Settings that must be the same on all routers and are not: said at every router, with names and values.

use std::collections::BTreeMap;

use crate::ids::PeerId;
use crate::topology::settings::{DEFAULT_SUBNET, DNS_DOMAIN, MTU, Settings};
use crate::wire::topic::Topic;

use super::Control;

/// Routers named for one value; further ones are counted.
const NAMED: usize = 4;

impl Control {
    /// One warning for each setting in which routers within reach differ from this one.
    pub(super) fn setting_warnings(&self) -> Vec<String> {
        let Some(ours) = self.said_by(self.me, Topic::SETTINGS) else {
            return Vec::new();
        };
        let ours = Settings::decode(ours.body);
        let mut differing = BTreeMap::<(String, String), BTreeMap<String, Vec<PeerId>>>::new();
        for said in self.said(Topic::SETTINGS) {
            if said.origin == self.me || !said.reachable {
                continue;
            }
            for (name, mine, theirs) in ours.differences(&Settings::decode(said.body)) {
                let values = differing.entry((name.to_owned(), mine.to_owned()));
                let routers = values.or_default().entry(theirs.to_owned()).or_default();
                routers.push(said.origin);
            }
        }
        let warning =
            |((name, mine), values): ((String, String), BTreeMap<String, Vec<PeerId>>)| {
                let others: Vec<String> = values
                    .into_iter()
                    .take(NAMED)
                    .map(|(value, routers)| format!("{value} on {}", self.display_some(&routers)))
                    .collect();
                Some(format!(
                    "--{name} is {mine} here and {}: {}; start all routers with the same",
                    others.join(", "),
                    consequence(&name)?
                ))
            };
        differing.into_iter().filter_map(warning).collect()
    }

    fn display_some(&self, routers: &[PeerId]) -> String {
        let named = routers.iter().take(NAMED).map(|peer| self.display(peer));
        let named: Vec<String> = named.collect();
        match routers.len().saturating_sub(NAMED) {
            0 => named.join(" and "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// What comes of it; none of a setting that is not compared.
fn consequence(name: &str) -> Option<&'static str> {
    match name {
        MTU => Some("packets longer than the smaller one are lost between them"),
        DNS_DOMAIN => Some("containers have names in different domains"),
        DEFAULT_SUBNET => Some("containers that ask for no address are in different subnets"),
        _ => None,
    }
}
