//! Topics that others than the control plane speak about: the names of containers, ranges of addresses, what later
//! versions add. Their bodies are bytes here, spread, kept and forgotten like everything else that routers say.

use crate::ids::{PeerId, Version};
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::bodies::IdentityBody;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

use super::{Control, Output};

/// What one router says about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Who says it.
    pub origin: PeerId,
    /// What; empty where it was taken back.
    pub body: &'a [u8],
    /// How new it is.
    pub version: Version,
    /// Whether its origin is within reach now.
    pub reachable: bool,
}

impl Control {
    /// Says `body` about `topic` from now on, to all routers; an empty one takes back what was said. Told at once after
    /// a quiet time, else with the next record ([`Topic::hold_down`]); told again after a restart only if
    /// said again.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own.
    pub fn say(&mut self, topic: Topic, body: Vec<u8>, now: Instant) -> Result<(), RecordError> {
        if topic.is_built_in() {
            return Err(RecordError::BuiltIn(topic));
        }
        self.own.set(topic, body);
        self.flush(now);
        Ok(())
    }

    /// What all routers say about a topic, this one included, in order of their identities.
    /// [`Output::Said`] tells when it changed, [`Output::Reach`] when others are within reach than before.
    pub fn said(&self, topic: Topic) -> impl Iterator<Item = Said<'_>> {
        self.lsdb
            .about(topic)
            .map(|(record, reachable)| Said::of(record, reachable))
    }

    /// What one router says about a topic.
    pub fn said_by(&self, origin: PeerId, topic: Topic) -> Option<Said<'_>> {
        let record = self.lsdb.get(RecordKey::new(origin, topic))?;
        Some(Said::of(record, self.lsdb.is_reachable(&origin)))
    }

    /// Every router of which a record is held, within reach or not, this one included.
    pub fn identities(&self) -> impl Iterator<Item = (PeerId, &IdentityBody)> {
        let records = self.lsdb.about(Topic::IDENTITY);
        records.filter_map(|(record, _)| Some((record.origin(), record.as_identity()?)))
    }

    /// Tells whoever speaks about the topic that something else is said about it.
    pub(super) fn tell_said(&mut self, key: RecordKey) {
        if !key.topic.is_built_in() {
            self.outputs.push_back(Output::Said(key));
        }
    }
}

impl<'a> Said<'a> {
    fn of(record: &'a SignedRecord, reachable: bool) -> Self {
        Self {
            origin: record.origin(),
            body: record.body(),
            version: record.version(),
            reachable,
        }
    }
}
