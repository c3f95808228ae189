//! The warnings in `mesh status`.

use std::collections::BTreeMap;

use crate::crypto::secret::SecretKind;
use crate::ids::PeerId;
use crate::topology::settings::{DEFAULT_SUBNET, DNS_DOMAIN, MTU, RANGE6, Settings};
use crate::wire::topic::Topic;

use super::ControlStatus;

/// Names that several routers bear which are warned of, and routers named for each.
const MAX_NAMES_WARNED: usize = 8;
/// Routers named for one value of a setting; further ones are counted.
const NAMED: usize = 4;

impl ControlStatus<'_> {
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.config.secret.kind() == SecretKind::Open {
            warnings.push(
                "anyone who can reach this router's port may join the mesh; give all routers a --key-file \
                 (mesh keygen) or a --password-file"
                    .to_owned(),
            );
        }
        warnings.extend(self.duplicate_names());
        warnings.extend(self.setting_warnings());
        warnings.extend(self.view.gossip.duplicate_warning());
        warnings.extend(self.routing.flap_warnings(self.view.gossip, self.now));
        warnings.extend(self.routing.contest_warnings(self.view.gossip, self.now));
        if self.view.gossip.lsdb().is_full(self.now) {
            warnings.push(format!(
                "there is no room for all that is said in the mesh ({} KiB of records of {} routers): newcomers may not be \
                 known here; look for a member that makes up routers (mesh report, \"peers\")",
                self.view.gossip.lsdb().bytes() / 1024,
                self.view.gossip.lsdb().len()
            ));
        }
        warnings.extend(self.view.paths.looped_warnings(self.view.links, self.now));
        warnings
    }

    fn duplicate_names(&self) -> Vec<String> {
        let mut by_name: BTreeMap<_, Vec<PeerId>> = BTreeMap::new();
        for peer in self.view.routes.reachable() {
            if let Some(body) = self.view.gossip.identity(&peer) {
                by_name.entry(body.name).or_default().push(peer);
            }
        }
        let shared = by_name.into_iter().filter(|(_, peers)| peers.len() > 1);
        shared
            .take(MAX_NAMES_WARNED)
            .map(|(name, peers)| {
                let who = peers.iter().take(MAX_NAMES_WARNED);
                let who: Vec<String> = who.map(|p| self.view.gossip.display(p)).collect();
                format!(
                    "{} routers bear the name {name}: {}; give each its own --name",
                    peers.len(),
                    who.join(", ")
                )
            })
            .collect()
    }

    /// Returns one warning for each setting in which routers within reach differ from this one.
    pub(crate) fn setting_warnings(&self) -> Vec<String> {
        let me = self.config.identity.id();
        let Some(ours) = self.view.gossip.announcement(me, Topic::SETTINGS) else {
            return Vec::new();
        };
        let ours = Settings::decode(ours.body);
        let mut differing = BTreeMap::<(String, String), BTreeMap<String, Vec<PeerId>>>::new();
        for said in self.view.gossip.announcements(Topic::SETTINGS) {
            if said.origin == me || !said.reachable {
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
        let named = routers
            .iter()
            .take(NAMED)
            .map(|peer| self.view.gossip.display(peer));
        let named: Vec<String> = named.collect();
        match routers.len().saturating_sub(NAMED) {
            0 => named.join(" and "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// Returns the consequence; none of a setting that is not compared.
fn consequence(name: &str) -> Option<&'static str> {
    match name {
        MTU => Some("packets longer than the smaller one are lost between them"),
        DNS_DOMAIN => Some("containers have names in different domains"),
        DEFAULT_SUBNET => Some("containers that ask for no address are in different subnets"),
        RANGE6 => Some("their containers do not reach one another by IPv6"),
        _ => None,
    }
}
