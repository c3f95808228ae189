//! Checks in the middle of some scenarios.

use std::collections::BTreeSet;

use mesh_proto::limits::{REJECT_AFTER, SESSION_SILENCE, SESSION_UPKEEP};

use super::invariants::Violation;
use super::network::HostId;
use super::world::World;

const CLONES: &str = "S4 clones are noticed";
const RENEWED: &str = "S5 keys are renewed";

impl World {
    /// Checks a duplicate identity: at least one of the two routers must report it, and all other routers must reach
    /// each other as before.
    pub(crate) fn check_clone(&mut self, of: HostId, copy: HostId) {
        let now = self.now;
        let warnings = [of, copy].map(|h| self.router(h).map(|r| r.warnings(now)));
        let told = |w: &String| w.contains("router's key");
        if !warnings.iter().flatten().flatten().any(told) {
            let detail =
                format!("neither router {of} nor {copy} knows that their key is in use twice");
            return self.check(Err(Violation::new(CLONES, detail)));
        }
        let mut others = self.running();
        others.retain(|h| ![of, copy].contains(h));
        for component in self.components_of(&others) {
            for host in &component {
                let reachable = self.router(*host).map(|r| r.reachable());
                let reachable: BTreeSet<HostId> = reachable
                    .iter()
                    .flatten()
                    .filter_map(|p| self.who.get(p).copied())
                    .collect();
                if !component.is_subset(&reachable) {
                    let detail = format!("router {host} reaches {reachable:?}, not {component:?}");
                    return self.check(Err(Violation::new(CLONES, detail)));
                }
            }
        }
    }

    /// Ends sessions with a clone, which outlive it unnoticed until frames get no reply: sends frames between all
    /// routers and the remaining one, and waits for new sessions.
    pub(crate) fn outlive_copies(&mut self) {
        let Some(of) = self.copied else { return };
        for other in self.running() {
            for (from, to) in [(other, of), (of, other)] {
                self.say(from, to);
            }
        }
        self.step_to(self.now + SESSION_SILENCE + SESSION_UPKEEP * 2);
    }

    fn say(&mut self, from: HostId, to: HostId) {
        let mac = |h: HostId| self.hosts[h].containers.first().map(|c| c.mac);
        if let (true, Some(source), Some(target)) = (from != to, mac(from), mac(to)) {
            let (_, bytes) = self.ledger.frame(from, source, target, 100);
            self.speak(from, &[bytes]);
        }
    }

    /// Checks that every session in use is younger than the age at which its keys are rejected.
    pub(crate) fn check_renewed(&mut self) {
        let now = self.now;
        for host in self.running() {
            let Some(oldest) = self.router(host).and_then(|r| r.oldest_key(now)) else {
                let detail = format!("router {host} has no session at all");
                return self.check(Err(Violation::new(RENEWED, detail)));
            };
            if oldest >= REJECT_AFTER {
                let detail = format!("router {host} holds a key {} s old", oldest.as_secs());
                return self.check(Err(Violation::new(RENEWED, detail)));
            }
        }
    }
}
