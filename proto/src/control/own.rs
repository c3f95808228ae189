//! The router's own records: what it says of itself about each topic, and when it says it again.
//!
//! The first change after a quiet time is published at once, further ones at most every [`Topic::hold_down`], each topic by
//! itself, so that a flapping cable costs the mesh one record a second and not one per flap.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::ids::{PeerPrefix, Version};
use crate::limits::HOLD_DOWN;
use crate::time::Instant;
use crate::topology::bodies::{self, Attached, IdentityBody, Neighbour};
use crate::topology::record::{RecordError, SignedRecord};
use crate::topology::topic::Topic;

/// The own records, published and wanted.
#[derive(Debug)]
pub struct OwnRecords {
    identity: Arc<Identity>,
    body: IdentityBody,
    introduction: SignedRecord,
    epoch: u64,
    topics: BTreeMap<Topic, Statement>,
    raised: bool,
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
    not_before: Instant,
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
        self.dirty.then_some(self.not_before.max(self.lazy_until))
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
        })
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
        let urgent = established(said) != established(neighbours);
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
            if urgent {
                links.lazy_until = Instant::ZERO;
            } else if !waits {
                links.lazy_until = now + HOLD_DOWN;
            }
        }
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
            statement.not_before = Instant::ZERO;
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
            statement.not_before = now + topic.hold_down();
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
mod tests {
    use super::*;
    use crate::ids::PeerName;

    fn own() -> OwnRecords {
        let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
        let body = IdentityBody::new(&identity, PeerName([2; 6]), "a".into());
        OwnRecords::new(identity, 2, body).unwrap()
    }

    fn publish(own: &mut OwnRecords, now: Instant) -> Vec<(Topic, Version)> {
        let published = own.publish(now).unwrap();
        published.iter().map(|r| (r.topic(), r.version())).collect()
    }

    const fn version(epoch: u64, seq: u64) -> Version {
        Version { epoch, seq }
    }

    #[test]
    fn an_old_epoch_is_raised_once_and_a_clone_costs_numbers_only() {
        let mut own = own();
        let now = Instant::ZERO;
        own.set(Topic::NAMES, vec![1]);
        assert_eq!(publish(&mut own, now), [(Topic::NAMES, version(2, 1))]);
        assert_eq!(own.overtake(Topic::IDENTITY, version(7, 40)), Some(8));
        let all = [
            (Topic::IDENTITY, version(8, 1)),
            (Topic::NAMES, version(8, 1)),
        ];
        assert_eq!(publish(&mut own, now), all, "hold-down or not");
        assert_eq!(own.overtake(Topic::NAMES, version(9, 5)), None);
        let all = [
            (Topic::IDENTITY, version(9, 1)),
            (Topic::NAMES, version(9, 6)),
        ];
        assert_eq!(publish(&mut own, now), all);
        assert_eq!(own.overtake(Topic::NAMES, version(9, 8)), None);
        assert_eq!(publish(&mut own, now), []);
        let now = now + HOLD_DOWN;
        assert_eq!(publish(&mut own, now), [(Topic::NAMES, version(9, 9))]);
    }

    #[test]
    fn what_somebody_else_says_about_a_topic_of_which_we_say_nothing_is_taken_back() {
        let mut own = own();
        own.raised = true;
        own.overtake(Topic::ATTACHED, version(2, 3));
        let published = own.publish(Instant::ZERO).unwrap();
        assert_eq!(
            (published[0].version(), published[0].body()),
            (version(2, 4), &[][..])
        );
        assert_eq!(published[0].attached(), []);
    }

    #[test]
    fn the_epoch_before_this_one_restored_is_raised_too() {
        let mut own = own();
        assert_eq!(own.overtake(Topic::LINKS, version(2, 9)), Some(3));
    }

    #[test]
    fn the_highest_version_there_is_overflows_nothing() {
        let mut own = own();
        let last = version(u64::MAX, u64::MAX);
        assert_eq!(own.overtake(Topic::IDENTITY, last), None);
        assert_eq!(publish(&mut own, Instant::ZERO), [(Topic::IDENTITY, last)]);
    }

    #[test]
    fn names_are_told_four_times_a_second() {
        let mut own = own();
        own.publish(Instant::ZERO).unwrap();
        let mut told = Vec::new();
        for millis in 0..600u32 {
            own.set(Topic::NAMES, millis.to_be_bytes().to_vec());
            let now = Instant::from_nanos(u64::from(millis) * 1_000_000);
            told.extend(own.publish(now).unwrap().iter().map(|_| millis));
        }
        assert_eq!(told, [0, 250, 500]);
    }

    #[test]
    fn a_flapping_neighbour_costs_one_record_a_second() {
        let mut own = own();
        let mut published = 0;
        for millis in 0..2_500 {
            let flap = usize::from(millis % 2 == 0);
            let address = SocketAddr::from(([10, 0, 0, 1], 1));
            own.set_endpoints(vec![address; flap]);
            let now = Instant::from_nanos(millis * 1_000_000);
            published += own.publish(now).unwrap().len();
        }
        assert_eq!(published, 3);
    }

    #[test]
    fn a_topic_that_breaks_a_bound_holds_up_no_other() {
        let mut own = own();
        own.set(Topic::NAMES, vec![0; crate::limits::MAX_RECORD]);
        own.set(Topic::ADDRESSES, vec![1]);
        own.set(Topic::ATTACHED, Vec::new());
        assert_eq!(
            publish(&mut own, Instant::ZERO),
            [(Topic::ADDRESSES, version(2, 1))]
        );
        assert_eq!(
            own.published().collect::<Vec<_>>(),
            [Topic::IDENTITY, Topic::ADDRESSES]
        );
        own.set(Topic::NAMES, vec![1; crate::limits::MAX_RECORD]);
        assert!(own.publish(Instant::ZERO + HOLD_DOWN).is_err());
    }
}
