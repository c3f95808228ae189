//! What a link knows of its own router.

use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::topology::record::{RecordError, SignedRecord};

/// Who opened the TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// We did.
    Dialler,
    /// The other side did.
    Acceptor,
}

/// What a link needs to know of its own router.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Our keys.
    pub identity: Arc<Identity>,
    /// What the operator gave all routers of the mesh.
    pub secret: Arc<MeshSecret>,
    /// Our introduction: what we say of ourselves about [`crate::topology::Topic::IDENTITY`].
    pub record: SignedRecord,
    /// Optional parts of the protocol we speak.
    pub features: u64,
}

/// Whether what is configured introduces the router whose keys are configured.
pub(super) fn own_introduction(config: &LinkConfig) -> Result<(), RecordError> {
    let body = config.record.as_identity().ok_or(RecordError::NoIdentity)?;
    let ours = &config.identity;
    if body.sign_key != ours.sign_key() || body.dh_key != ours.dh_key() {
        return Err(RecordError::OtherKeys);
    }
    Ok(())
}
