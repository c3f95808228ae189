//! Origination: the records of this router, one for each topic, and when a change of one is published.
//!
//! The first change after a quiet time is published at once, further ones at most every [`Topic::hold_down`], each topic by
//! itself, so that a flapping cable costs the mesh one record a second and not one per flap. Neighbours that come or go do
//! not wait, a few times; one that comes back at once does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::ids::{PeerId, PeerPrefix, Version};
use crate::limits::{HOLD_DOWN, LINKS_BURST, LINKS_GAP};
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::bodies::{self, Attached, IdentityBody, Neighbour};
use crate::topology::record::SignedRecord;
use crate::topology::unicast::SignedUnicast;
use crate::wire::topic::Topic;

use super::super::hold_down::{Burst, HoldDown};

/// Allowance for links that come and go.
const LINKS: Burst = Burst {
    count: LINKS_BURST,
    gap: LINKS_GAP,
};

/// The records of this router, published and pending.
#[derive(Debug)]
pub(crate) struct LocalRecords {
    identity: Arc<Identity>,
    body: IdentityBody,
    introduction: SignedRecord,
    epoch: u64,
    topics: BTreeMap<Topic, LocalRecord>,
    raised: bool,
    /// Neighbours that went, and when: one that is back within [`HOLD_DOWN`] may go again.
    gone: BTreeMap<PeerPrefix, Instant>,
}

/// The record of one topic.
#[derive(Debug, Default)]
struct LocalRecord {
    /// Body to publish.
    body: Vec<u8>,
    /// Record published in this run.
    signed: Option<SignedRecord>,
    seq: u64,
    dirty: bool,
    hold_down: HoldDown,
    /// True if other routers wait for it: the hold-down is shorter then.
    urgent: bool,
    /// Time until which a change waits for further ones: no frames depend on it.
    lazy_until: Instant,
}

impl LocalRecord {
    fn set(&mut self, body: Vec<u8>) {
        if self.body != body {
            self.body = body;
            self.dirty = true;
        }
    }

    fn due(&self) -> Option<Instant> {
        let not_before = self.hold_down.not_before(self.urgent);
        self.dirty.then_some(not_before.max(self.lazy_until))
    }
}

impl LocalRecords {
    /// Signs the first record of this run, the identity of the router.
    ///
    /// # Errors
    /// When the body breaks a bound (a nickname too long, …).
    pub(crate) fn new(
        identity: Arc<Identity>,
        epoch: u64,
        body: IdentityBody,
    ) -> Result<Self, RecordError> {
        let encoded = body.encode();
        let version = Version { epoch, seq: 1 };
        let introduction = SignedRecord::sign(Topic::IDENTITY, version, &encoded, &identity)?;
        let local = LocalRecord {
            body: encoded,
            signed: Some(introduction.clone()),
            seq: 1,
            ..LocalRecord::default()
        };
        Ok(Self {
            identity,
            body,
            introduction,
            epoch,
            topics: BTreeMap::from([(Topic::IDENTITY, local)]),
            raised: false,
            gone: BTreeMap::new(),
        })
    }

    /// Takes over a record that was published in this run already.
    pub(crate) fn resume(&mut self, published: SignedRecord) {
        let local = self.topics.entry(published.topic()).or_default();
        *local = LocalRecord {
            body: published.body().to_vec(),
            seq: published.version().seq,
            signed: Some(published),
            ..LocalRecord::default()
        };
    }

    /// Returns the identity of the router, pending changes included.
    pub(crate) fn body(&self) -> &IdentityBody {
        &self.body
    }

    /// Returns the identity record as last published.
    pub(crate) fn introduction(&self) -> &SignedRecord {
        &self.introduction
    }

    /// Returns the epoch of the records.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Signs a message to one router.
    ///
    /// # Errors
    /// When the body is too long.
    pub(crate) fn sign_unicast(
        &self,
        topic: Topic,
        to: PeerId,
        body: &[u8],
    ) -> Result<SignedUnicast, RecordError> {
        SignedUnicast::sign(topic, to, body, &self.identity)
    }

    /// Returns the record last published about a topic in this run.
    pub(crate) fn signed(&self, topic: Topic) -> Option<&SignedRecord> {
        self.topics.get(&topic)?.signed.as_ref()
    }

