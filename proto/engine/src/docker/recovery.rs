//! Containers that Docker started, or could not start, while the router was away.

use mesh_host::docker::driver_options;

use crate::container::EngineContainer;
use crate::plugin::process::WITHOUT_ROUTER;

/// Returns whether a container's endpoint has no address by the options that Docker keeps.
pub fn is_bare(container: &EngineContainer, endpoint: &str) -> bool {
    let mut connections = container.networks.iter();
    connections.any(|c| c.endpoint == endpoint && driver_options::kept(&c.options).is_none())
}

/// Returns whether dockerd gave a container up for want of the driver: it says so in the container's last error, or the plugin process
/// says so in its place (the texts of dockerd were seen with 20.10).
pub fn was_given_up(container: &EngineContainer) -> bool {
    let always = matches!(
        container.restart_policy.as_str(),
        "always" | "unless-stopped"
    );
    let no_driver = container.error.contains(WITHOUT_ROUTER)
        || container.error.contains("plugin \"mesh\" not found")
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
        container.error = format!("IpamDriver.RequestAddress: {WITHOUT_ROUTER}");
        assert!(was_given_up(&container));
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
