//! Signatures checked once per record, not once per record and router.

use std::collections::HashMap;
use std::sync::Mutex;

use mesh_proto::crypto::identity::BadSignature;
use mesh_proto::topology::record::{Ed25519, SignedRecord, Verifier};

/// Remembers what it found, for all routers of a run.
#[derive(Default)]
pub(crate) struct Cache {
    known: Mutex<HashMap<Vec<u8>, bool>>,
}

impl Verifier for Cache {
    fn verify(&self, record: &SignedRecord, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        let Ok(mut known) = self.known.lock() else {
            return Ed25519.verify(record, sign_key);
        };
        let good = match known.get(record.bytes()) {
            Some(good) => *good,
            None => {
                let good = Ed25519.verify(record, sign_key).is_ok();
                known.insert(record.bytes().to_vec(), good);
                good
            }
        };
        if good { Ok(()) } else { Err(BadSignature) }
    }
}
