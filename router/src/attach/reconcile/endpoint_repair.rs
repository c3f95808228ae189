//! Endpoints: interfaces that Docker plugged are put back if someone deleted them, and forgotten if their containers are
//! gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_host::docker::endpoint::{ContainerRef, DockerEndpoint, HalfMade};
use mesh_host::reconcile::{EndpointAction, EndpointFacts, endpoint_action};

use crate::attach::docker::DockerEndpoints;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::KernelHandle;
use crate::attach::stored_table::StoredTable;
use crate::clock::Clock;

/// Makes the kernel, Docker and the table agree about endpoints.
pub(crate) struct EndpointRepair {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    endpoints: Arc<DockerEndpoints>,
    half_made: Mutex<HalfMade>,
    clock: Clock,
}

impl EndpointRepair {
    pub(crate) fn new(base: &Foundation, endpoints: Arc<DockerEndpoints>) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            endpoints,
            half_made: Mutex::default(),
            clock: Clock::start(),
        }
    }

    /// Mends one endpoint; `plugged` are the tags of all interfaces that exist.
    pub(super) async fn mend(&self, id: &str, end: &DockerEndpoint, plugged: &BTreeSet<String>) {
        let sandbox = end.sandbox.clone().unwrap_or_default();
        let facts = EndpointFacts {
            is_plugged: plugged.contains(&end.interface(id).tag),
            has_sandbox: end.sandbox.is_some() && self.kernel.is_netns(&sandbox),
            is_joined: self.endpoints.is_joined(id),
        };
        match endpoint_action(end, facts) {
            EndpointAction::Keep => {}
            EndpointAction::Delete => self.endpoints.delete(id).await,
            EndpointAction::AwaitContainer => {
                if self.is_overdue(id) {
                    self.ask_about(id).await;
                }
            }
            EndpointAction::Finish => self.endpoints.finish_later(id, sandbox),
            EndpointAction::PutBack => {
                // Disconnected while the router was away: then it is not to be put back.
                if matches!(self.endpoints.find(id).await, Ok(None)) {
                    self.endpoints.delete(id).await;
                    return;
                }
                if let Err(error) = self.endpoints.put_back(id, end, &sandbox).await {
                    tracing::warn!(%error, endpoint = id, "an interface could not be put back");
                }
            }
        }
    }

    fn is_overdue(&self, id: &str) -> bool {
        let mut half_made = self
            .half_made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        self.table
            .read(|table| half_made.is_overdue(id, &table.endpoints, now))
    }

    /// Asks Docker about an endpoint that is in no container as far as can be seen: Docker has joined it without the
    /// router, or knows none.
    async fn ask_about(&self, id: &str) {
        let known = match self.endpoints.find(id).await {
            Ok(Some(known)) => known,
            Ok(None) => return self.endpoints.delete(id).await,
            // While Docker cannot be asked, it counts as there.
            Err(_) => return,
        };
        let Some(container) = known.container.filter(|c| c.running) else {
            return;
        };
        let owner = ContainerRef {
            id: container.id,
            name: container.name,
        };
        let sandbox = container.sandbox.into();
        self.table
            .record(|table| table.endpoints.set_joined(id, sandbox, owner));
    }
}
