//! `mesh run` with Docker: the router is a network driver, the container is started on its network.

use anyhow::bail;

use crate::Outcome;
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::output;
use crate::run::Preparation;

const DOCKER: Engine = Engine::Docker;

/// Starts the container and prints its id.
pub(crate) fn run(preparation: Preparation<'_>, args: &EngineArgs) -> Outcome {
    let started = match preparation.prepared().networks.as_slice() {
        [] => {
            bail!("the router prepared no network; are mesh and mesh-router of the same version?")
        }
        [network] => run_on_one(network, args)?,
        [first, others @ ..] => run_on_several(first, others, args)?,
    };
    match started {
        Ok(container) => {
            preparation.keep();
            output::print_line(&container)?;
            Ok(0)
        }
        Err(status) => {
            output::complain(&format!(
                "docker did not start the container (status {status})"
            ));
            Ok(status)
        }
    }
}

/// A container id, or docker's exit status; docker has told the reason.
type Started = Result<String, u8>;

fn run_on_one(network: &str, args: &EngineArgs) -> anyhow::Result<Started> {
    let words = command(&["run", "-d", "--network", network], args.for_run());
    let finished = DOCKER.run(&words)?;
    if finished.status == 0 {
        return Ok(Ok(finished.last_line));
    }
    // docker prints the id of a container that it made and could not start.
    if is_id(&finished.last_line) {
        DOCKER.remove(&finished.last_line);
    }
    Ok(Err(finished.status))
}

/// A container can be created on one network only; the others are connected before it starts.
fn run_on_several(first: &str, others: &[String], args: &EngineArgs) -> anyhow::Result<Started> {
    let words = command(&["create", "--network", first], args.for_create());
    let created = DOCKER.run(&words)?;
    if created.status != 0 {
        return Ok(Err(created.status));
    }
    let container = created.last_line;
    let mut steps = Vec::new();
    for network in others {
        match connect_words(network, &container) {
            Ok(words) => steps.push(words),
            Err(error) => {
                DOCKER.remove(&container);
                return Err(error);
            }
        }
    }
    steps.push(vec!["start".to_owned(), container.clone()]);
    for step in &steps {
        let status = DOCKER.run(step).map_or(1, |finished| finished.status);
        if status != 0 {
            DOCKER.remove(&container);
            return Ok(Err(status));
        }
    }
    Ok(Ok(container))
}

fn command(head: &[&str], tail: Vec<String>) -> Vec<String> {
    head.iter().map(ToString::to_string).chain(tail).collect()
}

fn is_id(line: &str) -> bool {
    line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `docker network connect` for a value of `docker run --network`: the same options, in other words.
fn connect_words(network: &str, container: &str) -> anyhow::Result<Vec<String>> {
    let mut words = vec!["network".to_owned(), "connect".to_owned()];
    let mut name = None;
    for field in csv_fields(network) {
        match field.split_once('=') {
            None => name = Some(field.clone()),
            Some(("name", value)) => name = Some(value.to_owned()),
            Some((key @ ("driver-opt" | "ip" | "ip6" | "alias"), value)) => {
                words.extend([format!("--{key}"), value.to_owned()]);
            }
            Some((key, _)) => bail!("`docker network connect` has no option for '{key}'"),
        }
    }
    let Some(name) = name else {
        bail!("the router named no network in '{network}'");
    };
    words.extend([name, container.to_owned()]);
    Ok(words)
}

/// Fields between commas; one in double quotes may hold commas.
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
            assert_eq!(connect_words(network, "c").unwrap().join(" "), words);
        }
        assert!(connect_words("name=m,mac-address=x", "c").is_err());
        assert!(connect_words("ip=10.2.1.1", "c").is_err());
    }

    #[test]
    fn ids() {
        assert!(is_id(&"a0".repeat(32)));
        assert!(!is_id("") && !is_id("web") && !is_id(&"g".repeat(64)));
    }
}
