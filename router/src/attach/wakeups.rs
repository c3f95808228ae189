//! Reasons for the reconciler to look before its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::kernel::KernelHandle;

/// Wakes the reconciler, and says which engines it is to ask.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    wake: Notify,
    podman: AtomicBool,
    docker: AtomicBool,
}

impl Wakeups {
    /// Has the reconciler look now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Has the reconciler look now, and ask podman.
    pub(super) fn wake_for_podman(&self) {
        self.podman.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Has the reconciler look now, and ask Docker for all that was done without the router.
    pub(super) fn wake_for_docker(&self) {
        self.docker.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Has the reconciler look when a process ends.
    pub(super) fn wake_at_end(self: &Arc<Self>, kernel: &KernelHandle, pid: u32) {
        let end = kernel.process_end(pid);
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            end.await;
            if let Some(this) = this.upgrade() {
                this.wake();
            }
        });
    }

    /// Returns whether podman is to be asked, once.
    pub(super) fn take_podman(&self) -> bool {
        self.podman.swap(false, Ordering::Relaxed)
    }

    /// Returns whether Docker is to be asked, once.
    pub(super) fn take_docker(&self) -> bool {
        self.docker.swap(false, Ordering::Relaxed)
    }

    /// Waits until it is time to look, for `period` at most.
    pub(super) async fn wait(&self, period: Duration) {
        let _ = tokio::time::timeout(period, self.wake.notified()).await;
    }
}
