//! Announcements of names by other routers, on their way from the control plane to the DNS thread; only the newest of
//! each router.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::control::Control;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::wire::topic::{RecordKey, Topic};
use tokio::sync::mpsc;

use crate::dns::Told;

/// Control plane's end of the feed.
#[derive(Debug)]
pub struct NamesFeed {
    /// Sender to the server; `None` without a server.
    told: Option<mpsc::Sender<Told>>,
    /// Routers with possible updates; at most as many as the control plane knows.
    waiting: BTreeSet<PeerId>,
    /// Version and reachability of each router as last sent.
    known: BTreeMap<PeerId, (Version, bool)>,
}

impl NamesFeed {
    /// Returns a feed to this server, if there is one.
    pub fn new(told: Option<mpsc::Sender<Told>>) -> Self {
        Self {
            told,
            waiting: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    /// Marks a router whose record was updated, if the topic is names.
    pub fn said(&mut self, key: RecordKey) {
        if key.topic == Topic::NAMES && self.told.is_some() {
            self.waiting.insert(key.origin);
        }
    }

    /// Marks routers whose reachability changed.
    pub fn reach(&mut self, control: &Control) {
        if self.told.is_none() {
            return;
        }
        for said in control.announcements(Topic::NAMES) {
            let now = Some(&(said.version, said.reachable));
            if self.known.get(&said.origin) != now {
                self.waiting.insert(said.origin);
            }
        }
    }

    /// True if updates wait for room in the channel.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until the channel has room.
    pub async fn room(&self) {
        if let Some(told) = &self.told {
            // An error means that the server has ended, so the caller may continue.
            let _ = told.reserve().await;
        }
    }

    /// Sends updates until the channel is full.
    pub fn tell(&mut self, control: &Control) {
        while let Some(origin) = self.waiting.pop_first() {
            if origin != control.me() && !self.tell_of(origin, control) {
                self.waiting.insert(origin);
                return;
            }
        }
    }

    /// Sends the update of one router. Returns false if the channel is full.
    fn tell_of(&mut self, origin: PeerId, control: &Control) -> bool {
        let Some(told) = &self.told else {
            return true;
        };
        let known = self.known.get(&origin).copied();
        let Some(said) = control.announcement(origin, Topic::NAMES) else {
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

/// True if the message was sent, or the server has ended.
fn has_room<T>(sent: &Result<(), mpsc::error::TrySendError<T>>) -> bool {
    !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
}
