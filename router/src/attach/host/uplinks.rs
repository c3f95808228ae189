//! `mesh attach-bridge` and `mesh detach-bridge`: other bridges of the host, joined to the mesh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_proto::api::BridgeReport;
use mesh_proto::entropy::Entropy as _;
use mesh_proto::limits::MAX_BRIDGES;
use mesh_proto::network::NetworkId;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelError, KernelHandle};
use crate::attach::networks::AttachedNetworks;
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::clock::OsEntropy;

/// Other bridges that are joined to the mesh's, or are to be.
pub(crate) struct Uplinks {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    operations: Arc<Operations>,
    networks: Arc<AttachedNetworks>,
    /// Bridges that are not joined and should be, with the reason; as it was told.
    unjoined: Mutex<BTreeMap<String, String>>,
}

impl Uplinks {
    pub(crate) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            operations: base.operations.clone(),
            networks: base.networks.clone(),
            unjoined: Mutex::default(),
        }
    }

    /// Joins another bridge of the host to a network of the mesh; one that is joined to it already is success.
    ///
    /// # Errors
    /// There is no such network or bridge, or it leads to the mesh already, or is on another network; the kernel's. Nothing
    /// is left of the attempt.
    pub(crate) async fn attach(&self, network: &str, name: &str) -> Result<(), AttachmentError> {
        let network = self.networks.choose(network)?;
        let _guard = self.operations.begin().await;
        self.operations.refuse_if_retired()?;
        self.refuse(network.id, name)?;
        self.networks.open(&network).await?;
        self.join(network.id, name)
            .await
            .map_err(|error| AttachmentError::Invalid(error.to_string()))?;
        let stored = self.table.change(|table| {
            table.bridges.insert(name, network.id);
            Ok(())
        });
        if stored.is_err() {
            self.leave(network.id, name).await?;
        }
        stored
    }

    /// Refuses a bridge that is on another network, and one more than is possible.
    fn refuse(&self, network: NetworkId, name: &str) -> Result<(), AttachmentError> {
        let (known, count) = self
            .table
            .read(|table| (table.bridges.get(name), table.bridges.count()));
        match known {
            Some(other) if other != network => {
                let other = self.networks.name(&other);
                Err(AttachmentError::Invalid(format!(
                    "the bridge {name} is attached to the network {other}, and networks stay apart; `mesh detach-bridge \
                     {name}` first"
                )))
            }
            None if count >= MAX_BRIDGES => Err(AttachmentError::Invalid(format!(
                "{MAX_BRIDGES} bridges are attached already; detach some"
            ))),
            _ => Ok(()),
        }
    }

    /// Takes a bridge off the mesh.
    ///
    /// # Errors
    /// It was not attached; the kernel's.
    pub(crate) async fn detach(&self, name: &str) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin().await;
        let known = self.table.read(|table| table.bridges.get(name));
        let was_there = self.leave(known.unwrap_or_default(), name).await?;
        self.table.record(|table| table.bridges.remove(name));
        self.unjoined().remove(name);
        match was_there || known.is_some() {
            true => Ok(()),
            false => Err(AttachmentError::Invalid(format!(
                "the bridge {name} is not attached to the mesh; `mesh status` lists those that are"
            ))),
        }
    }

    /// Returns the bridges that are joined, or would be if they could; and why the latter are not.
    pub(crate) fn report(&self) -> Vec<BridgeReport> {
        let unjoined = self.unjoined();
        let shown = |(name, network): (&str, NetworkId)| BridgeReport {
            bridge: name.to_owned(),
            problem: unjoined.get(name).cloned().unwrap_or_default(),
            network: match network.is_default() {
                true => String::new(),
                false => self.networks.name(&network),
            },
        };
        self.table
            .read(|table| table.bridges.iter().map(shown).collect())
    }

    /// Joins again what somebody took apart, and bridges that are back.
    pub(crate) async fn mend(&self) {
        for (name, network) in self.joined() {
            match self.join(network, &name).await {
                Ok(()) => drop(self.unjoined().remove(&name)),
                Err(error) => {
                    let why = error.to_string();
                    let known = self.unjoined().insert(name, why.clone());
                    if known.as_ref() != Some(&why) {
                        tracing::warn!("{why}");
                    }
                }
            }
        }
    }

    /// Takes all bridges off the mesh.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn leave_all(&self) -> Result<(), AttachmentError> {
        for (name, network) in self.joined() {
            self.leave(network, &name).await?;
            self.table.record(|table| table.bridges.remove(&name));
        }
        Ok(())
    }

    /// Takes all bridges off one network, and returns their names.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn leave_network(
        &self,
        network: NetworkId,
    ) -> Result<Vec<String>, AttachmentError> {
        let mut gone = self.joined();
        gone.retain(|(_, other)| *other == network);
        for (name, _) in &gone {
            self.leave(network, name).await?;
            self.table.record(|table| table.bridges.remove(name));
            self.unjoined().remove(name);
        }
        Ok(gone.into_iter().map(|(name, _)| name).collect())
    }

    fn joined(&self) -> Vec<(String, NetworkId)> {
        self.table.read(|table| {
            let all = table.bridges.iter();
            all.map(|(name, network)| (name.to_owned(), network))
                .collect()
        })
    }

    async fn join(&self, network: NetworkId, name: &str) -> Result<(), KernelError> {
        let name = name.to_owned();
        let mut nonce = [0; 16];
        OsEntropy.fill(&mut nonce);
        let joined = self
            .kernel
            .run(move |kernel| kernel.join_bridge(network, &name, nonce));
        joined.await.map(drop)
    }

    async fn leave(&self, network: NetworkId, name: &str) -> Result<bool, KernelError> {
        let name = name.to_owned();
        self.kernel
            .run(move |kernel| kernel.leave_bridge(network, &name))
            .await
    }

    fn unjoined(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.unjoined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
