//! Names of a router: its announcement, and its view of all others', fed as `mesh_router::names` feeds it.

use std::collections::BTreeMap;

use mesh_names::{Container, LocalNames, Names};
use mesh_proto::control::{Control, Output};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

use super::fault::InjectedFault;

const TOPIC: Topic = Topic::NAMES;

/// The state machines, with their last inputs.
pub(crate) struct AnnouncedNames {
    local: LocalNames,
    names: Names,
    known: BTreeMap<PeerId, (Version, bool)>,
    fault: Option<InjectedFault>,
    /// Injected fault `OldNames`: the first announcement of each router, and the number of announcements.
    first: BTreeMap<PeerId, (Vec<u8>, u64)>,
}

impl AnnouncedNames {
    pub(crate) fn new(me: PeerId, fault: Option<InjectedFault>, now: Instant) -> Self {
        Self {
            local: LocalNames::default(),
            names: Names::new(me, now),
            known: BTreeMap::new(),
            fault,
            first: BTreeMap::new(),
        }
    }

    /// Returns the known names.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Sets the containers of the host. Returns the announcement if it changed.
    pub(crate) fn set_containers(&mut self, mut containers: Vec<Container>) -> Option<Vec<u8>> {
        if self.fault == Some(InjectedFault::ForgottenName) {
            containers.extend(self.stale(&containers));
        }
        if !self.local.set_containers(containers) {
            return None;
        }
        self.names.set_own(self.local.entries().clone());
        Some(self.local.statement().to_vec())
    }

    /// Injected fault `ForgottenName`: returns removed containers that are still in the announcement.
    fn stale(&self, containers: &[Container]) -> Vec<Container> {
        let entries = self.local.entries().iter();
        let gone = entries.filter(|(_, e)| !containers.iter().any(|c| c.names.contains(&e.name)));
        gone.map(|(network, entry)| Container {
            id: entry.container.clone(),
            network,
            names: vec![entry.name.clone()],
            addresses: entry.addresses.clone(),
            ports: Vec::new(),
        })
        .collect()
    }

    /// Handles an output of the control plane.
    pub(crate) fn hear(&mut self, output: &Output, control: &Control) {
        match output {
            Output::Announcement(key) if key.topic == TOPIC => self.look(key.origin, control),
            Output::Reach => {
                let origins: Vec<PeerId> = control
                    .announcements(TOPIC)
                    .map(|said| said.origin)
                    .collect();
                origins.into_iter().for_each(|o| self.look(o, control));
            }
            _ => {}
        }
    }

    fn look(&mut self, origin: PeerId, control: &Control) {
        if origin == control.me() {
            return;
        }
        let Some(said) = control.announcement(origin, TOPIC) else {
            if self.known.remove(&origin).is_some() {
                self.names.forget(&origin);
            }
            return;
        };
        let (version, reachable) = self.known.get(&origin).copied().unwrap_or_default();
        if version != said.version {
            self.take(origin, said.version, said.body);
        }
        if reachable != said.reachable && self.fault != Some(InjectedFault::ShownOutOfReach) {
            self.names.set_reachable(origin, said.reachable);
        } else if said.reachable {
            self.names.set_reachable(origin, true);
        }
        self.known.insert(origin, (said.version, said.reachable));
    }

    fn take(&mut self, origin: PeerId, version: Version, body: &[u8]) {
        // A malformed announcement is counted, and hides the previous one.
        let _ = match self.fault {
            Some(InjectedFault::OldNames) => {
                // Every second announcement is replaced by the first one, as if a delayed copy had arrived.
                let (first, times) = self.first.entry(origin).or_default();
                if first.is_empty() {
                    *first = body.to_vec();
                }
                *times += 1;
                let (seq, epoch) = (*times, u64::MAX);
                let old = times.is_multiple_of(2);
                let body = if old { first.as_slice() } else { body };
                let newer = Version { epoch, seq };
                self.names.handle_statement(origin, newer, body)
            }
            _ => self.names.handle_statement(origin, version, body),
        };
    }
}
