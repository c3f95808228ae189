//! `mesh run` with Docker: the router is a network driver, and the container is started on its network.

use std::str::FromStr;

use anyhow::bail;
use mesh_proto::api::{DnsQuestion, Done};

use super::arrived;
use super::preparation::Preparation;
use crate::containers::dns;
use crate::engine::Engine;
use crate::engine::args::EngineArgs;
use crate::output;
use crate::output::Outcome;

const DOCKER: Engine = Engine::Docker;
/// Label that makes the router leave a container's `/etc/hosts` alone.
const LEAVE_HOSTS: &str = "mesh.rewrite-hosts=false";

/// Features that the user turned off for the container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// True if the container's DNS must not be configured.
    pub(crate) without_dns: bool,
    /// True if its mesh address must not come first in its `/etc/hosts`.
    pub(crate) no_rewrite_hosts: bool,
}

/// Long and short names of flags about Docker's own network, which a container with `--network none` lacks.
const OF_DOCKERS_NETWORK: [(&[&str], Option<char>); 6] = [
    (&["publish"], Some('p')),
    (&["publish-all"], Some('P')),
    (&["ip", "ip6"], None),
    (&["mac-address"], None),
    (&["network-alias", "net-alias"], None),
    (&["link"], None),
];

/// Fails if the flags contradict each other, or put the container into a network namespace that is not its own.
pub(crate) fn check(args: &EngineArgs) -> anyhow::Result<()> {
    let is_shared = |n: &&str| *n == "host" || n.starts_with("container:");
    if let Some(network) = args.networks().find(is_shared) {
        bail!(
            "a container with --network {network} has no network of its own that could be put on the mesh"
        );
    }
    if let Some(flag) = args.given(&["timeout"], None) {
        bail!("docker has no {flag}; the --timeout of mesh comes before the first address");
    }
    if !args.wants_no_network() {
        return Ok(());
    }
    for (long, short) in OF_DOCKERS_NETWORK {
        if let Some(flag) = args.given(long, short) {
            bail!(
                "with --network none the container is on the mesh only, so {flag} cannot work; leave one of them out"
            );
        }
    }
    Ok(())
}

/// Creates the container on the networks of its flags (default: Docker's), connects it to the mesh, starts it and
/// prints its id. With `--network none` it is on the mesh only.
pub(crate) fn run(mut preparation: Preparation<'_>, args: &EngineArgs, wishes: Wishes) -> Outcome {
    let networks = &preparation.prepared().networks;
    let Some((first, others)) = networks.split_first() else {
        bail!("the router prepared no network; are mesh and mesh-router of the same version?");
    };
    let (mut create, connected) = if args.wants_no_network() {
        // Docker connects no further network to a container that has none.
        (words(&["create", "--network", first]), others)
    } else {
        (words(&["create"]), networks.as_slice())
    };
    if !wishes.without_dns {
        let flags = dns::flags(&preparation.prepared().dns);
        create.extend(dns::unless_said(flags, args));
    }
    if wishes.no_rewrite_hosts {
        create.push(format!("--label={LEAVE_HOSTS}"));
    }
    create.extend(args.for_create());
    // Parsed before the container is created, because parsing may fail.
    let connects: Vec<Connect> = connected
        .iter()
        .map(|n| n.parse())
        .collect::<Result<_, _>>()?;

    let created = DOCKER.run(&create)?;
    if created.status != 0 {
        return Ok(complain("create", created.status));
    }
    let container = created.last_line;
    // Read before the start: with --rm the container may be gone soon after.
    let name = match preparation.wants_json() {
        true => DOCKER.name_of(&container),
        false => String::new(),
    };
    let started = connect_and_start(&preparation, &container, &connects);
    if !matches!(started, Ok(None)) {
        DOCKER.remove(&container);
    }
    if let Some((step, status)) = started? {
        return Ok(complain(step, status));
    }
    if let Err(error) = arrived::check(&preparation, &container) {
        DOCKER.remove(&container);
        return Err(error);
    }
    preparation.keep();
    // The router answers the container's queries from now on, and knows its addresses.
    tell(&preparation, "/dns/settle", &container);
    preparation.print(&container, &name)?;
    Ok(0)
}

/// Posts the container to `path`, and waits until the router has handled it.
fn tell(preparation: &Preparation<'_>, path: &str, container: &str) {
    let question = DnsQuestion {
        name: container.to_owned(),
    };
    // The container runs anyway; a failure shows in `mesh status`.
    let _ = preparation.client().post::<Done>(path, &question);
}

/// Returns the failed step and its exit status, if one failed; docker has printed the reason.
fn connect_and_start(
    preparation: &Preparation<'_>,
    container: &str,
    connects: &[Connect],
) -> anyhow::Result<Option<(&'static str, u8)>> {
    for connect in connects {
        let finished = DOCKER.run(&connect.words(container))?;
        if finished.status != 0 {
            return Ok(Some(("connect", finished.status)));
        }
    }
    tell(preparation, "/dns/expect", container);
    let finished = DOCKER.run(&words(&["start", container]))?;
    Ok((finished.status != 0).then_some(("start", finished.status)))
}

fn complain(step: &str, status: u8) -> u8 {
    output::complain(&format!(
        "docker did not {step} the container (status {status})"
    ));
    status
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Arguments of `docker network connect`, from the value of a `docker run --network` flag.
#[derive(Debug)]
struct Connect {
    flags: Vec<String>,
    network: String,
}

impl Connect {
    fn words(&self, container: &str) -> Vec<String> {
        let tail = [self.network.clone(), container.to_owned()];
        let head = words(&["network", "connect"]);
        head.into_iter()
            .chain(self.flags.clone())
            .chain(tail)
            .collect()
    }
}

impl FromStr for Connect {
    type Err = anyhow::Error;

    fn from_str(network: &str) -> anyhow::Result<Self> {
        let (mut flags, mut name) = (Vec::new(), None);
        for field in csv_fields(network) {
            match field.split_once('=') {
                None => name = Some(field.clone()),
                Some(("name", value)) => name = Some(value.to_owned()),
                Some((key @ ("driver-opt" | "ip" | "ip6" | "alias"), value)) => {
                    flags.extend([format!("--{key}"), value.to_owned()]);
                }
                Some((key, _)) => bail!("`docker network connect` has no option for '{key}'"),
            }
        }
        let Some(network) = name else {
            bail!("the router named no network in '{network}'");
        };
        Ok(Self { flags, network })
    }
}

/// Splits a line at its commas, except those in double quotes.
fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_in_the_words_of_connect() {
        for (network, words) in [
            ("mesh2", "network connect mesh2 c"),
            (
                "name=mesh2,driver-opt=mesh.id=7,driver-opt=mesh.address=10.2.1.1/24",
                "network connect --driver-opt mesh.id=7 --driver-opt mesh.address=10.2.1.1/24 mesh2 c",
            ),
            (
                "name=m,\"driver-opt=a=b,c\",ip=10.2.1.1",
                "network connect --driver-opt a=b,c --ip 10.2.1.1 m c",
            ),
        ] {
            let connect: Connect = network.parse().unwrap();
            assert_eq!(connect.words("c").join(" "), words);
        }
        for network in ["name=m,mac-address=x", "ip=10.2.1.1"] {
            assert!(network.parse::<Connect>().is_err(), "{network}");
        }
    }
}
