//! Sybils of a malicious member: invented routers with keys of their own, which announce links to it and many records.

use std::sync::Arc;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{MAX_TOPICS, MAX_UNKNOWN_RECORD, RECORD_OVERHEAD};
use mesh_proto::topology::bodies::{IdentityBody, Neighbour, encode_links};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::topic::Topic;

use super::rng::Rng;

/// Sybils per member.
pub(crate) const SYBILS: usize = 48;
/// Sybil records per message.
const AT_ONCE: usize = 12;

/// Sybils of one member, created on demand.
#[derive(Default)]
pub(crate) struct Sybils {
    all: Vec<Arc<Identity>>,
    seq: u64,
}

impl Sybils {
    /// Returns the member's announced links to them.
    pub(crate) fn links(&self) -> Vec<Neighbour> {
        self.all.iter().map(|sybil| link_to(sybil.id())).collect()
    }

    /// Returns records of some sybils: identity, a link to the member, or a body of maximal size for another topic.
    pub(crate) fn records(&mut self, member: PeerId, rng: &mut Rng) -> Vec<Vec<u8>> {
        (0..AT_ONCE)
            .filter_map(|_| self.record(member, rng))
            .map(|record| record.bytes().to_vec())
            .collect()
    }

    fn record(&mut self, member: PeerId, rng: &mut Rng) -> Option<SignedRecord> {
        if self.all.len() < SYBILS && rng.chance(500) {
            let seeds = [rng.bytes(32, 32), rng.bytes(32, 32)];
            let [sign, dh] = seeds.map(|seed| <[u8; 32]>::try_from(seed).unwrap_or([7; 32]));
            let sybil = Arc::new(Identity::from_seeds(sign, dh));
            let who = IdentityBody::new(&sybil, sybil.id().derived_name(), "nobody".to_owned());
            let record = self.sign(&sybil, Topic::IDENTITY, &who.encode());
            self.all.push(sybil);
            return record;
        }
        let at = rng.below(self.all.len().max(1));
        let sybil = self.all.get(at)?.clone();
        let topic = Topic::new(1 + u8::try_from(rng.below(MAX_TOPICS.into())).ok()?)?;
        match topic {
            Topic::IDENTITY | Topic::LINKS => {
                let links = encode_links(&[link_to(member)]);
                self.sign(&sybil, Topic::LINKS, &links)
            }
            Topic::ATTACHED => None,
            _ => {
                let bytes = vec![0x5b; MAX_UNKNOWN_RECORD - RECORD_OVERHEAD];
                self.sign(&sybil, topic, &bytes)
            }
        }
    }

    fn sign(&mut self, sybil: &Identity, topic: Topic, body: &[u8]) -> Option<SignedRecord> {
        self.seq += 1;
        let version = Version {
            epoch: 1,
            seq: self.seq,
        };
        SignedRecord::sign(topic, version, body, sybil).ok()
    }
}

fn link_to(peer: PeerId) -> Neighbour {
    Neighbour {
        peer: peer.prefix(),
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    }
}
