//! What other routers say of names, from the control plane to the DNS server's thread: of each router the newest only.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::control::Control;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::topology::topic::{RecordKey, Topic};
use tokio::sync::mpsc;

use crate::dns::Told;

/// The control plane's end.
#[derive(Debug)]
pub struct NamesFeed {
    /// None where there is no server.
    told: Option<mpsc::Sender<Told>>,
    /// Routers about which there may be news; at most as many as the control plane knows.
    waiting: BTreeSet<PeerId>,
    /// What was told last.
    known: BTreeMap<PeerId, (Version, bool)>,
}

impl NamesFeed {
    /// To this server, if there is one.
    pub fn new(told: Option<mpsc::Sender<Told>>) -> Self {
        Self {
            told,
            waiting: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    /// Something else is said about a topic.
    pub fn said(&mut self, key: RecordKey) {
        if key.topic == Topic::NAMES && self.told.is_some() {
            self.waiting.insert(key.origin);
        }
    }

    /// Others are within reach than before.
    pub fn reach(&mut self, control: &Control) {
        if self.told.is_none() {
            return;
        }
        for said in control.said(Topic::NAMES) {
            let now = Some(&(said.version, said.reachable));
            if self.known.get(&said.origin) != now {
                self.waiting.insert(said.origin);
            }
        }
    }

    /// Whether there are news for which there was no room.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns when there is room again.
    pub async fn room(&self) {
        if let Some(told) = &self.told {
            // An error is the end of the server: there is room for nothing that anybody will read.
            let _ = told.reserve().await;
        }
    }

    /// Tells as much as there is room for.
    pub fn tell(&mut self, control: &Control) {
        while let Some(origin) = self.waiting.pop_first() {
            if origin != control.me() && !self.tell_of(origin, control) {
                self.waiting.insert(origin);
                return;
            }
        }
    }

    /// Whether there was room for all of it.
    fn tell_of(&mut self, origin: PeerId, control: &Control) -> bool {
        let Some(told) = &self.told else {
            return true;
        };
        let known = self.known.get(&origin).copied();
        let Some(said) = control.said_by(origin, Topic::NAMES) else {
            if known.is_none() {
                return true;
            }
            let is_told = has_room(&told.try_send(Told::Forgotten(origin)));
            if is_told {
                self.known.remove(&origin);
            }
            return is_told;
        };
        let (version, reachable) = known.unwrap_or_default();
        if version != said.version {
            let news = Told::Said {
                origin,
                version: said.version,
                body: said.body.to_vec(),
            };
            if !has_room(&told.try_send(news)) {
                return false;
            }
            self.known.insert(origin, (said.version, reachable));
        }
        if reachable != said.reachable {
            if !has_room(&told.try_send(Told::Reachable(origin, said.reachable))) {
                return false;
            }
            self.known.insert(origin, (said.version, said.reachable));
        }
        true
    }
}

/// A server that has ended takes everything.
fn has_room<T>(sent: &Result<(), mpsc::error::TrySendError<T>>) -> bool {
    !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
}
