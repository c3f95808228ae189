//! Whether a container that was started has its addresses: only then is that told.

use mesh_proto::api::{ArrivedRequest, Done};

use crate::run::Preparation;

/// Fails when a container runs without an address that was prepared for it.
pub(crate) fn check(preparation: &Preparation<'_>, container: &str) -> anyhow::Result<()> {
    let request = ArrivedRequest {
        runtime: None,
        container: container.to_owned(),
        addresses: preparation.prepared().addresses.clone(),
    };
    preparation.client().post::<Done>("/arrived", &request)?;
    Ok(())
}
