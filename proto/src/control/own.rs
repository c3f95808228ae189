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
    pub fn overtake(&mut self, seen: Version) {
        let version = &mut self.body.version;
        version.epoch = version.epoch.max(seen.epoch);
        if version.epoch == seen.epoch {
            version.seq = version.seq.max(seen.seq);
        }
        self.dirty = true;
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
        self.body.version.seq += 1;
        self.signed = SignedRecord::sign(&self.body, &self.identity)?;
        Ok(Some(self.signed.clone()))
    }
}
