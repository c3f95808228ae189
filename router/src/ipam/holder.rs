//! Names of lease owners: the same container gets the same address, and operators see whose it is.

use ipnet::Ipv4Net;
use mesh_proto::api::{EXPOSE, Runtime};
use mesh_proto::limits::MAX_CONTAINER_ID;

use crate::engine::SHORT_ID;

/// Characters of the id of an engine's container.
const FULL_ID: usize = 64;

/// Returns the lease owner that stands for a container: `docker:web:<id>`. The id is that of the container, or of its
/// preparation.
pub(crate) fn holder(runtime: Runtime, name: &str, id: &str) -> String {
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
pub(crate) const HOST: &str = "host::expose";

/// Returns whether Docker keeps the container: it may be stopped, and be plugged by Docker again.
pub(crate) fn is_dockers(holder: &str) -> bool {
    holder.starts_with("docker:")
}

/// Returns the name that operators know: the one that it was given, or the beginning of its engine's id. See
/// [`super::ContainerNames`] for the name that it has now.
pub(crate) fn words(holder: &str) -> String {
    if holder == HOST {
        return EXPOSE.to_owned();
    }
    let mut parts = holder.splitn(3, ':').skip(1);
    match (parts.next(), parts.next()) {
        (Some(""), Some(id)) if id.len() >= FULL_ID => id.chars().take(SHORT_ID).collect(),
        // The id of a preparation, which nobody else knows.
        (Some(""), Some(_)) => format!("a container of {}", engine(holder)),
        (Some(name), Some(_)) => name.to_owned(),
        _ => holder.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Returns the id in it, of a container or of its preparation.
pub(crate) fn id(holder: &str) -> Option<&str> {
    holder.splitn(3, ':').nth(2)
}

fn engine(holder: &str) -> &'static str {
    match holder.split(':').next() {
        Some("docker") => "Docker's",
        Some("podman") => "podman's",
        _ => "this host's",
    }
}

/// Returns the command that takes an address from it.
pub(crate) fn release(holder: &str, address: Ipv4Net) -> String {
    match holder == HOST {
        true => format!("mesh hide {address}"),
        false => format!("mesh detach {address} {}", argument(holder)),
    }
}

/// Returns the argument that `mesh detach` takes for it: its name, or its id. The id of a preparation is that of a process,
/// and of nothing else.
fn argument(holder: &str) -> String {
    let mut parts = holder.splitn(3, ':');
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
    fn holders_are_bounded_and_readable() {
        let id = "0123456789abcdef".repeat(4);
        let web = holder(Runtime::Docker, "web", &id);
        assert_eq!(words(&web), "web");
        assert!(is_dockers(&web));
        let nameless = holder(Runtime::Podman, "", &id);
        assert_eq!(words(&nameless), "0123456789ab");
        assert!(!is_dockers(&nameless));
        let unknown = holder(Runtime::Docker, "", "0a1b");
        assert_eq!(words(&unknown), "a container of Docker's");
        let long = holder(Runtime::Process, &"n:\n".repeat(200), &id);
        assert_eq!(long.len(), MAX_CONTAINER_ID);
        assert!(long.ends_with(&id));
        assert_eq!(words("other\nversion"), "otherversion");
        assert_eq!(argument(&web), "web");
        assert_eq!(argument(&nameless), "0123456789ab");
        assert_eq!(argument(&holder(Runtime::Process, "sleep", "0a1b")), "0a1b");
        assert_eq!(
            argument(&holder(Runtime::Docker, "", "0a1b")),
            "CONTAINER (see mesh ps)"
        );
        let net = "10.32.0.1/12".parse().unwrap();
        assert_eq!(release(&web, net), "mesh detach 10.32.0.1/12 web");
        assert_eq!(release(HOST, net), "mesh hide 10.32.0.1/12");
        assert_eq!(words(HOST), EXPOSE);
        assert!(!is_dockers(HOST));
    }
}
