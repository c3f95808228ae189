//! The start: the networks of the last run, or none.

use std::sync::Arc;

use anyhow::Context as _;
use mesh_networks::{Networks, NetworksConfig, NetworksDesk};
use mesh_proto::control::Control;
use mesh_proto::time::Instant;
use tokio::sync::{mpsc, watch};

use super::NetworksShell;
use super::callers::NetworkCallers;
use super::client::{NetworksClient, REQUESTS};
use super::disk::NetworksDisk;
use crate::clock::OsEntropy;
use crate::ipam::Allocator;
use crate::state::Store;
use crate::warnings::Warnings;

/// Opens the networks with the file of the last run. `mesh_tag` tells this mesh from others; `allocator` is told of what is
/// created here.
///
/// # Errors
/// The file is damaged or of a later version: it is left alone. The system's.
pub fn open(
    store: &Arc<Store>,
    config: NetworksConfig,
    mesh_tag: &[u8],
    allocator: &Allocator,
    control: &Control,
    warnings: &Warnings,
    now: Instant,
) -> anyhow::Result<(NetworksShell, NetworksClient)> {
    let mut networks = Networks::new(control.me(), mesh_tag, &mut OsEntropy);
    if let Some(content) = store.networks()? {
        let restored = networks.restore(&content, now);
        restored.map_err(|error| store.refuse_networks(error.to_string()))?;
    }
    let disk = store.clone();
    let (disk, progress) =
        NetworksDisk::start(warnings.clone(), move |content| disk.set_networks(content))
            .context("cannot start a thread")?;
    let mesh_mtu = config.mtu;
    let desk = NetworksDesk::new(networks, config);
    let (directory, receiver) = watch::channel(Arc::new(desk.directory()));
    let (sender, requests) = mpsc::channel(REQUESTS);
    let client = NetworksClient::new(sender, receiver, allocator.clone(), mesh_mtu);
    let shell = NetworksShell {
        desk,
        disk,
        progress,
        requests,
        callers: NetworkCallers::default(),
        directory,
        open: None,
    };
    Ok((shell, client))
}
