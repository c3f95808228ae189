//! `mesh attach-bridge` and `mesh detach-bridge`: other bridges of the host, joined to the mesh.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use mesh_proto::api::BridgeReport;
use mesh_proto::entropy::Entropy as _;
use mesh_proto::limits::MAX_BRIDGES;

use super::{AttachError, Attachments};
use crate::clock::OsEntropy;

/// Why bridges that should be joined are not, by name; as it was told.
pub(super) type Apart = Mutex<BTreeMap<String, String>>;

impl Attachments {
    /// Joins another bridge of the host to the mesh; one that is joined already is success.
    ///
    /// # Errors
    /// There is no such bridge, or it leads to the mesh already; the kernel's. Nothing is left of the attempt.
    pub async fn attach_bridge(&self, name: &str) -> Result<(), AttachError> {
        let _turn = self.operations.lock().await;
        if self.is_retired() {
            return Err(AttachError::Invalid("mesh is being reset".into()));
        }
        let before = self.table().bridges.clone();
        if !before.contains(name) && before.len() >= MAX_BRIDGES {
            return Err(AttachError::Invalid(format!(
                "{MAX_BRIDGES} bridges are attached already; detach some"
            )));
        }
        self.join_bridge(name)
            .await
            .map_err(|error| AttachError::Invalid(error.to_string()))?;
        let stored = self.change(|table| {
            table.bridges.insert(name.to_owned());
            Ok(())
        });
        if stored.is_err() {
            self.leave_bridge(name).await?;
        }
        stored
    }

    /// Takes a bridge off the mesh.
    ///
    /// # Errors
    /// It was not attached; the kernel's.
    pub async fn detach_bridge(&self, name: &str) -> Result<(), AttachError> {
        let _turn = self.operations.lock().await;
        let was_there = self.leave_bridge(name).await?;
        let was_known = self.record(|table| table.bridges.remove(name));
        self.apart().remove(name);
        match was_there || was_known {
            true => Ok(()),
            false => Err(AttachError::Invalid(format!(
                "the bridge {name} is not attached to the mesh; `mesh status` lists those that are"
            ))),
        }
    }

    /// Bridges that are joined, or would be if they could; and why the latter are not.
    pub(super) fn bridges_report(&self) -> Vec<BridgeReport> {
        let apart = self.apart();
        let table = self.table();
        let shown = |name: &String| BridgeReport {
            bridge: name.clone(),
            problem: apart.get(name).cloned().unwrap_or_default(),
        };
        table.bridges.iter().map(shown).collect()
    }

    /// Joins again what somebody took apart, and bridges that are back.
    pub(super) async fn mend_bridges(&self) {
        let names = self.table().bridges.clone();
        for name in names {
            match self.join_bridge(&name).await {
                Ok(()) => drop(self.apart().remove(&name)),
                Err(error) => {
                    let why = error.to_string();
                    let known = self.apart().insert(name, why.clone());
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
    pub(super) async fn leave_bridges(&self) -> Result<(), AttachError> {
        let names = self.table().bridges.clone();
        for name in names {
            self.leave_bridge(&name).await?;
            self.record(|table| table.bridges.remove(&name));
        }
        Ok(())
    }

    async fn join_bridge(&self, name: &str) -> Result<(), AttachError> {
        let name = name.to_owned();
        let mut nonce = [0; 16];
        OsEntropy.fill(&mut nonce);
        let joined = self.on_kernel(move |kernel| kernel.join_bridge(&name, nonce));
        Ok(joined.await.map(drop)?)
    }

    async fn leave_bridge(&self, name: &str) -> Result<bool, AttachError> {
        let name = name.to_owned();
        Ok(self
            .on_kernel(move |kernel| kernel.leave_bridge(&name))
            .await?)
    }

    fn apart(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