    /// Returns the topics with a published record.
    #[cfg(test)]
    pub(crate) fn published(&self) -> impl Iterator<Item = Topic> + '_ {
        let topics = self.topics.iter();
        topics
            .filter(|(_, s)| s.signed.is_some())
            .map(|(topic, _)| *topic)
    }

    /// Sets the body to publish about a topic; an empty one withdraws the last.
    pub(crate) fn set(&mut self, topic: Topic, body: Vec<u8>) {
        if !body.is_empty() || self.topics.contains_key(&topic) {
            self.topics.entry(topic).or_default().set(body);
        }
    }

    /// Sets the neighbours to announce. Which links carry frames is published at once; the rest (a new cost) within
    /// [`HOLD_DOWN`], when most of it will have changed again.
    pub(crate) fn set_neighbours(&mut self, neighbours: &[Neighbour], now: Instant) {
        let published = self
            .signed(Topic::LINKS)
            .map_or(&[][..], SignedRecord::links);
        let established = |all: &[Neighbour]| -> Vec<PeerPrefix> {
            let established = all.iter().filter(|n| n.established);
            established.map(|n| n.peer).collect()
        };
        let (published, wanted) = (established(published), established(neighbours));
        let changed = published != wanted;
        let urgent = self.came_or_went(&published, &wanted, now);
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

    /// Returns true if there are neighbours that were not there a moment ago, or if some are gone.
    fn came_or_went(
        &mut self,
        published: &[PeerPrefix],
        wanted: &[PeerPrefix],
        now: Instant,
    ) -> bool {
        self.gone.retain(|_, at| now.since(*at) < HOLD_DOWN);
        let went: Vec<&PeerPrefix> = published.iter().filter(|p| !wanted.contains(p)).collect();
        self.gone.extend(went.iter().map(|peer| (**peer, now)));
        let is_new = |peer: &PeerPrefix| !published.contains(peer) && !self.gone.contains_key(peer);
        !went.is_empty() || wanted.iter().any(is_new)
    }

    /// Sets the attached containers to announce.
    pub(crate) fn set_attached(&mut self, attached: &[Attached]) {
        let body = if attached.is_empty() {
            Vec::new()
        } else {
            bodies::encode_attached(attached)
        };
        self.set(Topic::ATTACHED, body);
    }

    /// Sets the addresses to announce for dialling.
    pub(crate) fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        if self.body.endpoints != endpoints {
            self.body.endpoints = endpoints;
            self.set(Topic::IDENTITY, self.body.encode());
        }
    }

    /// Overtakes a record of this router that it did not make in this run.
    ///
    /// The first time the epoch is raised above that of the record, and the new epoch returned: the stored epoch was an old
    /// one, and others must notice that a new run began. Later ones are those of a duplicate of this router, and only the
    /// sequence number is raised: a new epoch costs all sessions with this router. An epoch concerns all topics: records of
    /// lower epochs are void.
    pub(crate) fn overtake(&mut self, topic: Topic, seen: Version) -> Option<u64> {
        if !self.raised && seen.epoch < u64::MAX {
            self.raised = true;
            self.begin_epoch(self.epoch.max(seen.epoch + 1), 0);
            return Some(self.epoch);
        }
        if seen.epoch > self.epoch {
            self.begin_epoch(seen.epoch, 0);
        }
        let local = self.topics.entry(topic).or_default();
        local.dirty = true;
        if seen.epoch == self.epoch {
            local.seq = local.seq.max(seen.seq);
        }
        None
    }

    /// Publishes all records again, at once: those of lower epochs are void.
    fn begin_epoch(&mut self, epoch: u64, seq: u64) {
        self.epoch = epoch;
        for local in self.topics.values_mut() {
            local.seq = seq;
            local.dirty = true;
            local.hold_down.reset();
            local.lazy_until = Instant::ZERO;
        }
    }

    /// Returns the time at which [`LocalRecords::publish`] has a record to publish.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.topics.values().filter_map(LocalRecord::due).min()
    }

    /// Signs the records that changed and are not held down, in order of topics, so that the identity comes first.
    ///
    /// # Errors
    /// The first change that broke a bound; the record published before then stays as it is.
    pub(crate) fn publish(&mut self, now: Instant) -> Result<Vec<SignedRecord>, RecordError> {
        let mut published = Vec::new();
        let mut failed = Ok(());
        for (topic, local) in &mut self.topics {
            if local.due().is_none_or(|at| now < at) {
                continue;
            }
            local.dirty = false;
            local.urgent = false;
            local.hold_down.done(topic.hold_down(), LINKS, now);
            local.seq = local.seq.saturating_add(1);
            let version = Version {
                epoch: self.epoch,
                seq: local.seq,
            };
            match SignedRecord::sign(*topic, version, &local.body, &self.identity) {
                Ok(signed) => {
                    if *topic == Topic::IDENTITY {
                        self.introduction = signed.clone();
                    }
                    local.signed = Some(signed.clone());
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
#[path = "origination_tests.rs"]
mod tests;
