//! Turns of those that change what is on the mesh.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use super::AttachmentError;

/// One operation at a time, of each kind; and none at all once this host leaves the mesh.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// Of containers: of users one at a time, and none while the reconciler acts. The driver does not take it.
    containers: Mutex<()>,
    /// Of the host's own addresses: held for the whole of `expose` and `hide`.
    host: Mutex<()>,
    /// The space is handed over; nothing is attached any more.
    retired: AtomicBool,
}

impl Operations {
    /// Waits for the turn to change containers.
    pub(super) async fn begin(&self) -> MutexGuard<'_, ()> {
        self.containers.lock().await
    }

    /// Waits for the turn to change the host's addresses.
    pub(super) async fn begin_exposure(&self) -> MutexGuard<'_, ()> {
        self.host.lock().await
    }

    /// Returns whether an `expose` or `hide` is under way.
    pub(super) fn is_exposing(&self) -> bool {
        self.host.try_lock().is_err()
    }

    /// Has nothing attached from now on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Returns whether this host leaves the mesh.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Refuses what a host that leaves the mesh does not do.
    pub(super) fn refuse_if_retired(&self) -> Result<(), AttachmentError> {
        match self.is_retired() {
            true => Err(AttachmentError::Invalid("mesh is being reset".into())),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_host_is_exposed_beside_operations_on_containers() {
        let operations = Operations::default();
        let _guard = operations.begin().await;
        assert!(!operations.is_exposing());
        let exposing = operations.begin_exposure().await;
        assert!(operations.is_exposing());
        drop(exposing);
        assert!(!operations.is_exposing());
        assert!(operations.refuse_if_retired().is_ok());
        operations.retire();
        assert!(operations.refuse_if_retired().is_err());
    }
}
