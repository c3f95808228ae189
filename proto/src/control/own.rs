//! The router's own record: what it says of itself, and when it says it again.
//!
//! The first change after a quiet time is published at once, further ones at most every [`HOLD_DOWN`], so that a
//! flapping cable costs the mesh one record a second and not one per flap.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::ids::Version;
use crate::limits::HOLD_DOWN;
use crate::time::Instant;
use crate::topology::record::{Attached, Neighbour, RecordBody, RecordError, SignedRecord};

/// The own record, published and wanted.
#[derive(Debug)]
pub struct OwnRecord {
    identity: Arc<Identity>,
    body: RecordBody,
    signed: SignedRecord,
    dirty: bool,
    not_before: Instant,
    raised: bool,
}

impl OwnRecord {
    /// Signs the first record of this start.
    ///
    /// # Errors
    /// When the body breaks a bound (a nickname too long, …).
    pub fn new(identity: Arc<Identity>, mut body: RecordBody) -> Result<Self, RecordError> {
        body.version.seq = 1;
        let signed = SignedRecord::sign(&body, &identity)?;
        Ok(Self {
            identity,
            body,
            signed,
            dirty: false,
            not_before: Instant::ZERO,
            raised: false,
        })
    }

    /// What the record says, wanted changes included.
    pub fn body(&self) -> &RecordBody {
        &self.body
    }

    /// The record as last published.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// The neighbours changed.
    pub fn set_neighbours(&mut self, neighbours: Vec<Neighbour>) {
        if self.body.neighbours != neighbours {
            self.body.neighbours = neighbours;
            self.dirty = true;
        }
    }

    /// The attached containers changed.
    pub fn set_attached(&mut self, attached: Vec<Attached>) {
        if self.body.attached != attached {
            self.body.attached = attached;
            self.dirty = true;
        }
    }

    /// The addresses others may dial changed.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        if self.body.endpoints != endpoints {
            self.body.endpoints = endpoints;
            self.dirty = true;
        }
    }

    /// A record of ours is about that we did not make in this run: overtake it.
    ///
    /// The first time the epoch is raised above it, and the new one returned: the stored epoch was an old one, and
    /// others must notice that a new run began. After that it is a clone, and only the number is raised: a new epoch
    /// costs everybody's sessions with us.
    pub fn overtake(&mut self, seen: Version) -> Option<u64> {
        let version = &mut self.body.version;
        self.dirty = true;
        if !self.raised && seen.epoch < u64::MAX {
            self.raised = true;
            *version = Version {
                epoch: version.epoch.max(seen.epoch + 1),
                seq: 0,
            };
            return Some(version.epoch);
        }
        version.epoch = version.epoch.max(seen.epoch);
        if version.epoch == seen.epoch {
            version.seq = version.seq.max(seen.seq);
        }
        None
    }

    /// When [`OwnRecord::publish`] would have something new.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.dirty.then_some(self.not_before)
    }

    /// Signs the record anew if it changed and the hold-down is over.
    ///
    /// # Errors
    /// When a change broke a bound; the published record then stays as it is.
    pub fn publish(&mut self, now: Instant) -> Result<Option<SignedRecord>, RecordError> {
        if !self.dirty || now < self.not_before {
            return Ok(None);
        }
        self.dirty = false;
        self.not_before = now + HOLD_DOWN;
        self.body.version.seq = self.body.version.seq.saturating_add(1);
        self.signed = SignedRecord::sign(&self.body, &self.identity)?;
        Ok(Some(self.signed.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerName;

    fn own() -> OwnRecord {
        let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
        let body = RecordBody {
            version: Version { epoch: 2, seq: 1 },
            name: PeerName([2; 6]),
            nickname: "a".into(),
            sign_key: identity.sign_key(),
            dh_key: identity.dh_key(),
            endpoints: vec![],
            neighbours: vec![],
            attached: vec![],
            features: 0,
            extensions: vec![],
        };
        OwnRecord::new(identity, body).unwrap()
    }

    fn publish(own: &mut OwnRecord, now: Instant) -> Version {
        own.publish(now).unwrap().unwrap().version()
    }

    #[test]
    fn an_old_epoch_is_raised_once_and_a_clone_costs_numbers_only() {
        let mut own = own();
        let now = Instant::ZERO;
        let seen = Version { epoch: 7, seq: 40 };
        assert_eq!(own.overtake(seen), Some(8));
        assert_eq!(publish(&mut own, now), Version { epoch: 8, seq: 1 });
        let clone = Version { epoch: 9, seq: 5 };
        assert_eq!(own.overtake(clone), None);
        let now = now + HOLD_DOWN;
        assert_eq!(publish(&mut own, now), Version { epoch: 9, seq: 6 });
    }

    #[test]
    fn the_epoch_before_this_one_restored_is_raised_too() {
        let mut own = own();
        assert_eq!(own.overtake(Version { epoch: 2, seq: 9 }), Some(3));
    }

    #[test]
    fn the_highest_version_there_is_overflows_nothing() {
        let mut own = own();
        let last = Version {
            epoch: u64::MAX,
            seq: u64::MAX,
        };
        assert_eq!(own.overtake(last), None);
        assert_eq!(publish(&mut own, Instant::ZERO), last);
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
            published += u32::from(own.publish(now).unwrap().is_some());
        }
        assert_eq!(published, 3);
    }
}
