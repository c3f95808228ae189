//! Cache that parses records and verifies signatures once per record, instead of once per record and router.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_proto::crypto::identity::BadSignature;
use mesh_proto::topology::RecordError;
use mesh_proto::topology::record::{Ed25519, SignedRecord, Verifier};

/// Largest number of cached records; then the cache is cleared.
const MOST: usize = 100_000;

/// Cache shared by all routers of a run.
#[derive(Default)]
pub(crate) struct VerifierCache {
    /// Keyed by the record's bytes, so that all routers share one copy.
    known: Mutex<HashMap<Box<[u8]>, CachedRecord>>,
}

struct CachedRecord {
    record: SignedRecord,
    /// Result of the signature check, once it was needed.
    good: Option<bool>,
}

/// Injected fault: a verifier that accepts every signature.
pub(crate) struct AcceptAll;

impl Verifier for AcceptAll {
    fn verify(&self, _record: &SignedRecord, _sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        Ok(())
    }
}

impl Verifier for VerifierCache {
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
            .or_insert(CachedRecord { record, good: None });
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

impl VerifierCache {
    fn known(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, CachedRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
