//! Docker Engine: its answers, and our requests to it.

pub mod container;
pub mod events;
pub mod networks;
pub mod recovery;
mod service;
pub mod stranded;

use crate::error::EngineError;

/// Scheme of a socket on this host.
const UNIX: &str = "unix://";

/// Address of a Docker Engine, as in `DOCKER_HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerAddress(String);

impl DockerAddress {
    /// Returns the address of a socket path, with or without `unix://`.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// Returns the path of the socket.
    ///
    /// # Errors
    /// The engine may be on another host, whose containers cannot be attached.
    pub fn path(&self) -> Result<&str, EngineError> {
        let path = self.0.strip_prefix(UNIX).unwrap_or(&self.0);
        if path.contains("://") {
            return Err(EngineError::Unavailable(format!(
                "DOCKER_HOST is {}, but only a Docker Engine of this host (unix://…) can be attached to",
                self.0
            )));
        }
        Ok(path)
    }

    /// Returns the error of an engine that does not run.
    pub fn not_running(&self) -> EngineError {
        let path = self.0.strip_prefix(UNIX).unwrap_or(&self.0);
        EngineError::Unavailable(format!("Docker is not running (cannot connect to {path})"))
    }
}

/// Returns the error for a response with an error status, to a request about `container` if given.
pub fn response_error(status: u16, message: String, container: Option<&str>) -> EngineError {
    match container {
        Some(name)
            if status == 404 && message.to_ascii_lowercase().contains("no such container") =>
        {
            EngineError::NoContainer(name.to_owned())
        }
        _ => refused(message),
    }
}

/// Returns true if a failed disconnection means that the container was not connected.
pub fn is_disconnected(status: u16, message: &str) -> bool {
    status == 404 || message.contains("is not connected")
}

/// Returns the error of a request that Docker refused.
pub fn refused(message: String) -> EngineError {
    EngineError::Refused {
        engine: "Docker",
        message,
    }
}

/// Returns the path of a container's `/etc/hosts` below Docker's data directory: Docker reports it only once the container
/// has run, but it is the same before.
pub fn hosts_file(root: &str, container: &str) -> String {
    format!("{root}/containers/{container}/hosts")
}

/// Returns true if the engine connects networks in the order of their names, as 20.10 (API 1.41) and 26.1 (1.45) do. Later
/// engines may create the namespace first, and connect in any order.
pub fn plugs_by_name(api_version: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    let parts = api_version.split_once('.');
    let parts = parts.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    parts.is_some_and(|version| version < (1, 46))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_engines_plug_by_name() {
        for (version, expected) in [
            ("1.41", true),
            ("1.45", true),
            ("1.46", false),
            ("2.0", false),
            ("x", false),
        ] {
            assert_eq!(plugs_by_name(version), expected, "{version}");
        }
    }

    #[test]
    fn only_an_engine_of_this_host_has_a_path() {
        for address in ["/run/docker.sock", "unix:///run/docker.sock"] {
            let address = DockerAddress::new(address);
            assert_eq!(address.path(), Ok("/run/docker.sock"));
            let text = "Docker is not running (cannot connect to /run/docker.sock)";
            assert_eq!(address.not_running().to_string(), text);
        }
        assert!(DockerAddress::new("tcp://10.0.0.1:2375").path().is_err());
    }

    #[test]
    fn a_missing_container_is_told_from_other_refusals() {
        let missing = response_error(404, "No such container: web".into(), Some("web"));
        assert_eq!(missing, EngineError::NoContainer("web".into()));
        let network = response_error(404, "network x not found".into(), Some("web"));
        assert_eq!(network.to_string(), "Docker: network x not found");
        let conflict = response_error(409, "no such container".into(), Some("web"));
        assert!(matches!(conflict, EngineError::Refused { .. }));
    }
}
