//! `mesh run` with podman: the router has made the network namespace, the container joins it.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use mesh_proto::api::{AdoptRequest, Done};

use crate::Outcome;
use crate::arrived;
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::run::Preparation;
use crate::{dns, output};

const PODMAN: Engine = Engine::Podman;

/// Fails when the flags name a network: a podman container joins the namespace that the router has made, or one of its
/// own, and cannot do both.
pub(crate) fn check(args: &EngineArgs) -> anyhow::Result<()> {
    if args.networks().all(|network| network == "none") {
        return Ok(());
    }
    bail!(
        "with podman, a container of `mesh run` is on the mesh only; to have another network as well, run it with podman and then `mesh attach` it"
    )
}

/// Starts the container, has the router adopt it, and prints its id.
pub(crate) fn run(mut preparation: Preparation<'_>, args: &EngineArgs) -> Outcome {
    let prepared = preparation.prepared();
    let Some(netns) = &prepared.netns else {
        bail!("the router prepared no namespace; are mesh and mesh-router of the same version?");
    };
    let cidfile = IdFile::new()?;
    let mut words = vec!["run".to_owned(), "-d".to_owned()];
    words.push(format!("--network=ns:{netns}"));
    words.push(format!("--cidfile={}", cidfile.path.display()));
    words.extend(dns::unless_said(dns::flags_inside(&prepared.dns), args));
    words.extend(args.for_run());
    let finished = PODMAN.run(&words)?;
    if finished.status != 0 {
        PODMAN.remove(&cidfile.read());
        output::complain(&format!(
            "podman did not start the container (status {})",
            finished.status
        ));
        return Ok(finished.status);
    }
    let container = finished.last_line;
    let name = PODMAN.name_of(&container);
    if let Err(error) = adopt(&preparation, &container, &name) {
        PODMAN.remove(&container);
        return Err(error);
    }
    if let Err(error) = arrived::check(&preparation, &container) {
        PODMAN.remove(&container);
        return Err(error);
    }
    preparation.keep();
    preparation.print(&container, &name)?;
    Ok(0)
}

fn adopt(preparation: &Preparation<'_>, container: &str, name: &str) -> anyhow::Result<()> {
    let request = AdoptRequest {
        id: preparation.prepared().id.clone(),
        container: Some(container.to_owned()),
        pid: None,
        name: name.to_owned(),
    };
    preparation.client().post::<Done>("/adopt", &request)?;
    Ok(())
}

/// Where podman leaves the id also of a container that it made and could not start. Removed on drop.
struct IdFile {
    path: PathBuf,
}

impl IdFile {
    fn new() -> anyhow::Result<Self> {
        // podman refuses a file that exists, so a guessed name can only make the run fail.
        let random = getrandom::u64().map_err(|e| anyhow!("no randomness from the system: {e}"))?;
        let path = std::env::temp_dir().join(format!("mesh-run-{random:016x}.cid"));
        Ok(Self { path })
    }

    fn read(&self) -> String {
        let id = std::fs::read_to_string(&self.path).unwrap_or_default();
        id.trim().to_owned()
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        // It is not there when podman failed before it made a container.
        let _ = std::fs::remove_file(&self.path);
    }
}
