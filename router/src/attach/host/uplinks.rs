//! `mesh attach-bridge` and `mesh detach-bridge`: other bridges of the host, joined to the mesh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_proto::api::BridgeReport;
use mesh_proto::entropy::Entropy as _;
use mesh_proto::limits::MAX_BRIDGES;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelError, KernelHandle};
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::clock::OsEntropy;

/// Other bridges that are joined to the mesh's, or are to be.
pub(crate) struct Uplinks {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    operations: Arc<Operations>,
    /// Bridges that are not joined and should be, with the reason; as it was told.
    unjoined: Mutex<BTreeMap<String, String>>,
}

impl Uplinks {
    pub(crate) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            operations: base.operations.clone(),
            unjoined: Mutex::default(),
        }
    }

    /// Joins another bridge of the host to the mesh; one that is joined already is success.
    ///
    /// # Errors
    /// There is no such bridge, or it leads to the mesh already; the kernel's. Nothing is left of the attempt.
    pub(crate) async fn attach(&self, name: &str) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin().await;
        self.operations.refuse_if_retired()?;
        let (is_known, count) = self
            .table
            .read(|table| (table.bridges.contains(name), table.bridges.len()));
        if !is_known && count >= MAX_BRIDGES {
            return Err(AttachmentError::Invalid(format!(
                "{MAX_BRIDGES} bridges are attached already; detach some"
            )));
        }
        self.join(name)
            .await
            .map_err(|error| AttachmentError::Invalid(error.to_string()))?;
        let stored = self.table.change(|table| {
            table.bridges.insert(name.to_owned());
            Ok(())
        });
        if stored.is_err() {
            self.leave(name).await?;
        }
        stored
    }

    /// Takes a bridge off the mesh.
    ///
    /// # Errors
    /// It was not attached; the kernel's.
    pub(crate) async fn detach(&self, name: &str) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin().await;
        let was_there = self.leave(name).await?;
        let was_known = self.table.record(|table| table.bridges.remove(name));
        self.unjoined().remove(name);
        match was_there || was_known {
            true => Ok(()),
            false => Err(AttachmentError::Invalid(format!(
                "the bridge {name} is not attached to the mesh; `mesh status` lists those that are"
            ))),
        }
    }

    /// Returns the bridges that are joined, or would be if they could; and why the latter are not.
    pub(crate) fn report(&self) -> Vec<BridgeReport> {
        let unjoined = self.unjoined();
        let shown = |name: &String| BridgeReport {
            bridge: name.clone(),
            problem: unjoined.get(name).cloned().unwrap_or_default(),
        };
        self.table
            .read(|table| table.bridges.iter().map(shown).collect())
    }

    /// Joins again what somebody took apart, and bridges that are back.
    pub(crate) async fn mend(&self) {
        for name in self.table.read(|table| table.bridges.clone()) {
            match self.join(&name).await {
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
        for name in self.table.read(|table| table.bridges.clone()) {
            self.leave(&name).await?;
            self.table.record(|table| table.bridges.remove(&name));
        }
        Ok(())
    }

    async fn join(&self, name: &str) -> Result<(), KernelError> {
        let name = name.to_owned();
        let mut nonce = [0; 16];
        OsEntropy.fill(&mut nonce);
        let joined = self
            .kernel
            .run(move |kernel| kernel.join_bridge(&name, nonce));
        joined.await.map(drop)
    }

    async fn leave(&self, name: &str) -> Result<bool, KernelError> {
        let name = name.to_owned();
        self.kernel
            .run(move |kernel| kernel.leave_bridge(&name))
            .await
    }

    fn unjoined(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.unjoined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
