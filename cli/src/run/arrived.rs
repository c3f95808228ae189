//! Confirmation that a started container has its addresses, before its id is printed.

use mesh_proto::api::{ArrivedRequest, Done};

use super::preparation::Preparation;

/// Fails if a running container lacks an address that was prepared for it.
pub(crate) fn check(preparation: &Preparation<'_>, container: &str) -> anyhow::Result<()> {
    let request = ArrivedRequest {
        runtime: None,
        container: container.to_owned(),
        addresses: preparation.prepared().addresses.clone(),
    };
    preparation.client().post::<Done>("/arrived", &request)?;
    Ok(())
}
