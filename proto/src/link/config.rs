//! Configuration of a link: the identity of this router and the mesh secret.

use std::sync::Arc;

use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::topology::RecordError;
use crate::topology::record::SignedRecord;

/// Side of the TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// Opened the connection.
    Dialler,
    /// Accepted the connection.
    Acceptor,
}

/// Configuration of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Keys of this router.
    pub identity: Arc<Identity>,
    /// Secret that all routers of the mesh share.
    pub secret: Arc<MeshSecret>,
    /// Introduction of this router: its record about [`crate::wire::topic::Topic::IDENTITY`].
    pub record: SignedRecord,
    /// Bit set of optional protocol features that this router supports.
    pub features: u64,
}

/// Checks that the configured record is the introduction of the configured identity.
pub(super) fn own_introduction(config: &LinkConfig) -> Result<(), RecordError> {
    let body = config.record.as_identity().ok_or(RecordError::NoIdentity)?;
    let ours = &config.identity;
    if body.sign_key != ours.sign_key() || body.dh_key != ours.dh_key() {
        return Err(RecordError::OtherKeys);
    }
    Ok(())
}
