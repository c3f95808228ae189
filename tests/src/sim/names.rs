//! A router's names: what it states of its containers, and its view of all others', fed as `mesh_router::names` feeds it.

use std::collections::BTreeMap;

use mesh_proto::control::{Control, Output};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::names::{Container, LocalNames, Names};
use mesh_proto::time::Instant;
use mesh_proto::topology::topic::Topic;

use super::planted::Planted;

const TOPIC: Topic = Topic::NAMES;

/// The state machines and what they were told last.
pub(crate) struct NamesView {
    local: LocalNames,
    names: Names,
    known: BTreeMap<PeerId, (Version, bool)>,
    fault: Option<Planted>,
    /// Planted fault: what each router said first, and how many times it was said.
    first: BTreeMap<PeerId, (Vec<u8>, u64)>,
}

impl NamesView {
    pub(crate) fn new(me: PeerId, fault: Option<Planted>, now: Instant) -> Self {
        Self {
            local: LocalNames::default(),
            names: Names::new(me, now),
            known: BTreeMap::new(),
            fault,
            first: BTreeMap::new(),
        }
    }

    /// What it knows.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The containers of the host; what is to be stated, if that changed.
    pub(crate) fn set_containers(&mut self, mut containers: Vec<Container>) -> Option<Vec<u8>> {
        if self.fault == Some(Planted::ForgottenName) {
            containers.extend(self.stale(&containers));
        }
        if !self.local.set_containers(containers) {
            return None;
        }
        self.names.set_own(self.local.entries().to_vec());
        Some(self.local.statement().to_vec())
    }

    /// Planted fault: containers that are gone, as the statement has them.
    fn stale(&self, containers: &[Container]) -> Vec<Container> {
        let entries = self.local.entries().iter();
        let gone = entries.filter(|e| !containers.iter().any(|c| c.names.contains(&e.name)));
        gone.map(|entry| Container {
            id: entry.container.clone(),
            names: vec![entry.name.clone()],
            addresses: entry.addresses.clone(),
            ports: Vec::new(),
        })
        .collect()
    }

    /// Something the control plane tells.
    pub(crate) fn hear(&mut self, output: &Output, control: &Control) {
        match output {
            Output::Said(key) if key.topic == TOPIC => self.look(key.origin, control),
            Output::Reach => {
                let origins: Vec<PeerId> = control.said(TOPIC).map(|said| said.origin).collect();
                origins.into_iter().for_each(|o| self.look(o, control));
            }
            _ => {}
        }
    }

    fn look(&mut self, origin: PeerId, control: &Control) {
        if origin == control.me() {
            return;
        }
        let Some(said) = control.said_by(origin, TOPIC) else {
            if self.known.remove(&origin).is_some() {
                self.names.forget(&origin);
            }
            return;
        };
        let (version, reachable) = self.known.get(&origin).copied().unwrap_or_default();
        if version != said.version {
            self.take(origin, said.version, said.body);
        }
        if reachable != said.reachable && self.fault != Some(Planted::ShownOutOfReach) {
            self.names.set_reachable(origin, said.reachable);
        } else if said.reachable {
            self.names.set_reachable(origin, true);
        }
        self.known.insert(origin, (said.version, said.reachable));
    }

    fn take(&mut self, origin: PeerId, version: Version, body: &[u8]) {
        // What is malformed is counted, and hides what was said before.
        let _ = match self.fault {
            Some(Planted::OldNames) => {
                // Each second statement is the first that was ever heard, as a copy that was late would be.
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
