//! Stored identity: the keys of the router, and its number of starts (epoch).

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{IDENTITY, StateError, Store, file, hex, to_json, unhex};

const IDENTITY_REMEDY: &str =
    "restore it from a backup, or remove it and this router joins as a new peer";

/// Secret seeds of a router's identity, and its number of starts. Zeroized on drop; `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct IdentitySeeds {
    /// Ed25519 seed.
    pub sign: [u8; 32],
    /// X25519 secret.
    pub dh: [u8; 32],
    /// Number of starts; 0 before the first [`Store::boot`].
    pub epoch: u64,
}

impl std::fmt::Debug for IdentitySeeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentitySeeds")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    sign: String,
    dh: String,
    epoch: u64,
}

impl Store {
    /// Returns the identity as of the last start; `None` before the first [`Store::boot`].
    ///
    /// # Errors
    /// [`StateError::TooOpen`] if other users may read it, [`StateError::Corrupt`], [`StateError::Io`].
    pub fn identity(&self) -> Result<Option<IdentitySeeds>, StateError> {
        let path = self.dir.join(IDENTITY);
        file::check_private(&path)?;
        let Some(mut body) = file::read(&path, IDENTITY_REMEDY)? else {
            return Ok(None);
        };
        let parsed: Result<IdentityFile, _> = serde_json::from_str(&body);
        body.zeroize();
        let parsed =
            parsed.map_err(|e| StateError::corrupt(&path, e.to_string(), IDENTITY_REMEDY))?;
        match (unhex(&parsed.sign), unhex(&parsed.dh)) {
            (Some(sign), Some(dh)) => Ok(Some(IdentitySeeds {
                sign,
                dh,
                epoch: parsed.epoch,
            })),
            _ => Err(StateError::corrupt(
                &path,
                "a key is not 64 hexadecimal digits",
                IDENTITY_REMEDY,
            )),
        }
    }

    /// Raises the epoch and stores it before anything is signed with it. On the first start the identity is created
    /// from `fresh` (called once, for two independent random seeds).
    ///
    /// # Errors
    /// Same as [`Store::identity`]; the router must not start without a stored epoch.
    pub fn boot(
        &self,
        fresh: impl FnOnce() -> ([u8; 32], [u8; 32]),
    ) -> Result<IdentitySeeds, StateError> {
        let mut seeds = if let Some(seeds) = self.identity()? {
            seeds
        } else {
            let (sign, dh) = fresh();
            IdentitySeeds { sign, dh, epoch: 0 }
        };
        // With an unchanged epoch, peers would take our handshakes for replays.
        seeds.epoch = seeds.epoch.checked_add(1).ok_or_else(|| {
            StateError::corrupt(
                &self.dir.join(IDENTITY),
                "its epoch cannot be raised",
                IDENTITY_REMEDY,
            )
        })?;
        self.set_identity(&seeds).map(|()| seeds)
    }

    /// Stores an epoch that was raised during a run, so that the next start is above it. A lower epoch than the stored
    /// one is ignored.
    ///
    /// # Errors
    /// Same as [`Store::identity`]; the old content stays.
    pub fn raise_epoch(&self, epoch: u64) -> Result<(), StateError> {
        match self.identity()? {
            Some(mut seeds) if seeds.epoch < epoch => {
                seeds.epoch = epoch;
                self.set_identity(&seeds)
            }
            _ => Ok(()),
        }
    }

    fn set_identity(&self, seeds: &IdentitySeeds) -> Result<(), StateError> {
        let stored = IdentityFile {
            sign: hex(&seeds.sign),
            dh: hex(&seeds.dh),
            epoch: seeds.epoch,
        };
        let mut body = to_json(&stored);
        let written = file::write(&self.dir.join(IDENTITY), &body);
        body.zeroize();
        written
    }
}
