//! Names of lease owners: the same container gets the same address, and operators see whose it is.

use ipnet::IpNet;
use mesh_proto::api::{EXPOSE, Runtime};
use mesh_proto::limits::MAX_CONTAINER_ID;

use crate::docker::endpoint::SHORT_ID;

/// Characters of the id of an engine's container.
const FULL_ID: usize = 64;

/// Returns the lease owner that stands for a container: `docker:web:<id>`. The id is that of the container, or of its
/// preparation.
pub fn lease_owner(runtime: Runtime, name: &str, id: &str) -> String {
    let runtime = match runtime {
        Runtime::Docker => "docker",
        Runtime::Podman => "podman",
        Runtime::Process => "process",
        Runtime::Host => "host",
    };
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let room = MAX_CONTAINER_ID.saturating_sub(runtime.len() + id.len() + 2);
    let name: String = name.chars().filter(is_plain).take(room).collect();
    format!("{runtime}:{name}:{id}")
}

/// The lease owner that stands for the host itself.
pub const HOST: &str = "host::expose";

/// Returns true if Docker keeps the container: it may be stopped, and be plugged by Docker again.
pub fn is_of_docker(owner: &str) -> bool {
    owner.starts_with("docker:")
}

/// Returns the name that operators know: the one that it was given, or the beginning of its engine's id. See
/// [`ContainerNames`](crate::leases::container_names::ContainerNames) for the name that it has now.
pub fn display_name(owner: &str) -> String {
    if owner == HOST {
        return EXPOSE.to_owned();
    }
    let mut parts = owner.splitn(3, ':').skip(1);
    match (parts.next(), parts.next()) {
        (Some(""), Some(id)) if id.len() >= FULL_ID => id.chars().take(SHORT_ID).collect(),
        // The id of a preparation, which nobody else knows.
        (Some(""), Some(_)) => format!("a container of {}", engine(owner)),
        (Some(name), Some(_)) => name.to_owned(),
        _ => owner.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Returns the id in it, of a container or of its preparation.
pub fn id(owner: &str) -> Option<&str> {
    owner.splitn(3, ':').nth(2)
}

fn engine(owner: &str) -> &'static str {
    match owner.split(':').next() {
        Some("docker") => "Docker's",
        Some("podman") => "podman's",
        _ => "this host's",
    }
}

/// Returns the command that takes an address from it.
pub fn release_command(owner: &str, address: IpNet) -> String {
    match owner == HOST {
        true => format!("mesh hide {address}"),
        false => format!("mesh detach {address} {}", argument(owner)),
    }
}

/// Returns the argument that `mesh detach` takes for it: its name, or its id. The id of a preparation is that of a process,
/// and of nothing else.
fn argument(owner: &str) -> String {
    let mut parts = owner.splitn(3, ':');
    let (runtime, name, id) = (parts.next(), parts.next(), parts.next());
    match (runtime, name, id) {
        (Some("process"), Some(_), Some(id)) => id.to_owned(),
        (_, Some(""), Some(id)) if id.len() >= FULL_ID => id.chars().take(SHORT_ID).collect(),
        (_, Some(""), _) | (_, None, _) => "CONTAINER (see mesh ps)".to_owned(),
        (_, Some(name), _) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_bounded_and_readable() {
        let id = "0123456789abcdef".repeat(4);
        let web = lease_owner(Runtime::Docker, "web", &id);
        assert_eq!(display_name(&web), "web");
        assert!(is_of_docker(&web));
        let nameless = lease_owner(Runtime::Podman, "", &id);
        assert_eq!(display_name(&nameless), "0123456789ab");
        assert!(!is_of_docker(&nameless));
        let unknown = lease_owner(Runtime::Docker, "", "0a1b");
        assert_eq!(display_name(&unknown), "a container of Docker's");
        let long = lease_owner(Runtime::Process, &"n:\n".repeat(200), &id);
        assert_eq!(long.len(), MAX_CONTAINER_ID);
        assert!(long.ends_with(&id));
        assert_eq!(display_name("other\nversion"), "otherversion");
        assert_eq!(argument(&web), "web");
        assert_eq!(argument(&nameless), "0123456789ab");
        assert_eq!(
            argument(&lease_owner(Runtime::Process, "sleep", "0a1b")),
            "0a1b"
        );
        assert_eq!(
            argument(&lease_owner(Runtime::Docker, "", "0a1b")),
            "CONTAINER (see mesh ps)"
        );
        let net = "10.32.0.1/12".parse().unwrap();
        assert_eq!(release_command(&web, net), "mesh detach 10.32.0.1/12 web");
        assert_eq!(release_command(HOST, net), "mesh hide 10.32.0.1/12");
        assert_eq!(display_name(HOST), EXPOSE);
        assert!(!is_of_docker(HOST));
    }
}
