//! Containers that Docker could not start because the router was away.

use std::time::{Duration, Instant};

use mesh_engine::docker::recovery::was_given_up;
use mesh_proto::api::Runtime;

use crate::attach::foundation::Foundation;
use crate::engine::Engines;

/// Time after its start in which the router looks for such containers: dockerd tries for 15 s itself when a host boots.
const LOOK_FOR: Duration = Duration::from_secs(120);

/// Starts containers that missed the driver, for some time after the router's start.
pub(crate) struct Revival {
    engines: Engines,
    started: Instant,
}

impl Revival {
    pub(crate) fn new(base: &Foundation) -> Self {
        Self {
            engines: base.engines.clone(),
            started: Instant::now(),
        }
    }

    /// Starts containers that should always run and that dockerd gave up on for want of our driver. Only in the first
    /// two minutes of a router: later the driver is there, and what is stopped was stopped by someone.
    pub(crate) async fn revive(&self) {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return;
        };
        if self.started.elapsed() > LOOK_FOR {
            return;
        }
        let Ok(all) = docker.list().await else {
            return;
        };
        let stopped = all.into_iter().filter(|(_, runs)| !runs).map(|(id, _)| id);
        for id in stopped {
            let Ok(container) = docker.inspect(&id).await else {
                continue;
            };
            if !was_given_up(&container) {
                continue;
            }
            match docker.start(&id).await {
                Ok(()) => tracing::info!(
                    container = container.name,
                    "started a container that Docker had given up on because the router was away"
                ),
                Err(error) => tracing::warn!(container = container.name, %error,
                    "a container that Docker had given up on could not be started"),
            }
        }
    }
}
