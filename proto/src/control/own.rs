//! The router's own records: what it says of itself about each topic, and when it says it again.
//!
//! The first change after a quiet time is published at once, further ones at most every [`Topic::hold_down`], each topic by
//! itself, so that a flapping cable costs the mesh one record a second and not one per flap. Neighbours that come or go do
//! not wait, a few times; one that comes back at once does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::ids::{PeerPrefix, Version};
use crate::limits::{HOLD_DOWN, LINKS_BURST, LINKS_GAP};
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::bodies::{self, Attached, IdentityBody, Neighbour};
use crate::topology::record::SignedRecord;
use crate::wire::topic::Topic;

use super::pace::{Burst, Pace};

/// For links that come and go.
const LINKS: Burst = Burst {
    count: LINKS_BURST,
    gap: LINKS_GAP,
};

/// The own records, published and wanted.
#[derive(Debug)]
pub struct OwnRecords {
    identity: Arc<Identity>,
    body: IdentityBody,
    introduction: SignedRecord,
    epoch: u64,
    topics: BTreeMap<Topic, Statement>,
    raised: bool,
    /// Neighbours that went, and when: whoever is back within [`HOLD_DOWN`] may go again.
    gone: BTreeMap<PeerPrefix, Instant>,
}

/// What is said about one topic.
#[derive(Debug, Default)]
struct Statement {
    /// What is wanted.
    body: Vec<u8>,
    /// What was published in this run.
    signed: Option<SignedRecord>,
    seq: u64,
    dirty: bool,
    pace: Pace,
    /// Others wait for it: it need not wait as long as the rest.
    urgent: bool,
    /// Until then a change may wait for others: nobody's frames depend on it.
    lazy_until: Instant,
}

impl Statement {
    fn set(&mut self, body: Vec<u8>) {
        if self.body != body {
            self.body = body;
            self.dirty = true;
        }
    }

    fn due(&self) -> Option<Instant> {
        let not_before = self.pace.not_before(self.urgent);
        self.dirty.then_some(not_before.max(self.lazy_until))
    }
}

impl OwnRecords {
    /// Signs the first record of this start: who the router is.
    ///
    /// # Errors
    /// When the body breaks a bound (a nickname too long, …).
    pub fn new(
        identity: Arc<Identity>,
        epoch: u64,
        body: IdentityBody,
    ) -> Result<Self, RecordError> {
        let encoded = body.encode();
        let version = Version { epoch, seq: 1 };
        let introduction = SignedRecord::sign(Topic::IDENTITY, version, &encoded, &identity)?;
        let statement = Statement {
            body: encoded,
            signed: Some(introduction.clone()),
            seq: 1,
            ..Statement::default()
        };
        Ok(Self {
            identity,
            body,
            introduction,
            epoch,
            topics: BTreeMap::from([(Topic::IDENTITY, statement)]),
            raised: false,
            gone: BTreeMap::new(),
        })
    }

    /// This was said in this run already.
    pub(super) fn resume(&mut self, said: SignedRecord) {
        let statement = self.topics.entry(said.topic()).or_default();
        *statement = Statement {
            body: said.body().to_vec(),
            seq: said.version().seq,
            signed: Some(said),
            ..Statement::default()
        };
    }

    /// Who the router is, wanted changes included.
    pub fn body(&self) -> &IdentityBody {
        &self.body
    }

    /// Who the router is, as last published.
    pub fn introduction(&self) -> &SignedRecord {
        &self.introduction
    }

    /// The epoch of its records.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What was last published about a topic in this run.
    pub fn signed(&self, topic: Topic) -> Option<&SignedRecord> {
        self.topics.get(&topic)?.signed.as_ref()
    }

