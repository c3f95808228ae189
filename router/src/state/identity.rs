//! The stored identity: the keys of the router, and its number of starts (epoch).

use mesh_state::files::IDENTITY;
use mesh_state::identity::IdentitySeeds;
use zeroize::Zeroize;

use super::{StateError, Store, file};

const IDENTITY_REMEDY: &str =
    "restore it from a backup, or remove it and this router joins as a new peer";

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
        let parsed = IdentitySeeds::parse(&body);
        body.zeroize();
        let corrupt = |why: String| StateError::corrupt(&path, why, IDENTITY_REMEDY);
        parsed.map(Some).map_err(corrupt)
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
        let seeds = IdentitySeeds::next_start(self.identity()?, fresh).ok_or_else(|| {
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
        let mut body = seeds.to_text();
        let written = file::write(&self.dir.join(IDENTITY), body.as_bytes());
        body.zeroize();
        written
    }
}
