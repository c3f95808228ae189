//! `mesh run` with Docker: the router is a network driver, and the container is started on its network.

use mesh_command::args::RunArgs;
use mesh_command::engine_args::EngineArgs;
use mesh_command::run::docker::{NetworkConnect, NewContainer};
use mesh_proto::api::{DnsQuestion, Done};

use super::arrived;
use super::preparation::Preparation;
use crate::engine::EngineClient;
use crate::output;
use crate::output::VerbResult;

const DOCKER: EngineClient = EngineClient::Docker;

/// Creates the container on the networks of its flags, connects it to the mesh, starts it and prints its id.
pub(crate) fn run(
    mut preparation: Preparation<'_>,
    engine_args: &EngineArgs,
    args: &RunArgs,
) -> VerbResult {
    // Complete before the container is created: what the router prepared may not be understood.
    let NewContainer { create, connects } =
        NewContainer::of(preparation.prepared(), engine_args, args)?;
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
        ..DnsQuestion::default()
    };
    // The container runs anyway; a failure shows in `mesh status`.
    let _ = preparation.client().post::<Done>(path, &question);
}

/// Returns the failed step and its exit status, if one failed; docker has printed the reason.
fn connect_and_start(
    preparation: &Preparation<'_>,
    container: &str,
    connects: &[NetworkConnect],
) -> anyhow::Result<Option<(&'static str, u8)>> {
    for connect in connects {
        let finished = DOCKER.run(&connect.words(container))?;
        if finished.status != 0 {
            return Ok(Some(("connect", finished.status)));
        }
    }
    tell(preparation, "/dns/expect", container);
    let finished = DOCKER.run(&["start".to_owned(), container.to_owned()])?;
    Ok((finished.status != 0).then_some(("start", finished.status)))
}

fn complain(step: &str, status: u8) -> u8 {
    output::complain(&format!(
        "docker did not {step} the container (status {status})"
    ));
    status
}