    /// The topics something was published about.
    pub fn published(&self) -> impl Iterator<Item = Topic> + '_ {
        let topics = self.topics.iter();
        topics
            .filter(|(_, s)| s.signed.is_some())
            .map(|(topic, _)| *topic)
    }

    /// What to say about a topic changed; an empty body says nothing more about it.
    pub fn set(&mut self, topic: Topic, body: Vec<u8>) {
        if !body.is_empty() || self.topics.contains_key(&topic) {
            self.topics.entry(topic).or_default().set(body);
        }
    }

    /// The neighbours changed. Where frames may go is told at once; the rest (a link that does not carry data yet, what
    /// one costs) within [`HOLD_DOWN`], when most of it will have changed again.
    pub fn set_neighbours(&mut self, neighbours: &[Neighbour], now: Instant) {
        let said = self
            .signed(Topic::LINKS)
            .map_or(&[][..], SignedRecord::links);
        let established = |all: &[Neighbour]| -> Vec<PeerPrefix> {
            let established = all.iter().filter(|n| n.established);
            established.map(|n| n.peer).collect()
        };
        let (said, wanted) = (established(said), established(neighbours));
        let changed = said != wanted;
        let urgent = self.came_or_went(&said, &wanted, now);
        let body = if neighbours.is_empty() {
            Vec::new()
        } else {
            bodies::encode_links(neighbours)
        };
        let waits = self
            .topics
            .get(&Topic::LINKS)
            .is_some_and(|links| links.dirty);
        self.set(Topic::LINKS, body);
        if let Some(links) = self.topics.get_mut(&Topic::LINKS) {
            links.urgent = urgent;
            if changed {
                links.lazy_until = Instant::ZERO;
            } else if !waits {
                links.lazy_until = now + HOLD_DOWN;
            }
        }
    }

    /// Whether there are neighbours that were not there a moment ago, or are no more.
    fn came_or_went(&mut self, said: &[PeerPrefix], wanted: &[PeerPrefix], now: Instant) -> bool {
        self.gone.retain(|_, at| now.since(*at) < HOLD_DOWN);
        let went: Vec<&PeerPrefix> = said.iter().filter(|p| !wanted.contains(p)).collect();
        self.gone.extend(went.iter().map(|peer| (**peer, now)));
        let is_new = |peer: &PeerPrefix| !said.contains(peer) && !self.gone.contains_key(peer);
        !went.is_empty() || wanted.iter().any(is_new)
    }

    /// The attached containers changed.
    pub fn set_attached(&mut self, attached: &[Attached]) {
        let body = if attached.is_empty() {
            Vec::new()
        } else {
            bodies::encode_attached(attached)
        };
        self.set(Topic::ATTACHED, body);
    }

    /// The addresses others may dial changed.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        if self.body.endpoints != endpoints {
            self.body.endpoints = endpoints;
            self.set(Topic::IDENTITY, self.body.encode());
        }
    }

    /// A record of ours is about that we did not make in this run: overtake it.
    ///
    /// The first time the epoch is raised above it, and the new one returned: the stored epoch was an old one, and
    /// others must notice that a new run began. After that it is a clone, and only the number is raised: a new epoch
    /// costs everybody's sessions with us. An epoch concerns all topics: what was said in a lower one is void.
    pub fn overtake(&mut self, topic: Topic, seen: Version) -> Option<u64> {
        if !self.raised && seen.epoch < u64::MAX {
            self.raised = true;
            self.begin_epoch(self.epoch.max(seen.epoch + 1), 0);
            return Some(self.epoch);
        }
        if seen.epoch > self.epoch {
            self.begin_epoch(seen.epoch, 0);
        }
        let statement = self.topics.entry(topic).or_default();
        statement.dirty = true;
        if seen.epoch == self.epoch {
            statement.seq = statement.seq.max(seen.seq);
        }
        None
    }

    /// Everything is said anew, and at once, for half of it would be void.
    fn begin_epoch(&mut self, epoch: u64, seq: u64) {
        self.epoch = epoch;
        for statement in self.topics.values_mut() {
            statement.seq = seq;
            statement.dirty = true;
            statement.pace.begin();
            statement.lazy_until = Instant::ZERO;
        }
    }

    /// When [`OwnRecords::publish`] would have something new.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.topics.values().filter_map(Statement::due).min()
    }

    /// Signs anew what changed and is not held down; in order of topics, so that the identity comes first.
    ///
    /// # Errors
    /// The first change that broke a bound; the record published before then stays as it is.
    pub fn publish(&mut self, now: Instant) -> Result<Vec<SignedRecord>, RecordError> {
        let mut published = Vec::new();
        let mut failed = Ok(());
        for (topic, statement) in &mut self.topics {
            if statement.due().is_none_or(|at| now < at) {
                continue;
            }
            statement.dirty = false;
            statement.urgent = false;
            statement.pace.done(topic.hold_down(), LINKS, now);
            statement.seq = statement.seq.saturating_add(1);
            let version = Version {
                epoch: self.epoch,
                seq: statement.seq,
            };
            match SignedRecord::sign(*topic, version, &statement.body, &self.identity) {
                Ok(signed) => {
                    if *topic == Topic::IDENTITY {
                        self.introduction = signed.clone();
                    }
                    statement.signed = Some(signed.clone());
                    published.push(signed);
                }
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        if published.is_empty() {
            failed?;
        }
        Ok(published)
    }
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
