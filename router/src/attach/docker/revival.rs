//! Containers that Docker could not start because the router was away.

use std::time::{Duration, Instant};

use mesh_proto::api::Runtime;

use crate::attach::foundation::Foundation;
use crate::engine::{EngineContainer, Engines};

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

/// Returns whether dockerd gave a container up for want of the driver: it says so in the container's last error, in one
/// of two ways (seen with 20.10).
fn was_given_up(container: &EngineContainer) -> bool {
    let always = matches!(
        container.restart_policy.as_str(),
        "always" | "unless-stopped"
    );
    let no_driver = container.error.contains("plugin \"mesh\" not found")
        || container.error.contains("plugins%2Fmesh.sock")
        || container.error.contains("plugins/mesh.sock");
    always && !container.running && no_driver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_should_run_and_missed_the_driver_is_started() {
        let mut container = EngineContainer {
            restart_policy: "always".into(),
            error: "failed to add endpoint: plugin \"mesh\" not found".into(),
            ..EngineContainer::default()
        };
        assert!(was_given_up(&container));
        container.running = true;
        assert!(!was_given_up(&container));
        container.running = false;
        container.restart_policy = "no".into();
        assert!(!was_given_up(&container));
        container.restart_policy = "unless-stopped".into();
        container.error = "failed to create endpoint multi on network mesh: Post \
            \"http://%2Frun%2Fdocker%2Fplugins%2Fmesh.sock/NetworkDriver.CreateEndpoint\": dial unix \
            /run/docker/plugins/mesh.sock: connect: connection refused"
            .into();
        assert!(was_given_up(&container));
        container.error = "failed to create endpoint web on network mesh: NetworkDriver.CreateEndpoint: 10.2.1.1 is \
            already used by container db on this host"
            .into();
        assert!(
            !was_given_up(&container),
            "trying again would not mend that"
        );
        container.error = "exec: \"nope\": executable file not found in $PATH".into();
        assert!(!was_given_up(&container));
    }
}
