//! Announcements of names by other routers, on their way from the control plane to the DNS server; only the newest of each
//! router.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::control::Control;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::wire::topic::{RecordKey, Topic};

use crate::update::NameUpdate;

/// Routers whose updates are to be sent to the server.
#[derive(Debug, Default)]
pub struct UpdateFeed {
    /// Routers with possible updates; at most as many as the control plane knows.
    waiting: BTreeSet<PeerId>,
    /// Version and reachability of each router as last sent.
    sent: BTreeMap<PeerId, (Version, bool)>,
}

/// State of a router for the server, once an update is sent.
#[derive(Clone, Copy, Debug)]
pub struct SentState {
    origin: PeerId,
    /// Version and reachability; `None` if the server forgets the router.
    state: Option<(Version, bool)>,
}

impl UpdateFeed {
    /// Marks a router whose record was updated, if the topic is names.
    pub fn note_record(&mut self, key: RecordKey) {
        if key.topic == Topic::NAMES {
            self.waiting.insert(key.origin);
        }
    }

    /// Marks routers whose reachability changed.
    pub fn note_reach(&mut self, control: &Control) {
        for said in control.announcements(Topic::NAMES) {
            let now = Some(&(said.version, said.reachable));
            if self.sent.get(&said.origin) != now {
                self.waiting.insert(said.origin);
            }
        }
    }

    /// Returns true if updates wait.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the next update; it is returned again until [`UpdateFeed::commit`].
    pub fn next(&mut self, control: &Control) -> Option<(SentState, NameUpdate)> {
        while let Some(origin) = self.waiting.first().copied() {
            if origin != control.me()
                && let Some(update) = self.update_of(origin, control)
            {
                return Some(update);
            }
            self.waiting.remove(&origin);
        }
        None
    }

    /// Notes that an update was sent, or that the server has ended.
    pub fn commit(&mut self, sent: SentState) {
        match sent.state {
            Some(state) => drop(self.sent.insert(sent.origin, state)),
            None => drop(self.sent.remove(&sent.origin)),
        }
    }

    fn update_of(&self, origin: PeerId, control: &Control) -> Option<(SentState, NameUpdate)> {
        let sent = self.sent.get(&origin).copied();
        let step = |state| SentState { origin, state };
        let Some(said) = control.announcement(origin, Topic::NAMES) else {
            sent?;
            return Some((step(None), NameUpdate::Forgotten(origin)));
        };
        let (version, reachable) = sent.unwrap_or_default();
        if version != said.version {
            let update = NameUpdate::Announced {
                origin,
                version: said.version,
                body: said.body.to_vec(),
            };
            return Some((step(Some((said.version, reachable))), update));
        }
        if reachable != said.reachable {
            let update = NameUpdate::Reachable(origin, said.reachable);
            return Some((step(Some((said.version, said.reachable))), update));
        }
        None
    }
}
