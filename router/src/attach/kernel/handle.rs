//! The kernel as the parts of attachments hold it: its calls block, so they are made off the control thread.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use mesh_host::member::ProcessIdentity;
use mesh_proto::network::NetworkId;

use super::{KernelApi, KernelError};

/// A handle on the kernel. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KernelHandle(Arc<dyn KernelApi>);

impl KernelHandle {
    /// Returns a handle on this kernel.
    pub(crate) fn new(kernel: Arc<dyn KernelApi>) -> Self {
        Self(kernel)
    }

    /// Runs `f` off this thread.
    ///
    /// # Errors
    /// Those of `f`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn KernelApi) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let kernel = self.0.clone();
        let done = tokio::task::spawn_blocking(move || f(&*kernel)).await;
        done.unwrap_or_else(|e| Err(KernelError(format!("the operation was cut short: {e}"))))
    }

    /// Removes interfaces by their tags; those that do not exist are removed already.
    ///
    /// # Errors
    /// One is still there.
    pub(crate) async fn unplug_all(&self, tags: Vec<String>) -> Result<(), KernelError> {
        self.run(move |kernel| tags.iter().try_for_each(|tag| kernel.unplug(tag).map(drop)))
            .await
    }

    /// Returns the process that has this pid now; none when there is none.
    pub(crate) fn process(&self, pid: u32) -> Option<ProcessIdentity> {
        let started = self.0.process_start(pid)?;
        Some(ProcessIdentity { pid, started })
    }

    /// Returns whether a process lives.
    pub(crate) fn is_alive(&self, process: ProcessIdentity) -> bool {
        self.process(process.pid) == Some(process)
    }

    /// Resolves when the process has ended; at once if it has already.
    pub(crate) fn process_end(&self, pid: u32) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.process_end(pid)
    }

    /// Returns the name of the bridge of a network.
    pub(crate) fn bridge_of(&self, network: NetworkId) -> String {
        self.0.bridge_of(network)
    }

    /// Returns whether a namespace is mounted at `path`.
    pub(crate) fn is_netns(&self, path: &Path) -> bool {
        self.0.is_netns(path)
    }

    /// Returns the firewall that translates addresses here; none while nothing does.
    pub(crate) fn firewall(&self) -> Option<&'static str> {
        self.0.firewall()
    }
}
