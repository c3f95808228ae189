//! Records read, and signatures checked, once per record, not once per record and router.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_proto::crypto::identity::BadSignature;
use mesh_proto::topology::record::{Ed25519, RecordError, SignedRecord, Verifier};

/// What is remembered at most; then all is forgotten, and found anew.
const MOST: usize = 100_000;

/// Remembers what it found, for all routers of a run.
#[derive(Default)]
pub(crate) struct Cache {
    /// By the record's bytes, and so all routers share one copy.
    known: Mutex<HashMap<Box<[u8]>, Known>>,
}

struct Known {
    record: SignedRecord,
    /// Whether its signature is right, once somebody has asked.
    good: Option<bool>,
}

/// A planted fault: every signature is right.
pub(crate) struct Credulous;

impl Verifier for Credulous {
    fn verify(&self, _record: &SignedRecord, _sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        Ok(())
    }
}

impl Verifier for Cache {
    fn parse(&self, bytes: &[u8]) -> Result<SignedRecord, RecordError> {
        if let Some(known) = self.known().get(bytes) {
            return Ok(known.record.clone());
        }
        let record = SignedRecord::parse(bytes)?;
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        let shared = known
            .entry(bytes.into())
            .or_insert(Known { record, good: None });
        Ok(shared.record.clone())
    }

    fn verify(&self, record: &SignedRecord, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        let found = self
            .known()
            .get(record.bytes())
            .and_then(|known| known.good);
        let good = found.unwrap_or_else(|| {
            let good = Ed25519.verify(record, sign_key).is_ok();
            if let Some(known) = self.known().get_mut(record.bytes()) {
                known.good = Some(good);
            }
            good
        });
        if good { Ok(()) } else { Err(BadSignature) }
    }
}

impl Cache {
    fn known(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
